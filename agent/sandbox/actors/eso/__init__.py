"""The sandbox's External Secrets Operator.

It answers as ESO 2.9 does with a real Azure Key Vault, or not at all: what it does not know for certain it refuses, and
says so. It uses nothing but HTTP, towards the API server and towards the vaults.
"""

from agent.sandbox.actors.eso.actor import EsoActor
from agent.sandbox.actors.eso.errors import NotReproducible
from agent.sandbox.actors.eso.vault import Identity, VaultReader

__all__ = ["EsoActor", "Identity", "NotReproducible", "VaultReader"]
