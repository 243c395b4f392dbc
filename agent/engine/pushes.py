"""The PushSecrets, found by the Secrets that they read: each chain asks, and a PushSecret's every sync is a change."""

from __future__ import annotations

from agent.engine.index import Index
from agent.model import ObjectKey, PushSource


class Pushes(dict[ObjectKey, PushSource]):
    """All PushSecrets, by key."""

    def __init__(self) -> None:
        super().__init__()
        self._by_name: Index[ObjectKey] = Index()  # Secret -> those that name it
        self._by_label: Index[str] = Index()  # namespace -> those that select by label there

    def put(self, source: PushSource) -> PushSource | None:
        """One is there, or has changed; returns it as it was before."""
        before = self.drop(source)
        self[source.key] = source
        self._by_name.link(ObjectKey(source.key.namespace, source.secret), source.key)
        if source.selector is not None:
            self._by_label.link(source.key.namespace, source.key)
        return before

    def drop(self, source: PushSource) -> PushSource | None:
        """One is gone; returns it as it was."""
        before = self.pop(source.key, None)
        if before is not None:
            self._by_name.unlink(ObjectKey(before.key.namespace, before.secret), before.key)
            self._by_label.unlink(before.key.namespace, before.key)
        return before

    def that_may_read(self, secret: ObjectKey) -> tuple[PushSource, ...]:
        """Those that name the Secret, and those that may select it by its labels."""
        return tuple(self[key] for key in {*self._by_name.of(secret), *self._by_label.of(secret.namespace)})
