"""The Secret of a chain, read by itself where its watch may be behind that of ExternalSecrets.

The two are watched apart: that ESO has synced can be told before what it wrote.
"""

from __future__ import annotations

from enum import Enum

from agent.cluster import reader
from agent.cluster.decode import BadAnswer
from agent.cluster.errors import ApiProblem, Unreachable
from agent.engine.context import Context
from agent.model import ExternalSecret, Kind, ObjectKey, SecretView

_MISSING = (Kind.MISSING_SECRET.value, Kind.MISSING_KEY.value)


class Known(Enum):
    """What is known of a Secret, held against a read of it."""

    ALL = "all"  # it is as we know it
    LESS = "less"  # it is there, and the watch has yet to tell that it is another object
    UNREAD = "unread"  # it could not be read, is not there, or lacks ESO's label: our watch never brings it so


class Targets:
    """Reads Secrets, and knows which were read since their ExternalSecret last changed."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._read: dict[ObjectKey, str] = {}  # chain -> version of the ExternalSecret that was seen before the read

    def read(self, es: ExternalSecret) -> Known:
        """Take in the Secret as it is now."""
        context = self._context
        if context.fingerprints is None:
            return Known.ALL  # nothing is told of the data anyway
        target = ObjectKey(es.key.namespace, es.target)
        try:
            # Without patience: all else waits for this, and the watch will tell anyway.
            secret = reader.get(context.conn, "secrets", target, fingerprints=context.fingerprints, patience=0.0)
        except (ApiProblem, Unreachable, BadAnswer):
            return Known.UNREAD
        if not isinstance(secret, SecretView) or not secret.managed:
            return Known.UNREAD
        context.observer.secret_read(secret, at=context.now)
        known = context.memory.secrets.get(target)
        current = known is not None and known.resource_version == secret.resource_version
        return Known.ALL if current else Known.LESS

    def caught_up(self, es: ExternalSecret) -> bool:
        """Whether all is known that ESO wrote before it left the ExternalSecret so; read once for that at most."""
        if self._read.get(es.key) != es.resource_version and self.read(es) is Known.ALL:
            self._read[es.key] = es.resource_version
        return self._read.get(es.key) == es.resource_version

    def on_its_way(self, es: ExternalSecret, reason: str) -> bool:
        """Whether what a force-sync would be sent for, since it seems to be missing, is there: our watch is late."""
        if reason not in _MISSING:
            return False
        before = self._version(es)
        return self.read(es) is Known.LESS or self._version(es) != before

    def _version(self, es: ExternalSecret) -> str:
        known = self._context.memory.secrets.get(ObjectKey(es.key.namespace, es.target))
        return known.resource_version if known is not None else ""

    def forget(self, key: ObjectKey) -> None:
        """The ExternalSecret is gone."""
        self._read.pop(key, None)
