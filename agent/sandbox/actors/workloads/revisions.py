"""ControllerRevisions: the templates that StatefulSets and DaemonSets remember, and the hash their pods bear."""

from __future__ import annotations

from agent.sandbox.actors.controller.objects import key_of, owner_reference, template_hash, terminating
from agent.sandbox.actors.workloads.hands import Hands
from agent.sandbox.client import ApiError, Object, Resource

CONTROLLER_REVISIONS = Resource(group="apps", plural="controllerrevisions")
HASH_LABEL = "controller-revision-hash"


def revision_name(owner: Object) -> str:
    """The name of the revision of an owner's present template."""
    return f"{owner['metadata']['name']}-{template_hash(owner['spec']['template'])}"


async def remember(hands: Hands, kind: str, owner: Object) -> str:
    """See to it that a ControllerRevision holds the present template and has the highest number; its name."""
    store, name = hands.stores.of(CONTROLLER_REVISIONS), revision_name(owner)
    namespace, _ = key_of(owner)
    mine = [r for r in store.owned_by(owner["metadata"]["uid"]) if not terminating(r)]
    newest = max((r["revision"] for r in mine), default=0)
    found = next((r for r in mine if r["metadata"]["name"] == name), None)
    if found is None:
        body = {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {
                "name": name,
                "labels": owner["spec"]["template"].get("metadata", {}).get("labels") or {},
                "ownerReferences": [owner_reference("apps/v1", kind, owner)],
            },
            "data": {"spec": {"template": owner["spec"]["template"]}},
            "revision": newest + 1,
        }
        try:
            await hands.create(CONTROLLER_REVISIONS, namespace, body)
        except ApiError as error:
            if error.code != 409 or store.get(namespace, name) is None:
                raise
    elif found["revision"] < newest:
        await hands.patch(CONTROLLER_REVISIONS, found, {"revision": newest + 1})
    return name


def remembered_template(hands: Hands, owner: Object, name: str) -> Object:
    """The template of a revision by name; the owner's present one where it is forgotten."""
    found = hands.stores.of(CONTROLLER_REVISIONS).get(owner["metadata"]["namespace"], name)
    template: Object = found["data"]["spec"]["template"] if found else owner["spec"]["template"]
    return template
