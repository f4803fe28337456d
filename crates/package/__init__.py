"""A publish body taken apart: the upload, its `.crate` archive and its `Cargo.toml`."""
