"""Accounts: users, their names, passwords, credentials, roles and bans."""
