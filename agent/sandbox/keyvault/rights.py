"""Who may do what: a small stand-in for Azure role assignments and access policies."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Rights:
    """``list`` reads metadata (role Key Vault Reader), ``get`` values (Secrets User); ``set`` covers every write."""

    list: bool = False
    get: bool = False
    set: bool = False


class Grants:
    """Rights by identity and vault; ``default`` holds for an identity that was granted nothing anywhere."""

    def __init__(self) -> None:
        self.default = Rights(list=True, get=True)
        self._granted: dict[str, dict[str | None, Rights]] = {}

    def grant(self, identity: str, vault: str | None, rights: Rights) -> None:
        """Set the rights on a vault's host (None: on all vaults for which nothing else is set)."""
        self._granted.setdefault(identity, {})[vault] = rights

    def of(self, identity: str, vault: str) -> Rights:
        """The rights that hold now."""
        granted = self._granted.get(identity)
        if granted is None:
            return self.default
        return granted.get(vault) or granted.get(None) or Rights()
