"""Which Secrets the containers of a pod template consume, and how.

Every pod of a template carries the same text, so the text is the key under which the answer is kept: 50,000 pods of
2,000 templates are read 2,000 times. The only part of the text that differs from pod to pod, the random name of the
service account token's volume, is cut out of the key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from itertools import chain
from posixpath import normpath
from typing import NamedTuple

import msgspec

from agent.cluster.decode.sharing import Pool, word
from agent.cluster.decode.wire import Wire, decoded
from agent.model import ContainerSpec, Use

_TOKEN_VOLUME = re.compile(rb"kube-api-access-[a-z0-9]{5}")
_TOKEN_NAME = b"kube-api-access-"
_DATA = "..data"
_REFERENCE = re.compile(r"\$\(([^)]*)\)")


class KeyRef(Wire):
    """secretKeyRef; of a configMapKeyRef only ``optional`` is looked at."""

    name: str = ""
    key: str = ""
    optional: bool | None = None


class ValueFrom(Wire):
    """Where an environment variable comes from."""

    secret_key_ref: KeyRef | None = None
    config_map_key_ref: KeyRef | None = None


class EnvVar(Wire):
    """One entry of env."""

    name: str
    value: str | None = None
    value_from: ValueFrom | None = None


class EnvFrom(Wire):
    """One entry of envFrom."""

    prefix: str | None = None
    secret_ref: KeyRef | None = None


class Mount(Wire):
    """One entry of volumeMounts."""

    name: str
    sub_path: str | None = None
    sub_path_expr: str | None = None


class Container(Wire):
    """A container of the pod spec."""

    name: str
    env: list[EnvVar] | None = None
    env_from: list[EnvFrom] | None = None
    volume_mounts: list[Mount] | None = None
    restart_policy: str | None = None


class Item(Wire):
    """One projected key."""

    key: str
    path: str


class SecretSource(Wire):
    """A secret volume (``secretName``) or a projected secret (``name``)."""

    secret_name: str = ""
    name: str = ""
    items: list[Item] | None = None
    optional: bool | None = None


class Source(Wire):
    """One source of a projected volume."""

    secret: SecretSource | None = None


class Projected(Wire):
    """A projected volume."""

    sources: list[Source] | None = None


class Volume(Wire):
    """A volume of the pod spec."""

    name: str
    secret: SecretSource | None = None
    projected: Projected | None = None


class PullSecret(Wire):
    """One of imagePullSecrets."""

    name: str = ""


class Template(NamedTuple):
    """What equal pods share."""

    containers: tuple[ContainerSpec, ...]
    references: tuple[str, ...]


_containers = msgspec.json.Decoder(list[Container] | None)
_volumes = msgspec.json.Decoder(list[Volume] | None)
_pulls = msgspec.json.Decoder(list[PullSecret] | None)


_keys: Pool[tuple[str, ...]] = Pool(4_096)
"""The same few names of keys recur in all that reads such Secrets."""


class Templates:
    """Consumption by template. Bounded: cleared when full, which costs a second look and nothing else.

    And so in bytes: what is made of a long text may be as long, and is not kept once the pods that have it are gone.
    """

    def __init__(self, most: int = 16_384, longest: int = 65_536) -> None:
        self._most = most
        self._longest = longest
        self._known: dict[bytes, Template] = {}
        self._shared: dict[Template, Template] = {}
        self._last: tuple[bytes, Template] = (b"", Template((), ()))

    def of(self, init: msgspec.Raw, containers: msgspec.Raw, volumes: msgspec.Raw, pulls: msgspec.Raw) -> Template:
        """Raises Unfit where the text is no pod spec."""
        text = b"\0".join((containers, init, volumes, pulls))
        if (at := text.find(_TOKEN_NAME)) >= 0:
            random = text[at : at + len(_TOKEN_NAME) + 5]
            text = text.replace(random, b"") if _TOKEN_VOLUME.fullmatch(random) else text
        last, template = self._last
        if text == last:  # pods of one template follow one another in a list
            return template
        digest = blake2b(text, digest_size=16).digest()
        known = self._known.get(digest)
        if known is None:
            known = consumption(init, containers, volumes, pulls)
            if len(text) <= self._longest:
                if len(self._known) >= self._most:
                    self.clear()
                known = self._known[digest] = self._shared.setdefault(known, known)
        self._last = text, known
        return known

    def clear(self) -> None:
        """Share nothing with what was there before, but for the pod that was there last."""
        self._known.clear()
        self._shared.clear()


def consumption(init: msgspec.Raw, containers: msgspec.Raw, volumes: msgspec.Raw, pulls: msgspec.Raw) -> Template:
    """What each container consumes, init containers first as they start, and every Secret that the pod refers to."""
    mountable = {volume.name: volume for volume in decoded(_volumes, volumes, "spec.volumes") or ()}
    first = decoded(_containers, init, "spec.initContainers") or []
    rest = decoded(_containers, containers, "spec.containers") or []
    pulled = decoded(_pulls, pulls, "spec.imagePullSecrets") or []
    specs = [
        *(_container(one, "sidecar" if one.restart_policy == "Always" else "init", mountable) for one in first),
        *(_container(one, "container", mountable) for one in rest),
    ]
    names = {*_referenced(first), *_referenced(rest), *(pull.name for pull in pulled)}
    names.update(name for volume in mountable.values() for name, _ in _sources(volume))
    return Template(tuple(specs), tuple(sorted(word(name) for name in names if name)))


def _container(wire: Container, kind: str, volumes: dict[str, Volume]) -> ContainerSpec:
    # one by one: a thousand mounts of a volume of a thousand keys are one use, and never a million keys at a time
    uses = chain(_env(wire.env or []), _env_from(wire), _mounted(wire.volume_mounts or [], volumes))
    return ContainerSpec(word(wire.name), kind, tuple(dict.fromkeys(uses)))


def _env(env: list[EnvVar]) -> Iterator[Use]:
    """A later variable of the same name wins, unless another takes the earlier value by ``$(NAME)``."""
    last = {variable.name: index for index, variable in enumerate(env)}
    quoting = [variable.value for variable in env if variable.value and "$(" in variable.value]
    quoted = {name for value in quoting for name in _REFERENCE.findall(value)}
    for index, variable in enumerate(env):
        ref = variable.value_from.secret_key_ref if variable.value_from else None
        if ref is not None and ref.name and (last[variable.name] == index or variable.name in quoted):
            yield Use(word(ref.name), "env", _keys[(word(ref.key),)], optional=bool(ref.optional))


def _env_from(wire: Container) -> Iterator[Use]:
    certain = {variable.name for variable in wire.env or () if _is_set(variable)}
    below: dict[str, tuple[str, ...]] = {}  # by prefix: most have none, and every Secret would have all names anew
    for source in wire.env_from or ():
        if source.secret_ref is not None and source.secret_ref.name:
            prefix = source.prefix or ""
            if prefix not in below:
                shadowed = (name[len(prefix) :] for name in certain if name.startswith(prefix) and name != prefix)
                below[prefix] = tuple(sorted(shadowed))
            yield Use(
                word(source.secret_ref.name),
                "envFrom",
                without=below[prefix],
                optional=bool(source.secret_ref.optional),
            )


def _is_set(variable: EnvVar) -> bool:
    """An optional reference to what is not there sets nothing: then envFrom shows through."""
    source = variable.value_from
    refs = (source.secret_key_ref, source.config_map_key_ref) if source else ()
    return not any(ref is not None and ref.optional for ref in refs)


def _mounted(mounts: list[Mount], volumes: dict[str, Volume]) -> Iterator[Use]:
    """A volume that the container does not mount gives it nothing."""
    for mount in mounts:
        volume = volumes.get(mount.name)
        if volume is None:
            continue
        via = "volume" if volume.secret is not None else "projected"
        several = volume.projected is not None and len(volume.projected.sources or ()) > 1
        for name, source in _sources(volume):
            keys, optional = tuple(word(item.key) for item in source.items) if source.items else None, source.optional
            if mount.sub_path or mount.sub_path_expr:
                via, keys = "subPath", _below(mount, source)
                optional = optional or (several and not source.items)  # the file may be of another source
            if name and keys != ():
                yield Use(word(name), via, keys, optional=bool(optional))


def _below(mount: Mount, source: SecretSource) -> tuple[str, ...] | None:
    """Keys whose files lie at or below the mounted path; all of them where the path has variables in it."""
    path = _plain(mount.sub_path or "")
    if mount.sub_path_expr or path == ".":
        return tuple(item.key for item in source.items) if source.items else None
    if not source.items:
        return (path,)
    return tuple(item.key for item in source.items if f"{_plain(item.path)}/".startswith(path + "/"))


def _plain(path: str) -> str:
    """One spelling of all that lead to the same file; kubelet keeps the files of a volume below ``..data``."""
    whole = normpath(path.strip("/"))
    return "." if whole == _DATA else whole.removeprefix(_DATA + "/")


def _sources(volume: Volume) -> Iterable[tuple[str, SecretSource]]:
    if volume.secret is not None:
        yield volume.secret.secret_name, volume.secret
    if volume.projected is not None:
        for source in volume.projected.sources or ():
            if source.secret is not None:
                yield source.secret.name, source.secret


def _referenced(containers: Iterable[Container]) -> Iterator[str]:
    for one in containers:
        for variable in one.env or ():
            if variable.value_from is not None and variable.value_from.secret_key_ref is not None:
                yield variable.value_from.secret_key_ref.name
        for source in one.env_from or ():
            if source.secret_ref is not None:
                yield source.secret_ref.name
