"""Pages of a person's own account, one module for each subject."""
