"""Forms of the account's pages, one module for each subject."""
