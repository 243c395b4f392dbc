"""Notices that something in the cluster still runs on an old Azure Key Vault secret, heals it, and proves it."""

__version__ = "0.1.0"
