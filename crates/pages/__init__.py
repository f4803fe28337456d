"""Web pages of crates, of this registry and of the mirror, and what belongs to them: feeds, badges, Markdown."""
