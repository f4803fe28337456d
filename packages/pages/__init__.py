"""Web pages of packages, and of the namespaces in which they live."""
