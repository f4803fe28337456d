"""Namespaces, and who belongs to them."""
