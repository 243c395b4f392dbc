"""SecretStores whose vault is not looked at: said once per store, however many ExternalSecrets name it."""

from __future__ import annotations

from agent import mapping
from agent.engine.context import Context
from agent.events import Recovered, Troubled
from agent.model import ExternalSecret, SecretStore, Trouble


class Stores:
    """Tells when a store begins to name a vault that may not be looked at, and when it does so no more."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._told: dict[str, Trouble] = {}

    def look(self, es: ExternalSecret) -> None:
        """Judge the stores that an ExternalSecret names."""
        for key in es.stores:
            # A ClusterSecretStore may be fine for one namespace and not for another.
            name = f"{key.namespace}/{key.name}" if key.namespace else f"{key.name} for namespace {es.key.namespace}"
            subject = f"{key.kind} {name}"
            store = self._context.world.stores.get(key)
            trouble = self._trouble(store, es.key.namespace) if store is not None else None
            known = self._told.get(subject)
            if trouble is None:
                if self._told.pop(subject, None) is not None and store is not None:
                    self._context.tell(Recovered, subject=subject)
            elif known != trouble:
                self._told[subject] = trouble
                self._context.tell(Troubled, subject=subject, trouble=trouble)

    def _trouble(self, store: SecretStore, namespace: str) -> Trouble | None:
        if mapping.excluded_by_store(store):
            return None
        if store.refused or not store.host:
            detail = f"{store.refused or 'it names no vault'}: no request is sent there"
            return Trouble(cause="store-refused", detail=detail)
        if self._context.policy.vault_rule(store.host, namespace) is None:
            return not_listed(store.host, namespace)
        return None


def not_listed(host: str, namespace: str) -> Trouble:
    """A vault that the policy does not let us look at for this namespace."""
    detail = f"vault {host} is not in the policy's vaults for namespace {namespace}: no request is sent there"
    return Trouble(cause="vault-not-listed", detail=detail)
