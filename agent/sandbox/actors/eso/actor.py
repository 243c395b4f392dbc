"""External Secrets Operator as a plain API client: watches, a work queue, and one reconcile at a time."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import aiohttp

from agent.sandbox.actors.eso import refresh
from agent.sandbox.actors.eso.cache import Cache, Key
from agent.sandbox.actors.eso.errors import NotReproducible
from agent.sandbox.actors.eso.queue import WorkQueue
from agent.sandbox.actors.eso.reconcile import Outcome, Reconciler
from agent.sandbox.actors.eso.stores import Stores
from agent.sandbox.actors.eso.vault import VaultReader
from agent.sandbox.client import EXTERNAL_SECRETS, SECRETS, ApiError, KubeClient, Object
from agent.sandbox.clock import WorldClock

_log = logging.getLogger(__name__)
_NEWS = ("uid", "generation", "labels", "annotations", "finalizers", "deletionTimestamp")


class EsoActor:
    """Syncs every ExternalSecret that it can sync exactly as ESO 2.9 would; ``run`` until cancelled.

    ``concurrent`` is ESO's flag of that name. ``refused`` holds, by (namespace, name), why an ExternalSecret is left
    alone; ``syncs`` every sync that asked the provider, as (unix seconds, namespace, name, success). ``delay`` makes
    each sync take so many seconds of the world's time longer.
    """

    def __init__(
        self,
        client: KubeClient,
        clock: WorldClock,
        fetch: VaultReader,
        *,
        concurrent: int = 1,
        name: str = "external-secrets",
    ) -> None:
        self.name = name
        self.refused: dict[Key, str] = {}
        self.syncs: list[tuple[float, str, str, bool]] = []
        self._clock, self._concurrent = clock, concurrent
        self._queue = WorkQueue(clock)
        self._stores = Stores(client, clock, fetch)
        self._external_secrets = Cache(client, EXTERNAL_SECRETS, self._external_secret_changed)
        self._secrets = Cache(client, SECRETS, self._secret_changed)
        self._reconciler = Reconciler(
            client, clock, self._stores, self._external_secrets, self._secrets, expect=self._is_news
        )
        self._seen: dict[Key, Any] = {}
        self._targets: dict[Key, set[Key]] = {}
        self._target_of: dict[Key, Key] = {}
        self._up = asyncio.Event()
        self._up.set()

    @property
    def delay(self) -> float:
        """Seconds of the world's time that each sync waits before it reads the vault."""
        return self._reconciler.delay

    @delay.setter
    def delay(self, seconds: float) -> None:
        self._reconciler.delay = seconds

    @property
    def idle(self) -> bool:
        """Nothing is being worked on and nothing waits for a worker; a later time may still be set."""
        return self._queue.idle

    @property
    def paused(self) -> bool:
        """Whether it is down."""
        return not self._up.is_set()

    def pause(self) -> None:
        """ESO is down: the sync in hand ends, no other begins."""
        self._up.clear()

    def resume(self) -> None:
        """ESO is up again: as after any start it looks at everything once."""
        if not self._up.is_set():
            self._up.set()
            for key in self._external_secrets.objects:
                self._queue.add(key)

    async def run(self) -> None:
        """Watch and sync until cancelled."""
        caches = (self._stores.cluster, self._stores.namespaced, self._secrets, self._external_secrets)
        async with asyncio.TaskGroup() as tasks:
            for cache in caches:
                tasks.create_task(cache.run())
            for cache in caches:
                await cache.synced()
            tasks.create_task(self._queue.run())
            for _ in range(self._concurrent):
                tasks.create_task(self._work())

    async def _work(self) -> None:
        while True:
            await self._up.wait()
            key = await self._queue.get()
            await self._up.wait()
            try:
                outcome = await self._reconcile(key)
            finally:
                self._queue.done(key)
            await asyncio.sleep(0)  # thousands that need nothing must not hold up the rest of the world
            if outcome.backed_off:
                self._queue.add_backed_off(key)
                continue
            self._queue.forget(key)
            if outcome.after is not None:
                self._queue.add_after(key, outcome.after)

    async def _reconcile(self, key: Key) -> Outcome:
        try:
            outcome = await self._reconciler.reconcile(key)
        except NotReproducible as error:
            self.refused[key] = str(error)
            _log.error("ExternalSecret %s/%s is left alone: this sandbox does not do %s", *key, error)
            return Outcome()
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            self.refused[key] = f"a malformed object: {error!r}"
            _log.exception("ExternalSecret %s/%s is left alone", *key)
            return Outcome()
        except (ApiError, aiohttp.ClientError, TimeoutError, OSError) as error:
            _log.warning("ExternalSecret %s/%s: %s", *key, error)
            return Outcome(backed_off=True)
        self.refused.pop(key, None)
        if outcome.synced is not None:
            self.syncs.append((self._clock.now(), *key, outcome.synced))
        return outcome

    def _external_secret_changed(self, kind: str, external_secret: Object) -> None:
        """Changes of the status alone are none."""
        metadata = external_secret["metadata"]
        key = (metadata["namespace"], metadata["name"])
        self._index(key, None if kind == "DELETED" else (key[0], _target_name(external_secret)))
        if kind == "DELETED":
            self._seen.pop(key, None)
            self.refused.pop(key, None)
            self._queue.forget(key)
            return
        if self._is_news(external_secret):
            self._queue.add(key)

    def _is_news(self, external_secret: Object) -> bool:
        """Whether this is a state, apart from the status, that was neither seen last nor expected; now it is."""
        metadata = external_secret["metadata"]
        key = (metadata["namespace"], metadata["name"])
        seen = [metadata.get(name) or None for name in _NEWS]
        if self._seen.get(key) == seen:
            return False
        self._seen[key] = seen
        return True

    def _index(self, key: Key, secret: Key | None) -> None:
        old = self._target_of.pop(key, None)
        if old is not None:
            self._targets[old].discard(key)
            if not self._targets[old]:
                del self._targets[old]
        if secret is not None:
            self._target_of[key] = secret
            self._targets.setdefault(secret, set()).add(key)

    def _secret_changed(self, kind: str, secret: Object) -> None:
        """Only Secrets that still bear the label are looked at: who takes it away hides his change."""
        metadata = secret["metadata"]
        if (metadata.get("labels") or {}).get(refresh.MANAGED_LABEL) != "true":
            return
        for key in self._targets.get((metadata["namespace"], metadata["name"]), ()):
            self._queue.add(key)


def _target_name(external_secret: Object) -> str:
    """The name of the Secret, also of an ExternalSecret that no sync could make sense of."""
    try:
        return refresh.target_name(external_secret)
    except (KeyError, TypeError, AttributeError):
        name: str = external_secret["metadata"]["name"]
        return name
