"""One reconcile of one ExternalSecret, step by step as ESO does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from agent.esohash import created_by, field_manager
from agent.sandbox.actors.eso import refresh, status, stores, target, values
from agent.sandbox.actors.eso.cache import Cache, Key
from agent.sandbox.actors.eso.errors import NotReproducible, ProviderError, SyncFailed
from agent.sandbox.actors.eso.events import Recorder
from agent.sandbox.actors.eso.target import Target
from agent.sandbox.client import SECRETS, ApiError, KubeClient, Object
from agent.sandbox.clock import WorldClock

FINALIZER = "externalsecrets.external-secrets.io/externalsecret-cleanup"
NO_DATA = "could not get secret data from provider"
NOT_DELETED = "could not delete secret"
_RACES = (404, 409)
"""Somebody else was faster: look again."""


@dataclass(frozen=True)
class Outcome:
    """How a reconcile ended: look again after ``after`` seconds (None: not by itself), or with backoff."""

    after: float | None = None
    backed_off: bool = False
    synced: bool | None = None
    """Whether the provider was asked, and with what success; None: it was not asked."""


class Reconciler:
    """Takes an ExternalSecret from the cache and makes its Secret so.

    ``expect`` is told of each state of the ExternalSecret's metadata that an own write is about to bring: the watch's
    news of it is no reason to come again.
    """

    def __init__(
        self,
        client: KubeClient,
        clock: WorldClock,
        stores: stores.Stores,
        external_secrets: Cache,
        secrets: Cache,
        *,
        expect: Callable[[Object], object],
    ) -> None:
        self.delay = 0.0
        self._expect = expect
        self._client, self._clock, self._stores = client, clock, stores
        self._external_secrets, self._secrets = external_secrets, secrets
        self._recorder = Recorder(client, clock)

    async def reconcile(self, key: Key) -> Outcome:
        """Raises NotReproducible where ESO's answer is not known, ApiError where the API server fails."""
        external_secret = self._external_secrets.get(key)
        if external_secret is None:
            return Outcome()
        if external_secret["metadata"].get("deletionTimestamp"):
            return await self._finalize(external_secret)
        if await self._is_foreign(external_secret):
            return Outcome()
        check_supported(external_secret["spec"])
        begun = self._clock.now()
        external_secret = await self._with_finalizer(external_secret)
        secret_key = (key[0], refresh.target_name(external_secret))
        secret = self._secrets.get(secret_key)
        if secret is not None and (secret["metadata"].get("labels") or {}).get(refresh.MANAGED_LABEL) != "true":
            secret = await self._labelled(external_secret, secret)
        if not refresh.should_refresh(external_secret, begun) and refresh.is_secret_valid(secret, external_secret):
            return self._until_next(external_secret)
        return await self._sync(external_secret, secret, begun)

    async def _sync(self, external_secret: Object, secret: Object | None, begun: float) -> Outcome:
        try:
            fetched = await self._fetch(external_secret)
            reason, message, binding = await self._apply(external_secret, secret, fetched)
        except SyncFailed as failure:
            return await self._fail(external_secret, failure, secret)
        except ApiError as error:
            if error.code not in _RACES:
                raise
            return Outcome(backed_off=True)
        new = status.synced(external_secret, self._clock, begun, reason=reason, message=message, binding=binding)
        written = await self._write_status(external_secret, new)
        return self._until_next(written, synced=True) if written else Outcome(backed_off=True, synced=True)

    async def _fetch(self, external_secret: Object) -> dict[str, bytes]:
        clients: dict[Key, values.Provider] = {}
        namespace = external_secret["metadata"]["namespace"]
        if self.delay:
            await self._clock.sleep(self.delay)
        try:
            fetched = await values.fetch(
                external_secret["spec"], lambda ref: self._stores.open(ref, namespace, clients)
            )
        except ProviderError as error:
            raise SyncFailed(NO_DATA, str(error)) from None
        for message in fetched.missing:
            await self._recorder.emit(external_secret, "MissingProviderSecret", message)
        return fetched.data

    async def _apply(
        self, external_secret: Object, secret: Object | None, data: dict[str, bytes]
    ) -> tuple[str, str, str | None]:
        """Make the Secret so; answers reason and message of the condition, and the name for the binding."""
        creation = refresh.creation_policy(external_secret)
        deletion = refresh.deletion_policy(external_secret)
        name = refresh.target_name(external_secret)
        if not data and deletion == "Delete":
            await self._delete_target(external_secret, secret, creation, name)
            return "SecretDeleted", "secret deleted due to DeletionPolicy=Delete", None
        if not data and deletion == "Retain":
            return status.SYNCED, "secret retained due to DeletionPolicy=Retain", None
        if creation == "Merge" and secret is None:
            return "SecretMissing", "secret will not be created due to CreationPolicy=Merge", None
        if creation == "None":
            return status.SYNCED, "secret synced", None
        if creation == "Owner":
            await self._delete_orphans(external_secret, name)
        if secret is None:
            await self._create(external_secret, data)
        else:
            await self._update(external_secret, secret, data)
        return status.SYNCED, "secret synced", name

    async def _create(self, external_secret: Object, data: dict[str, bytes]) -> None:
        wanted = target.desired(external_secret, None, data)
        try:
            await self._write("POST", external_secret, wanted)
        except ApiError as error:
            if error.code in _RACES:
                raise
            raise SyncFailed(target.NOT_UPDATED, _message(error)) from None
        await self._recorder.emit(external_secret, "Created", "secret created")

    async def _update(self, external_secret: Object, secret: Object, data: dict[str, bytes]) -> None:
        existing = Target.of(secret)
        wanted = target.desired(external_secret, existing, data)
        if wanted == existing:
            return
        prefix = f"unable to update secret {existing.name}: "
        try:
            if existing.immutable:
                await self._update_immutable(external_secret, existing, wanted, prefix)
            else:
                await self._write("PUT", external_secret, wanted)
        except ApiError as error:
            if error.code in _RACES:
                raise
            raise SyncFailed(target.NOT_UPDATED, f"{prefix}{_message(error)}") from None
        await self._recorder.emit(external_secret, "Updated", "secret updated")

    async def _update_immutable(self, external_secret: Object, existing: Target, wanted: Target, prefix: str) -> None:
        """Only the metadata can change, and it does, data-hash included, before the data is found to differ."""
        described = existing.with_metadata_of(wanted)
        if described != existing:
            await self._write("PUT", external_secret, described)
        if described != wanted:
            raise SyncFailed(
                "could not update secret, target is immutable", f"{prefix}secret is immutable", terminal=True
            )

    async def _write(self, method: str, external_secret: Object, wanted: Target) -> None:
        namespace, name = external_secret["metadata"]["namespace"], external_secret["metadata"]["name"]
        path = SECRETS.path(namespace, None if method == "POST" else wanted.name)
        query = {"fieldManager": field_manager(name)}
        self._secrets.wrote(await self._client.request(method, path, query=query, body=wanted.body(namespace)))

    async def _labelled(self, external_secret: Object, secret: Object) -> Object:
        """The managed label comes first of all: before the fetch, and whatever the policies say."""
        metadata = secret["metadata"]
        answer = await self._client.request(
            "PATCH",
            SECRETS.path(metadata["namespace"], metadata["name"]),
            query={"fieldManager": field_manager(external_secret["metadata"]["name"])},
            body={"metadata": {"labels": {refresh.MANAGED_LABEL: "true"}}},
            content_type="application/merge-patch+json",
        )
        return self._secrets.wrote(answer)

    async def _delete_target(self, external_secret: Object, secret: Object | None, creation: str, name: str) -> None:
        if creation != "Owner":
            text = f"unable to delete secret {name}: creationPolicy={creation} is not Owner"
            raise SyncFailed(NOT_DELETED, text, terminal=True)
        if secret is None:
            return
        await self._delete(secret, NOT_DELETED)
        await self._recorder.emit(external_secret, "Deleted", "secret deleted due to DeletionPolicy=Delete")

    async def _delete_orphans(self, external_secret: Object, name: str) -> None:
        """Secrets that bear our label under another name: the target was renamed."""
        namespace = external_secret["metadata"]["namespace"]
        bound = (external_secret.get("status") or {}).get("binding") or {}
        if bound.get("name") in (None, "", name):
            return
        owner = created_by(namespace, external_secret["metadata"]["name"])
        for secret in await self._client.list(SECRETS, namespace, labelSelector=f"{refresh.OWNER_LABEL}={owner}"):
            if secret["metadata"]["name"] != name:
                await self._delete(secret, "could not delete orphaned secrets")
                await self._recorder.emit(external_secret, "Deleted", "secret deleted because it was orphaned")

    async def _delete(self, secret: Object, failure: str) -> None:
        namespace, name = secret["metadata"]["namespace"], secret["metadata"]["name"]
        try:
            await self._client.delete(SECRETS, namespace, name)
        except ApiError as error:
            if error.code != 404:
                raise SyncFailed(failure, _message(error)) from None
        self._secrets.deleted((namespace, name))

    async def _fail(self, external_secret: Object, failure: SyncFailed, secret: Object | None) -> Outcome:
        await self._recorder.emit(external_secret, "UpdateFailed", failure.text, warning=True)
        reached_update = failure.condition not in (NO_DATA, NOT_DELETED) and secret is not None
        binding = refresh.target_name(external_secret) if reached_update else None
        new = status.failed(external_secret, self._clock, failure.condition, binding=binding)
        await self._write_status(external_secret, new)
        return Outcome(backed_off=not failure.terminal, synced=False)

    async def _write_status(self, external_secret: Object, new: dict[str, Any]) -> Object | None:
        """The ExternalSecret with its new status; None if it has changed meanwhile: then it stays as it was."""
        if new == external_secret.get("status"):
            return external_secret
        body = {**external_secret, "status": new}
        resource, namespace = self._external_secrets.resource, external_secret["metadata"]["namespace"]
        try:
            answer = await self._client.replace(resource, namespace, body, subresource="status")
        except ApiError as error:
            if error.code in _RACES:
                return None
            raise
        return self._external_secrets.wrote(answer)

    async def _with_finalizer(self, external_secret: Object) -> Object:
        finalizers = external_secret["metadata"].get("finalizers") or []
        if FINALIZER in finalizers:
            return external_secret
        return await self._patch_finalizers(external_secret, [*finalizers, FINALIZER])

    async def _finalize(self, external_secret: Object) -> Outcome:
        """It is being deleted: its Secret goes with it under deletionPolicy Delete (else by its owner reference)."""
        metadata = external_secret["metadata"]
        finalizers = metadata.get("finalizers") or []
        if FINALIZER not in finalizers:
            return Outcome()
        secret = self._secrets.get((metadata["namespace"], refresh.target_name(external_secret)))
        if refresh.deletion_policy(external_secret) == "Delete" and secret is not None:
            owners = secret["metadata"].get("ownerReferences") or []
            if any(owner.get("controller") and owner.get("uid") == metadata["uid"] for owner in owners):
                await self._delete(secret, NOT_DELETED)
        await self._patch_finalizers(external_secret, [name for name in finalizers if name != FINALIZER])
        return Outcome()

    async def _patch_finalizers(self, external_secret: Object, finalizers: list[str]) -> Object:
        metadata = external_secret["metadata"]
        patch = {"metadata": {"finalizers": finalizers or None}}
        self._expect({**external_secret, "metadata": {**metadata, "finalizers": finalizers}})
        resource = self._external_secrets.resource
        answer = await self._client.merge_patch(resource, metadata["namespace"], metadata["name"], patch)
        return self._external_secrets.wrote(answer)

    async def _is_foreign(self, external_secret: Object) -> bool:
        """Whether any of its stores belongs to another controller: then ESO looks away entirely."""
        namespace = external_secret["metadata"]["namespace"]
        for ref in stores.store_refs(external_secret["spec"]):
            store = await self._stores.find(ref, namespace)
            if store is not None and not stores.is_ours(store):
                return True
        return False

    def _until_next(self, external_secret: Object, *, synced: bool | None = None) -> Outcome:
        after = refresh.next_look(external_secret, self._clock.now())
        return Outcome(backed_off=True, synced=synced) if after == 0 else Outcome(after=after, synced=synced)


def check_supported(spec: dict[str, Any]) -> None:
    """Raises NotReproducible, before anything is written, for what this actor does not do."""
    spec_target = spec.get("target") or {}
    if spec_target.get("manifest"):
        raise NotReproducible("target.manifest")
    for entry in [*(spec.get("data") or []), *(spec.get("dataFrom") or [])]:
        if (entry.get("sourceRef") or {}).get("generatorRef"):
            raise NotReproducible("generators")
        if entry.get("rewrite"):
            raise NotReproducible("dataFrom.rewrite")
    target.check_template(spec_target.get("template"))


def _message(error: ApiError) -> str:
    message: str = error.status.get("message") or str(error)
    return message
