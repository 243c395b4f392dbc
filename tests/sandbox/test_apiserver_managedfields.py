"""managedFields, against what a real kube-apiserver recorded."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from apiserver_harness import NS, World, external_secret, in_world, refused, secret, world

from agent.sandbox.client import EXTERNAL_SECRETS, PODS, SECRETS, ApiError, Object

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "managedfields.json").read_text())


async def _replaced(made: World, name: str, request: Object) -> tuple[str, Object]:
    """The body of a PUT as the recorder made it: read, then with these members replaced."""
    body = await made.client.get(SECRETS, NS, name)
    body["data"] = request["data"]
    for member in ("annotations", "labels"):
        body["metadata"][member] = request[member]
    body["immutable"] = request["immutable"]
    return "application/json", body


async def _send(made: World, step: Object) -> tuple[int, str | None]:
    request, name = step["request"], step["object"]
    path = SECRETS.path(NS) if request["verb"] == "POST" else SECRETS.path(NS, name)
    content_type, body = request.get("contentType", "application/json"), request.get("body")
    if request["verb"] == "PUT":
        content_type, body = await _replaced(made, name, request)
    query = {"fieldManager": request["fieldManager"]} | ({"force": "true"} if request.get("force") else {})
    try:
        await made.client.request(request["verb"], path, query=query, body=body, content_type=content_type)
    except ApiError as error:
        return error.code, error.status["message"]
    return 200, None  # the recorder wrote 200 for every success


async def _replay() -> list[tuple[Object, tuple[int, str | None], list[Object]]]:
    seen = []
    times: list[str] = []
    async with world() as made:
        for step in VECTORS["steps"]:
            made.clock.advance(2.0)
            times.append(made.clock.rfc3339())
            status = await _send(made, step)
            now = await made.client.get(SECRETS, NS, step["object"])
            entries = [_comparable(entry, times) for entry in now["metadata"]["managedFields"]]
            seen.append((step, status, entries))
    return seen


def _comparable(entry: Object, times: list[str]) -> dict[str, Any]:
    assert entry["apiVersion"] == "v1"
    assert entry["fieldsType"] == "FieldsV1"
    step = max((i for i, at in enumerate(times) if at <= entry["time"]), default=None)
    return {
        "manager": entry["manager"],
        "operation": entry["operation"],
        "time_of_step": step,
        "fieldsV1": entry["fieldsV1"],
    }


def test_every_recorded_step_leaves_the_recorded_managed_fields() -> None:
    """Replaying the recording over HTTP gives the same statuses, messages, owners, times and order at every step."""
    for step, (code, message), entries in asyncio.run(_replay()):
        assert (code, message) == (step["status"], step["error"]), step["about"]
        assert entries == step["managedFields"], f"step {step['step']}: {step['about']}"


@in_world
async def test_status_writes_are_an_entry_of_their_own(made: World) -> None:
    """A controller that writes spec and status through two endpoints has two entries, one with subresource status."""
    await made.client.create(EXTERNAL_SECRETS, NS, external_secret("e"))
    status = {"status": {"refreshTime": "2026-01-01T00:00:00Z", "conditions": [{"type": "Ready", "status": "True"}]}}
    written = await made.client.merge_patch(EXTERNAL_SECRETS, NS, "e", status, subresource="status")
    spec, state = written["metadata"]["managedFields"]
    assert ("subresource" not in spec, state["subresource"]) == (True, "status")
    assert state["fieldsV1"] == {"f:status": {".": {}, "f:conditions": {}, "f:refreshTime": {}}}


@in_world
async def test_lists_of_built_in_kinds_are_owned_item_by_item(made: World) -> None:
    """Containers, owner references and finalizers are owned by their keys, as the typed schema has it."""
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "o", "uid": "u-1"}
    made.server.gc = False
    body = {
        "metadata": {"name": "p", "ownerReferences": [owner], "finalizers": ["a/b"]},
        "spec": {"containers": [{"name": "main", "env": [{"name": "A", "value": "1"}]}]},
    }
    fields = (await made.client.create(PODS, NS, body))["metadata"]["managedFields"][0]["fieldsV1"]
    assert fields["f:metadata"] == {
        "f:finalizers": {".": {}, 'v:"a/b"': {}},
        "f:ownerReferences": {".": {}, 'k:{"uid":"u-1"}': {".": {}, **_members(owner)}},
    }
    main = fields["f:spec"]["f:containers"]['k:{"name":"main"}']
    assert main["f:env"] == {".": {}, 'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}}


def _members(obj: Object) -> Object:
    return {f"f:{key}": {} for key in obj}


@in_world
async def test_an_apply_that_would_take_a_field_is_refused_unless_forced(made: World) -> None:
    """Server-side apply of a field that another manager set with another value is 409 and names both."""
    await made.client.create(SECRETS, NS, secret("s"))
    config = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "dTI="}}
    path, kind = SECRETS.path(NS, "s"), "application/apply-patch+yaml"

    async def apply(**query: str) -> Object:
        return await made.client.request(
            "PATCH", path, query={"fieldManager": "gitops", **query}, body=config, content_type=kind
        )

    error = await refused(apply(), 409, "Conflict")
    assert error.status["message"] == 'Apply failed with 1 conflict: conflict with "test": .data.k'
    assert (await apply(force="true"))["data"] == {"k": "dTI="}


@in_world
async def test_what_an_apply_no_longer_names_is_removed(made: World) -> None:
    """A label that its only owner stops applying disappears from the object."""
    path, kind = SECRETS.path(NS, "s"), "application/apply-patch+yaml"
    for labels in ({"a": "1", "b": "2"}, {"a": "1"}):
        config = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "labels": labels}}
        query = {"fieldManager": "gitops"}
        applied = await made.client.request("PATCH", path, query=query, body=config, content_type=kind)
    assert applied["metadata"]["labels"] == {"a": "1"}
