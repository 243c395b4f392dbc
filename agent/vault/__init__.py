"""Key Vault: lists only, and the only place that imports azure."""
