"""The Secret that ESO makes of an ExternalSecret: a pure function of what is there and what was fetched."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from agent.esohash import created_by, data_hash, field_manager
from agent.sandbox.actors.eso import gojson, templates
from agent.sandbox.actors.eso.errors import NotReproducible, SyncFailed
from agent.sandbox.actors.eso.refresh import (
    HASH_ANNOTATION,
    MANAGED_LABEL,
    OWNER_LABEL,
    creation_policy,
    decoded_data,
    target_name,
)

Object = Mapping[str, Any]
V = TypeVar("V")

GROUP = "external-secrets.io"
NOT_UPDATED = "could not update secret"
_KEEPS_FOREIGN_KEYS = ("Merge", "CreateOrMerge")


@dataclass(frozen=True)
class Target:
    """The parts of a Secret that ESO reads and writes; ``origin`` is the object in the cluster, None for a new one."""

    name: str
    labels: dict[str, str] = field(default_factory=dict)
    annotations: dict[str, str] = field(default_factory=dict)
    owners: list[dict[str, Any]] = field(default_factory=list)
    data: dict[str, bytes] = field(default_factory=dict, repr=False)
    type: str = ""
    immutable: bool | None = None
    origin: Object | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(cls, secret: Object) -> Target:
        """The Secret as it stands in the cluster."""
        metadata = secret["metadata"]
        return cls(
            name=metadata["name"],
            labels=dict(metadata.get("labels") or {}),
            annotations=dict(metadata.get("annotations") or {}),
            owners=[dict(owner) for owner in metadata.get("ownerReferences") or []],
            data=decoded_data(secret),
            type=secret.get("type", ""),
            immutable=secret.get("immutable"),
            origin=secret,
        )

    def with_metadata_of(self, other: Target) -> Target:
        """This data with the other's labels, annotations and owners: all that an immutable Secret lets change."""
        return replace(self, labels=other.labels, annotations=other.annotations, owners=other.owners)

    def body(self, namespace: str) -> dict[str, Any]:
        """The object to create or to put."""
        if self.origin is None:
            metadata: dict[str, Any] = {"name": self.name, "namespace": namespace}
        else:
            metadata = {key: value for key, value in self.origin["metadata"].items() if key != "managedFields"}
        metadata |= {"labels": self.labels, "annotations": self.annotations, "ownerReferences": self.owners}
        data = {key: base64.b64encode(value).decode() for key, value in self.data.items()}
        secret: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
        if self.type:
            secret["type"] = self.type
        if self.immutable is not None:
            secret["immutable"] = self.immutable
        return secret


def desired(external_secret: Object, existing: Target | None, data: Mapping[str, bytes]) -> Target:
    """What the Secret shall be. Raises SyncFailed for templates and owners that stand in the way, NotReproducible."""
    spec_target = external_secret["spec"].get("target") or {}
    result = replace(existing) if existing else Target(target_name(external_secret))
    if spec_target.get("immutable"):
        result = replace(result, immutable=True)
    prefix = f"unable to mutate secret {existing.name}: " if existing else ""
    if existing is None or not spec_target.get("immutable"):
        try:
            result = _filled(external_secret, result, data)
        except templates.TemplateError as error:
            raise SyncFailed(NOT_UPDATED, f"{prefix}{error}") from None
    result = _owned(external_secret, result, prefix)
    _check_type(result)
    labels = {**result.labels, MANAGED_LABEL: "true"}
    annotations = {**result.annotations, HASH_ANNOTATION: data_hash(result.data)}
    return replace(result, labels=labels, annotations=annotations)


def _check_type(target: Target) -> None:
    """Raises NotReproducible where an API server would refuse the data in words that only a real one knows."""
    if target.type in ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg"):
        key = f".{target.type.removeprefix('kubernetes.io/')}"
        try:
            gojson.check(target.data.get(key, b"{}").decode())
        except ValueError:
            raise NotReproducible(f"type {target.type} with data that is no JSON") from None
    if target.type == "kubernetes.io/basic-auth" and not {"username", "password"} & target.data.keys():
        raise NotReproducible(f"type {target.type} without username and password")


def _filled(external_secret: Object, target: Target, data: Mapping[str, bytes]) -> Target:
    """The data and the metadata anew: what ESO's own manager wrote before goes first."""
    metadata = external_secret["metadata"]
    template = (external_secret["spec"].get("target") or {}).get("template")
    labels = _without(target.labels, _managed(target, _metadata_manager(metadata["name"]), "f:metadata", "f:labels"))
    annotations = _without(
        target.annotations, _managed(target, _metadata_manager(metadata["name"]), "f:metadata", "f:annotations")
    )
    kept: dict[str, bytes] = {}
    if creation_policy(external_secret) in _KEEPS_FOREIGN_KEYS:
        kept = _without(target.data, _managed(target, field_manager(metadata["name"]), "f:data"))
    if template is None:
        return replace(
            target,
            labels={**labels, **(metadata.get("labels") or {})},
            annotations={**annotations, **(metadata.get("annotations") or {})},
            data={**kept, **data},
        )
    return _templated(template, replace(target, labels=labels, annotations=annotations, data=kept), data)


def _templated(template: Mapping[str, Any], target: Target, data: Mapping[str, bytes]) -> Target:
    texts = template.get("data") or {}
    raw = data if template.get("mergePolicy") == "Merge" or not texts else {}
    metadata = template.get("metadata") or {}
    return replace(
        target,
        type=template.get("type") or target.type,
        data={**target.data, **raw, **templates.rendered(texts, data)},
        labels={**target.labels, **_texts(metadata.get("labels"), data)},
        annotations={**target.annotations, **_texts(metadata.get("annotations"), data)},
    )


def _texts(texts: Mapping[str, str] | None, data: Mapping[str, bytes]) -> dict[str, str]:
    return {key: value.decode("utf-8", "replace") for key, value in templates.rendered(texts or {}, data).items()}


def check_template(template: Mapping[str, Any] | None) -> None:
    """Raises NotReproducible for a template that needs more than this actor does."""
    if template is None:
        return
    metadata = template.get("metadata") or {}
    if template.get("templateFrom"):
        raise NotReproducible("template.templateFrom")
    if metadata.get("finalizers"):
        raise NotReproducible("template.metadata.finalizers")
    if template.get("engineVersion", "v2") != "v2":
        raise NotReproducible(f"template engine {template['engineVersion']}")
    for texts in (template.get("data"), metadata.get("labels"), metadata.get("annotations")):
        templates.check(texts or {})


def _owned(external_secret: Object, target: Target, prefix: str) -> Target:
    """The owner reference and the label, given or taken as the creation policy says."""
    metadata = external_secret["metadata"]
    controller = next((owner for owner in target.owners if owner.get("controller")), None)
    is_ours = controller is not None and _same_object(controller, "ExternalSecret", metadata["name"])
    if controller is not None and not is_ours and _is_external_secret(controller):
        raise SyncFailed(
            "target is owned by another ExternalSecret",
            f"{prefix}secret is owned by another ExternalSecret: {controller['name']}",
            terminal=True,
        )
    labels = _without(target.labels, [OWNER_LABEL])
    if creation_policy(external_secret) != "Owner":
        owners = [owner for owner in target.owners if not (is_ours and owner is controller)]
        return replace(target, owners=owners, labels=labels)
    if controller is not None and not is_ours:
        raise SyncFailed(
            "failed to take ownership of target secret",
            f"{prefix}could not set controller reference on secret: Object {metadata['namespace']}/{target.name} is "
            f"already owned by another {controller['kind']} controller {controller['name']}",
            terminal=True,
        )
    labels[OWNER_LABEL] = created_by(metadata["namespace"], metadata["name"])
    return replace(target, owners=_with_owner(target.owners, metadata), labels=labels)


def _with_owner(owners: list[dict[str, Any]], metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    reference = {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ExternalSecret",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    replaced = [reference if _same_object(owner, "ExternalSecret", metadata["name"]) else owner for owner in owners]
    return replaced if reference in replaced else [*replaced, reference]


def _is_external_secret(owner: Mapping[str, Any]) -> bool:
    return owner.get("kind") == "ExternalSecret" and owner.get("apiVersion", "").partition("/")[0] == GROUP


def _same_object(owner: Mapping[str, Any], kind: str, name: str) -> bool:
    return _is_external_secret(owner) and owner.get("kind") == kind and owner.get("name") == name


def _metadata_manager(name: str) -> str:
    """The manager whose labels and annotations ESO takes for its own before it writes them anew.

    Hashed only if the *name* exceeds 63 characters, whereas the manager it writes under is hashed from 28 on: of names
    in between, labels and annotations once copied are never taken away.
    """
    return field_manager(name) if len(name) > 63 else f"externalsecrets.external-secrets.io/{name}"


def _managed(target: Target, manager: str, *path: str) -> Iterator[str]:
    """The keys under a path of fields that the manager owns in the Secret."""
    metadata = target.origin["metadata"] if target.origin else {}
    for entry in metadata.get("managedFields") or []:
        fields = entry.get("fieldsV1") or {} if entry.get("manager") == manager else {}
        for step in path:
            fields = fields.get(step) or {}
        yield from (key.removeprefix("f:") for key in fields if key != ".")


def _without(entries: Mapping[str, V], keys: Iterable[str]) -> dict[str, V]:
    gone = set(keys)
    return {key: value for key, value in entries.items() if key not in gone}
