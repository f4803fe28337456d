"""HTTP at the edge: dialects, parsers, error handlers, downloads, the client's address."""
