"""The embedded world: an API server, a Key Vault and the actors between them, in one process, over real TLS."""
