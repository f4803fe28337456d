"""Who you are and how you prove it: users, credentials, bans, roles, names."""
