"""Web pages of namespaces."""
