"""What tests of several rooms share: servers, clients, hostile peers, archives."""
