"""Azure Key Vault as far as secrets go: many vaults and their login host on one TLS port, with faults on demand."""

from agent.sandbox.keyvault.errors import VaultError
from agent.sandbox.keyvault.faults import Fault, FaultRule
from agent.sandbox.keyvault.journal import VaultRequest
from agent.sandbox.keyvault.rights import Rights
from agent.sandbox.keyvault.server import DEFAULT_TENANT, KeyVault
from agent.sandbox.keyvault.store import SecretVersion, Vault

__all__ = [
    "DEFAULT_TENANT",
    "Fault",
    "FaultRule",
    "KeyVault",
    "Rights",
    "SecretVersion",
    "Vault",
    "VaultError",
    "VaultRequest",
]
