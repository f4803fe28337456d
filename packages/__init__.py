"""Packages of any ecosystem: their releases, archives and collaborators."""
