"""Kubernetes Events on ExternalSecrets, with a count instead of repetitions."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from agent.sandbox.client import EVENTS, ApiError, KubeClient
from agent.sandbox.clock import WorldClock

_log = logging.getLogger(__name__)

SOURCE = "external-secrets"


class Recorder:
    """``emit`` writes an Event, or raises the count of the one that says the same of the same object."""

    def __init__(self, client: KubeClient, clock: WorldClock) -> None:
        self._client, self._clock = client, clock
        self._known: dict[tuple[str, str, str, str], tuple[str, int]] = {}
        self._serial = 0

    async def emit(
        self, external_secret: Mapping[str, Any], reason: str, message: str, *, warning: bool = False
    ) -> None:
        """An Event that cannot be written is logged: a sync does not fail for it."""
        metadata = external_secret["metadata"]
        kind = "Warning" if warning else "Normal"
        key = (metadata["uid"], kind, reason, message)
        try:
            if not await self._count(metadata["namespace"], key):
                await self._create(metadata, key)
        except ApiError as error:
            _log.warning("Event %s on ExternalSecret %s/%s: %s", reason, metadata["namespace"], metadata["name"], error)

    async def _count(self, namespace: str, key: tuple[str, str, str, str]) -> bool:
        if key not in self._known:
            return False
        name, count = self._known[key]
        patch = {"count": count + 1, "lastTimestamp": self._clock.rfc3339()}
        try:
            await self._client.merge_patch(EVENTS, namespace, name, patch)
        except ApiError as error:
            if error.code == 404:
                return False
            raise
        self._known[key] = (name, count + 1)
        return True

    async def _create(self, metadata: Mapping[str, Any], key: tuple[str, str, str, str]) -> None:
        _, kind, reason, message = key
        self._serial += 1
        name = f"{metadata['name']}.{int(self._clock.now() * 1e6) * 1000 + self._serial % 1000:x}"
        now = self._clock.rfc3339()
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "involvedObject": {
                "apiVersion": "external-secrets.io/v1",
                "kind": "ExternalSecret",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata.get("resourceVersion", ""),
            },
            "type": kind,
            "reason": reason,
            "message": message,
            "source": {"component": SOURCE},
            "reportingComponent": SOURCE,
            "reportingInstance": "",
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        await self._client.create(EVENTS, metadata["namespace"], event)
        self._known[key] = (name, 1)
