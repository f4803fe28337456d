"""Support for tests: the cast, servers, clients, hostile peers, archives."""
