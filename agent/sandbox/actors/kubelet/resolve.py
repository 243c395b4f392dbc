"""What a container gets from Secrets and ConfigMaps, pure. Follows kubelet's makeEnvironmentVariables."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from agent.sandbox.actors.kubelet.record import Ref
from agent.sandbox.actors.kubelet.secrets import Source
from agent.sandbox.client import Object

Found = Mapping[Source, Object | None]
"""The objects as read; None (or no entry) for an absent one."""

_STRICT_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
_REFERENCE = re.compile(r"\$\$|\$\(([^)]*)\)")


class ConfigError(Exception):
    """A container's environment cannot be made; the text is kubelet's."""


class MountError(Exception):
    """A volume cannot be made; the text is kubelet's."""


@dataclass
class Environment:
    """A container's variables and, for those that came from a Secret, from where."""

    variables: dict[str, bytes] = field(default_factory=dict)
    origins: dict[str, Ref] = field(default_factory=dict)
    absent: set[Ref] = field(default_factory=set)
    whole: set[str] = field(default_factory=set)

    @property
    def values(self) -> dict[Ref, bytes | None]:
        """Value by Secret and key; a key that an explicit variable shadows is not among them."""
        found: dict[Ref, bytes | None] = dict.fromkeys(self.absent)
        found.update({ref: self.variables[name] for name, ref in self.origins.items()})
        return found

    def put(self, name: str, value: bytes, origin: Ref | None) -> None:
        self.variables[name] = value
        self.origins.pop(name, None)
        if origin:
            self.origins[name] = origin


def data_of(source: Source, obj: Object) -> dict[str, bytes]:
    """An object's data as bytes."""
    if source[0] == "Secret":
        return {k: base64.b64decode(v) for k, v in (obj.get("data") or {}).items()}
    return {k: v.encode() for k, v in (obj.get("data") or {}).items()}


def _is_name(name: str, *, relaxed: bool) -> bool:
    if relaxed:
        return bool(name) and "=" not in name and name.isascii() and name.isprintable()
    return bool(_STRICT_NAME.fullmatch(name)) and name != "." and not name.startswith("..")


def environment(pod: Object, container: Object, found: Found, *, relaxed_names: bool = False) -> Environment:
    """The environment of a container that starts now. Raises ConfigError."""
    result = Environment()
    for each in container.get("envFrom") or []:
        kind, ref = ("Secret", each["secretRef"]) if "secretRef" in each else ("ConfigMap", each["configMapRef"])
        if kind == "Secret":
            result.whole.add(ref["name"])
        data = _data(found, (kind, ref["name"]), optional=bool(ref.get("optional")))
        for key, value in sorted((data or {}).items()):
            name = each.get("prefix", "") + key
            if _is_name(name, relaxed=relaxed_names):
                result.put(name, value, (ref["name"], key) if kind == "Secret" else None)
    for env in container.get("env") or []:
        _explicit(pod, env, found, result)
    return result


def _explicit(pod: Object, env: Object, found: Found, result: Environment) -> None:
    origin = env.get("valueFrom") or {}
    if env.get("value") or not origin:
        result.put(env["name"], _expand(env.get("value", ""), result.variables), None)
    elif ref := origin.get("secretKeyRef"):
        value = _key(pod, found, ("Secret", ref["name"]), ref)
        if value is None:
            # An optional key that is absent leaves alone what envFrom has set.
            result.absent.add((ref["name"], ref["key"]))
        else:
            result.put(env["name"], value, (ref["name"], ref["key"]))
    elif ref := origin.get("configMapKeyRef"):
        value = _key(pod, found, ("ConfigMap", ref["name"]), ref)
        if value is not None:
            result.put(env["name"], value, None)
    elif ref := origin.get("fieldRef"):
        result.put(env["name"], _field(pod, ref.get("fieldPath", "")), None)
    else:
        result.put(env["name"], b"0", None)


def _data(found: Found, source: Source, *, optional: bool) -> dict[str, bytes] | None:
    obj = found.get(source)
    if obj is not None:
        return data_of(source, obj)
    if optional:
        return None
    raise ConfigError(f'{source[0].lower()} "{source[1]}" not found')


def _key(pod: Object, found: Found, source: Source, ref: Object) -> bytes | None:
    data = _data(found, source, optional=bool(ref.get("optional")))
    if data is None:
        return None
    if ref["key"] in data:
        return data[ref["key"]]
    if ref.get("optional"):
        return None
    raise ConfigError(f"couldn't find key {ref['key']} in {source[0]} {pod['metadata']['namespace']}/{source[1]}")


def _field(pod: Object, path: str) -> bytes:
    value: object = pod
    for part in path.split("."):
        value = value.get(part, "") if isinstance(value, dict) else ""
    return str(value).encode()


def _expand(text: str, variables: Mapping[str, bytes]) -> bytes:
    def one(match: re.Match[str]) -> str:
        if match[0] == "$$":
            return "$"
        value = variables.get(match[1])
        return match[0] if value is None else value.decode("utf-8", "surrogateescape")

    return _REFERENCE.sub(one, text).encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Content:
    """The files of a volume: path -> (bytes, the Secret's key they came from, if any)."""

    files: Mapping[str, tuple[bytes, Ref | None]] = field(default_factory=dict, repr=False)
    absent: frozenset[Ref] = frozenset()
    whole: frozenset[str] = frozenset()

    def values(self, under: str = "") -> dict[Ref, bytes | None]:
        """Value by Secret and key, of all files or of those at (or below) one path."""
        found: dict[Ref, bytes | None] = {} if under else dict.fromkeys(self.absent)
        for path, (value, ref) in self.files.items():
            if ref and (not under or path == under or path.startswith(under.rstrip("/") + "/")):
                found[ref] = value
        return found


def volume_content(volume: Object, found: Found) -> Content:
    """The content of a Secret, ConfigMap or projected volume as of now; other kinds are empty. Raises MountError."""
    files: dict[str, tuple[bytes, Ref | None]] = {}
    absent: set[Ref] = set()
    whole: set[str] = set()
    for kind, name, part in _parts(volume):
        _fill(files, absent, whole, kind, name, part, found)
    return Content(files, frozenset(absent), frozenset(whole))


def _parts(volume: Object) -> list[tuple[str, str, Object]]:
    parts: list[tuple[str, str, Object]] = []
    if secret := volume.get("secret"):
        parts.append(("Secret", secret["secretName"], secret))
    if config_map := volume.get("configMap"):
        parts.append(("ConfigMap", config_map["name"], config_map))
    for each in (volume.get("projected") or {}).get("sources") or []:
        if secret := each.get("secret"):
            parts.append(("Secret", secret["name"], secret))
        if config_map := each.get("configMap"):
            parts.append(("ConfigMap", config_map["name"], config_map))
    return parts


def _fill(
    files: dict[str, tuple[bytes, Ref | None]],
    absent: set[Ref],
    whole: set[str],
    kind: str,
    name: str,
    part: Object,
    found: Found,
) -> None:
    obj, optional, items = found.get((kind, name)), bool(part.get("optional")), part.get("items")
    if not items and kind == "Secret":
        whole.add(name)
    if obj is None and not optional:
        raise MountError(f'{kind.lower()} "{name}" not found')
    data = data_of((kind, name), obj) if obj else {}
    for item in items or [{"key": k, "path": k} for k in sorted(data)]:
        ref = (name, item["key"]) if kind == "Secret" else None
        if item["key"] in data:
            files[item["path"].strip("/")] = (data[item["key"]], ref)
        elif not optional:
            raise MountError(f"references non-existent {kind.lower()} key: {item['key']}")
        elif ref:
            absent.add(ref)


@dataclass(frozen=True)
class Mounted:
    """What a container sees of its pod's volumes: fixed at its start by subPath, following by plain mounts."""

    sub_path: dict[Ref, bytes | None]
    volume: dict[Ref, bytes | None]
    whole: frozenset[str]


def mounted(container: Object, contents: Mapping[str, Content]) -> Mounted:
    """Split a container's mounts by what they do when the Secret changes."""
    sub_path: dict[Ref, bytes | None] = {}
    volume: dict[Ref, bytes | None] = {}
    whole: set[str] = set()
    for mount in container.get("volumeMounts") or []:
        content = contents.get(mount["name"], Content())
        under = mount.get("subPath") or mount.get("subPathExpr") or ""
        if under:
            sub_path.update(content.values(under.strip("/")))
        else:
            volume.update(content.values())
            whole |= content.whole
    return Mounted(sub_path, volume, frozenset(whole))


def file_at(container: Object, contents: Mapping[str, Content], path: str) -> tuple[bytes | None, bool]:
    """The file that a container finds at an absolute path, and whether it follows the Secret's changes."""
    for mount in container.get("volumeMounts") or []:
        under, root = (mount.get("subPath") or "").strip("/"), mount["mountPath"].rstrip("/")
        if path != root and not path.startswith(root + "/"):
            continue
        inside = "/".join(p for p in (under, path[len(root) :].strip("/")) if p)
        found = contents.get(mount["name"], Content()).files.get(inside)
        if found:
            return found[0], not under
    return None, False
