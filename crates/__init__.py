"""The Cargo registry: crates, their versions and owners, the index and the downloads."""
