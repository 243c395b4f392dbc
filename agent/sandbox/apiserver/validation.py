"""What the API server refuses, as far as a caller of this world can trip over it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

from agent.sandbox.apiserver import defaults
from agent.sandbox.apiserver.kinds import Kind
from agent.sandbox.apiserver.selectors import label_selector
from agent.sandbox.apiserver.status import Cause, StatusError, invalid

Object = dict[str, Any]

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_DNS_LABEL = re.compile(_LABEL)
_DATA_KEY = re.compile(r"[-._a-zA-Z0-9]+")
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_DATA_KEY_TEXT = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
_IMMUTABLE = "field is immutable when `immutable` is set"
MAX_DATA = 1024 * 1024
_REQUIRED_KEYS = {
    "kubernetes.io/tls": ("tls.crt", "tls.key"), "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",), "kubernetes.io/dockercfg": (".dockercfg",),
}  # fmt: skip
_POD_CHANGEABLE = ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates")


def wrong(field: str, value: Any, text: str) -> Cause:
    """A field with a value that it must not have."""
    shown = json.dumps(value) if not isinstance(value, (dict, list)) else json.dumps(value, separators=(",", ":"))
    return Cause(reason="FieldValueInvalid", message=f"Invalid value: {shown}: {text}", field=field)


def forbidden_field(field: str, text: str) -> Cause:
    """A field that must not be set or changed now."""
    return Cause(reason="FieldValueForbidden", message=f"Forbidden: {text}", field=field)


def required(field: str, text: str = "") -> Cause:
    """A field that is missing."""
    return Cause(reason="FieldValueRequired", message="Required value" + (f": {text}" if text else ""), field=field)


def _name(kind: Kind, name: str) -> Iterator[Cause]:
    if kind.kind == "Namespace":
        if len(name) > 63 or not _DNS_LABEL.fullmatch(name):
            yield wrong("metadata.name", name, _LABEL_TEXT)
    elif not _SUBDOMAIN.fullmatch(name):
        yield wrong("metadata.name", name, _SUBDOMAIN_TEXT)
    elif len(name) > 253:
        yield wrong("metadata.name", name, "must be no more than 253 characters")


def _data(obj: Object) -> Iterator[Cause]:
    size = 0
    for member in ("data", "binaryData"):
        for key, value in (obj.get(member) or {}).items():
            if key in (".", "..") or not _DATA_KEY.fullmatch(key):
                yield wrong(f"{member}[{key}]", key, _DATA_KEY_TEXT)
            elif len(key) > 253:
                yield wrong(f"{member}[{key}]", key, "must be no more than 253 characters")
            plain = "type" not in obj and member == "data"  # a ConfigMap's text
            size += len(value.encode()) if plain else len(value) * 3 // 4 - value.count("=", -2)
    if size > MAX_DATA:
        field = "data" if "type" in obj else ""
        yield Cause(reason="FieldValueTooLong", message=f"Too long: may not be more than {MAX_DATA} bytes", field=field)


def _secret(obj: Object) -> Iterator[Cause]:
    yield from _data(obj)
    data = obj.get("data") or {}
    for key in _REQUIRED_KEYS.get(obj["type"], ()):
        if key not in data:
            yield required(f"data[{key}]")
    if obj["type"] == "kubernetes.io/dockerconfigjson" and ".dockerconfigjson" in data:
        try:
            json.loads(base64.b64decode(data[".dockerconfigjson"]))
        except ValueError:
            yield wrong("data[.dockerconfigjson]", "<secret contents redacted>", "invalid character")


def _template(obj: Object) -> Iterator[Cause]:
    spec = obj.get("spec") or {}
    selector, template = spec.get("selector"), spec.get("template") or {}
    if not selector:
        yield required("spec.selector")
        return
    terms = label_selector(selector)
    labels = (template.get("metadata") or {}).get("labels") or {}
    if terms is None:
        yield wrong("spec.selector", selector, "not a valid selector operator")
    elif not all(term.holds(labels) for term in terms):
        yield wrong("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")


def _owners(obj: Object) -> Iterator[Cause]:
    for index, owner in enumerate(obj["metadata"].get("ownerReferences") or ()):
        for member in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(member):
                yield wrong(
                    f"metadata.ownerReferences[{index}].{member}",
                    owner.get(member) or "",
                    f"{member} must not be empty",
                )


def _pod(obj: Object) -> Iterator[Cause]:
    if not obj["spec"].get("containers"):
        yield required("spec.containers")


def _event(obj: Object) -> Iterator[Cause]:
    about = (obj.get("involvedObject") or {}).get("namespace") or ""
    if about != obj["metadata"]["namespace"] and (about or obj["metadata"]["namespace"] != "default"):
        yield wrong("involvedObject.namespace", about, "does not match event.namespace")


_CHECKS = {
    "Event": _event,
    "Secret": _secret, "ConfigMap": _data, "Pod": _pod,
    "Deployment": _template, "ReplicaSet": _template, "StatefulSet": _template, "DaemonSet": _template,
}  # fmt: skip


def _frozen_pod_spec(spec: Object) -> Object:
    kept = {key: value for key, value in spec.items() if key not in _POD_CHANGEABLE}
    for member in ("containers", "initContainers"):
        if member in kept:
            kept[member] = [{k: v for k, v in c.items() if k not in ("image", "resources")} for c in kept[member]]
    return kept


def _pod_update(old: Object, new: Object) -> Iterator[Cause]:
    before, after = _frozen_pod_spec(old["spec"]), _frozen_pod_spec(new["spec"])
    if not before.get("nodeName"):
        after.pop("nodeName", None)
    if before != after:
        yield forbidden_field(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
            "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
            "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        )


def _data_update(old: Object, new: Object) -> Iterator[Cause]:
    if old.get("type") != new.get("type"):
        yield wrong("type", new.get("type"), "field is immutable")
    if old.get("immutable"):
        if not new.get("immutable"):
            yield forbidden_field("immutable", _IMMUTABLE)
        for member in ("data", "binaryData"):
            if (old.get(member) or {}) != (new.get(member) or {}):
                yield forbidden_field(member, _IMMUTABLE)


def _selector_update(old: Object, new: Object) -> Iterator[Cause]:
    if old["spec"].get("selector") != new["spec"].get("selector"):
        yield wrong("spec.selector", new["spec"].get("selector"), "field is immutable")


def _job_update(old: Object, new: Object) -> Iterator[Cause]:
    if old["spec"].get("template") != new["spec"].get("template"):
        yield wrong("spec.template", {}, "field is immutable")


_UPDATE_CHECKS = {
    "Secret": _data_update, "ConfigMap": _data_update, "Pod": _pod_update, "Job": _job_update,
    "Deployment": _selector_update, "ReplicaSet": _selector_update, "StatefulSet": _selector_update,
    "DaemonSet": _selector_update,
}  # fmt: skip


def _finalizers_update(old: Object, new: Object) -> Iterator[Cause]:
    if "deletionTimestamp" in old["metadata"]:
        before = set(old["metadata"].get("finalizers") or ())
        added = [f for f in new["metadata"].get("finalizers") or () if f not in before]
        if added:
            text = "no new finalizers can be added if the object is being deleted, found new finalizers []string{"
            yield forbidden_field("metadata.finalizers", text + ", ".join(json.dumps(f) for f in added) + "}")


def _raise(kind: Kind, name: str, causes: list[Cause]) -> None:
    if causes:
        raise invalid(kind.group, kind.kind, name, causes)


def check_shape(kind: Kind, obj: Any) -> None:
    """Raise StatusError 400 unless the members that the server itself walks have their types."""
    for member in ("name", "generateName", "namespace", "uid", "resourceVersion"):
        if not isinstance(_member(obj, "metadata", member), (str, type(None))):
            raise _mistyped(kind, f"metadata.{member}", "string")
    maps = {"metadata": obj.get("metadata"), "spec": obj.get("spec"), "status": obj.get("status")}
    metadata = obj.get("metadata")
    if isinstance(metadata, dict):
        maps |= {f"metadata.{name}": metadata.get(name) for name in ("labels", "annotations")}
        lists = {f"metadata.{name}": metadata.get(name) for name in ("ownerReferences", "finalizers", "managedFields")}
        for path, value in lists.items():
            if value is not None and not isinstance(value, list):
                raise _mistyped(kind, path, "array")
    if kind.kind in ("Secret", "ConfigMap"):
        maps |= {name: obj.get(name) for name in ("data", "stringData", "binaryData")}
    for path, value in maps.items():
        if value is not None and not isinstance(value, dict):
            raise _mistyped(kind, path, "map")
    for path in ("metadata.labels", "metadata.annotations"):
        if any(not isinstance(value, str) for value in (maps.get(path) or {}).values()):
            raise _mistyped(kind, path, "map[string]string")


def _member(obj: Any, *path: str) -> Any:
    for part in path:
        obj = obj.get(part) if isinstance(obj, dict) else None
    return obj


def _mistyped(kind: Kind, path: str, expected: str) -> StatusError:
    message = f"cannot unmarshal into Go struct field {kind.kind}.{path} of type {expected}"
    text = f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: json: {message}'
    return StatusError(400, "BadRequest", text)


def settle(kind: Kind, obj: Object, *, newborn: bool) -> None:
    """Fill in defaults and check an object about to be written.

    Raises StatusError 422 with every broken field, or 400 where the shape is so wrong that typed decoding would fail.
    """
    try:
        defaults.fill(kind, obj)
        if newborn:
            defaults.first_status(kind, obj)
        check(kind, obj)
    except (AttributeError, TypeError, KeyError, IndexError) as error:
        raise _mistyped(kind, "spec", "map") from error


def check(kind: Kind, obj: Object) -> None:
    """Raise StatusError 422 with every broken field of an object about to be created or replaced."""
    causes = [*_name(kind, obj["metadata"]["name"]), *_owners(obj)]
    if kind.kind in _CHECKS:
        causes += _CHECKS[kind.kind](obj)
    _raise(kind, obj["metadata"]["name"], causes)


def check_update(kind: Kind, old: Object, new: Object) -> None:
    """Raise StatusError 422 where ``new`` changes what may not change."""
    causes = list(_finalizers_update(old, new))
    if kind.kind in _UPDATE_CHECKS:
        causes += _UPDATE_CHECKS[kind.kind](old, new)
    _raise(kind, new["metadata"]["name"], causes)
