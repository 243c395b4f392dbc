"""The only file that writes to the cluster. Every write here names the object it is meant for by its uid.

Guards are the API server's own (preconditions, and metadata in a merge patch), so that a decision made on an object
that has meanwhile been replaced fails instead of hitting its successor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from agent.cluster.connection import Answer, Connection
from agent.cluster.decode import BadAnswer, decode_object
from agent.cluster.errors import ApiProblem, Conflict, EvictionRefused
from agent.cluster.notes import EventType, ObjectRef, Occurrence, count_of
from agent.cluster.resources import RESOURCES, WORKLOAD_PLURALS
from agent.cluster.stored import Stored, StoredKind, decode_stored, encode_stored
from agent.model import FORCE_SYNC, RESTARTED_AT, ExternalSecret, ObjectKey, WorkloadKey

_MERGE_PATCH = "application/merge-patch+json"
_BUDGET = re.compile(r"disruption budget (\S+) ", re.IGNORECASE)
_REMEMBERED_EVENTS = 5000
_ANSWERED_WITHIN = 30.0
_TWO_BUDGETS = "more than one PodDisruptionBudget"


class Writer:
    """Writes under one field manager. ``dry_run``: the server judges every write and keeps none (its ``dryRun=All``).

    All methods raise ApiProblem (Conflict where the object is not the one meant) and Unreachable. Nothing is retried.
    The field manager must not begin with ``kubectl``: Flux reverts the fields of those.
    """

    def __init__(self, conn: Connection, *, field_manager: str = "secret-drift-agent", dry_run: bool = False) -> None:
        self._conn = conn
        self.dry_run = dry_run
        self._component = field_manager
        self._event_counts: dict[ObjectKey, int] = {}
        self._query = {"fieldManager": field_manager} | ({"dryRun": "All"} if dry_run else {})

    def force_sync(self, key: ObjectKey, *, uid: str, stamp: str) -> ExternalSecret:
        """Set the annotation that makes ESO fetch anew. Returns the object as it then was.

        What it returns (or a later read) predicts ESO's acknowledgement. Raises BadAnswer besides, once written.
        """
        metadata = {"uid": uid, "annotations": {FORCE_SYNC: stamp}}
        answer = self._patch("externalsecrets", key, {"metadata": metadata})
        changed = decode_object("externalsecrets", answer.body)
        if not isinstance(changed, ExternalSecret):
            raise BadAnswer(f"after its annotation {key} cannot be read: {changed}")
        return changed

    def delete_secret(self, key: ObjectKey, *, uid: str, resource_version: str) -> None:
        """Delete exactly this state of a Secret."""
        self._delete("secrets", key, {"uid": uid, "resourceVersion": resource_version})

    def evict(self, key: ObjectKey, *, uid: str, dry_run: bool = False) -> None:
        """Evict one pod through the Eviction API. Raises EvictionRefused where a PodDisruptionBudget forbids it.

        A plain 429 (the server throttles us) is an ApiProblem, as for any other request. ``dry_run``: the pod stays.
        """
        options: dict[str, object] = {"preconditions": {"uid": uid}}
        dry_run = dry_run or self.dry_run
        if dry_run:
            options["dryRun"] = ["All"]
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": key.name, "namespace": key.namespace},
            "deleteOptions": options,
        }
        try:
            self._send("POST", RESOURCES["pods"].path(key.namespace, key.name, "eviction"), body, dry_run=dry_run)
        except ApiProblem as error:
            refused = _refusal(error)
            if refused is None:
                raise
            raise refused from error

    def restart(self, key: WorkloadKey, *, uid: str, resource_version: str, stamp: str) -> None:
        """Let the workload's own controller replace all pods, by an annotation in its pod template."""
        patch = {
            "metadata": {"uid": uid, "resourceVersion": resource_version},
            "spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: stamp}}}},
        }
        self._patch(WORKLOAD_PLURALS[key.kind], ObjectKey(key.namespace, key.name), patch)

    def event(
        self, regarding: ObjectRef, type: EventType, reason: str, message: str, at: float, *, name: str, times: int = 1
    ) -> None:
        """Count ``times`` more of the Event ``name`` on an object, making it if need be.

        ``at`` (unix seconds of the API server's clock) becomes its newest time, ``message`` its text. In a namespace
        that is being deleted, or gone, there is nobody to tell, and nothing can be created: that is no error.
        """
        try:
            self._record(regarding, type, reason, message, at, name, times)
        except ApiProblem as error:
            if error.code != 404 and all(cause.reason != "NamespaceTerminating" for cause in error.causes):
                raise

    def _record(
        self, regarding: ObjectRef, type: EventType, reason: str, message: str, at: float, name: str, times: int
    ) -> None:
        key = ObjectKey(regarding.namespace or "default", name)
        new = Occurrence(type, reason, message, at, times)
        before = self._event_counts.get(key)
        if before is None and not self._create_event(key, regarding, new):
            before = count_of(self._conn.request("GET", RESOURCES["events"].path(*key)).body)
        if before is not None and not self._count_event(key, new, before):
            before = None
            self._create_event(key, regarding, new)
        if len(self._event_counts) >= _REMEMBERED_EVENTS:
            self._event_counts.clear()
        self._event_counts[key] = (before or 0) + times

    def _create_event(self, key: ObjectKey, regarding: ObjectRef, new: Occurrence) -> bool:
        """False if it exists already, from another process of ours."""
        try:
            self.create("events", key.namespace, new.body(key, regarding, self._component))
        except Conflict:
            return False
        return True

    def _count_event(self, key: ObjectKey, new: Occurrence, before: int) -> bool:
        """False if it is gone: the API server forgets Events after an hour."""
        try:
            self.patch("events", key, new.patch(before))
        except ApiProblem as error:
            if error.code == 404:
                return False
            raise
        return True

    def create_stored(self, stored: Stored) -> Stored:
        """Create a ConfigMap or Secret of our own. Raises Conflict if one of that name exists."""
        answer = self._send("POST", RESOURCES[stored.kind].path(stored.key.namespace), encode_stored(stored))
        return decode_stored(stored.kind, answer.body)

    def replace_stored(self, stored: Stored) -> Stored:
        """Compare and swap: replace the object if it still is at ``stored.resource_version``; else raises Conflict."""
        if not stored.resource_version:
            raise ValueError("a replacement names the resourceVersion it was made from")
        answer = self._send("PUT", RESOURCES[stored.kind].path(*stored.key), encode_stored(stored))
        return decode_stored(stored.kind, answer.body)

    def delete_stored(self, kind: StoredKind, key: ObjectKey, *, uid: str, resource_version: str = "") -> None:
        """Delete an object of our own, in exactly this state where ``resource_version`` is given."""
        self._delete(kind, key, {"uid": uid} | ({"resourceVersion": resource_version} if resource_version else {}))

    def create(
        self, resource: str, namespace: str, body: Mapping[str, object], *, read_timeout: float = _ANSWERED_WITHIN
    ) -> bytes:
        """Create any other object (Events, Leases) from its JSON form; returns the answer's JSON."""
        return self._send("POST", RESOURCES[resource].path(namespace), body, read_timeout=read_timeout).body

    def replace(
        self, resource: str, key: ObjectKey, body: Mapping[str, object], *, read_timeout: float = _ANSWERED_WITHIN
    ) -> bytes:
        """Replace such an object; with ``metadata.resourceVersion`` in it, a compare-and-swap. Returns the answer."""
        return self._send("PUT", RESOURCES[resource].path(*key), body, read_timeout=read_timeout).body

    def patch(self, resource: str, key: ObjectKey, patch: Mapping[str, object]) -> bytes:
        """Merge-patch such an object; returns the answer's JSON."""
        return self._patch(resource, key, patch).body

    def _patch(self, resource: str, key: ObjectKey, patch: Mapping[str, object]) -> Answer:
        path = RESOURCES[resource].path(key.namespace, key.name)
        return self._send("PATCH", path, patch, content_type=_MERGE_PATCH)

    def _delete(self, resource: str, key: ObjectKey, preconditions: Mapping[str, str]) -> None:
        body: dict[str, object] = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": preconditions}
        if self.dry_run:
            body["dryRun"] = ["All"]  # the API server does not look at the query of a DELETE that has a body
        self._send("DELETE", RESOURCES[resource].path(key.namespace, key.name), body)

    def _send(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | bytes,
        *,
        content_type: str = "application/json",
        read_timeout: float = _ANSWERED_WITHIN,
        dry_run: bool = False,
    ) -> Answer:
        encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
        query = {k: v for k, v in self._query.items() if method != "DELETE" or k != "fieldManager"}
        if dry_run:  # webhooks are told of it by the query alone, whatever the body says
            query["dryRun"] = "All"
        return self._conn.request(
            method, path, query=query, body=encoded, content_type=content_type, read_timeout=read_timeout
        )


def _refusal(error: ApiProblem) -> EvictionRefused | None:
    """The words are those of the eviction subresource of kube-apiserver; its 500 for two budgets never goes away."""
    causes = [cause for cause in error.causes if cause.reason == "DisruptionBudget"]
    if error.code == 429 and causes:
        names = tuple(match[1] for cause in causes if (match := _BUDGET.search(cause.message + " ")))
        return EvictionRefused(names, " ".join(c.message for c in causes) or error.message, error.retry_after)
    if error.code == 500 and _TWO_BUDGETS in error.message:
        return EvictionRefused((), error.message, None)
    return None
