"""Sign-in at an OpenID provider: the flow, the provider, ID tokens, identities."""
