"""World files: what ``sandbox load FILE`` puts into a world.

A YAML file of one or more documents. One with ``kind`` is a Kubernetes object. Any other has some of these sections:

    vaults:                         # vault -> secret -> value, or its fields, or its versions, oldest first
      prod-kv:
        api-key: first-value
        db-password: {value: x, created: -7d, enabled: true, expires: 30d, notBefore: -1d, tags: {a: b}, contentType: t}
        mongo: {versions: [{value: a, created: -30d}, {value: b, created: -7d}]}
    build:                          # one call of a builder each, by its name in agent/sandbox/builders.py
      - externalSecret: {name: app-secrets, namespace: shop, data: {API_KEY: api-key}}
    objects: [...]                  # Kubernetes objects, created or replaced by the API server's own rules
    seed: [...]                     # objects put in as given, with uid, status and creationTimestamp
    backends:                       # what the applications' counterparts accept; all, if nothing is said
      mongodb: {only: [a, b], reject: [c]}

A text ``"@-7d"`` (YAML wants the quotes) anywhere in an object is the time seven days ago.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

try:
    from yaml import CSafeLoader as _Base
except ImportError:  # PyYAML without its C library: the same, slower
    from yaml import SafeLoader as _Base  # type: ignore[assignment]

from agent.sandbox.actors.kubelet import Backends
from agent.sandbox.ages import moment, resolved
from agent.sandbox.apply import resource_of
from agent.sandbox.builders import BUILDERS
from agent.sandbox.client import Object
from agent.sandbox.clock import WorldClock
from agent.sandbox.keyvault import KeyVault, Vault, VaultError
from agent.sandbox.world import Sandbox

_SECTIONS = ("vaults", "build", "objects", "seed", "backends")
_FIELDS = frozenset({"value", "created", "enabled", "expires", "notBefore", "tags", "contentType", "version"})


class WorldFileError(ValueError):
    """A world file that cannot be loaded: where in it, and what was expected. Never a value of a secret."""


@dataclass
class World:
    """What a file asks for."""

    vaults: dict[str, Any] = field(default_factory=dict)
    objects: list[Object] = field(default_factory=list)
    seeds: list[Object] = field(default_factory=list)
    backends: dict[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """``3 secrets in 1 vault, 5 objects``."""
        count = sum(len(secrets) for secrets in self.vaults.values())
        objects = len(self.objects) + len(self.seeds)
        return f"{_some(count, 'secret')} in {_some(len(self.vaults), 'vault')}, {_some(objects, 'object')}"


def _some(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def parse(text: str) -> World:
    """Read a file's text. Raises WorldFileError."""
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise WorldFileError(f"{line}not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError:
        raise WorldFileError("not valid YAML") from None
    world = World()
    for number, document in enumerate(documents, 1):
        if document is not None:
            _take(world, document, f"document {number}")
    return world


class _Loader(_Base):
    """Leaves times as text, as the API server wants them."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}


def _take(world: World, document: Any, where: str) -> None:
    if not isinstance(document, dict):
        raise WorldFileError(f"{where}: expected a Kubernetes object or some of {', '.join(_SECTIONS)}")
    if "kind" in document:
        world.objects.append(_object(document, where))
        return
    if unknown := document.keys() - set(_SECTIONS):
        names = ", ".join(sorted(map(str, unknown)))
        raise WorldFileError(f"{where}: unknown section {names}; known are {', '.join(_SECTIONS)}")
    for vault, secrets in _mapping(document.get("vaults"), f"{where}: vaults").items():
        world.vaults.setdefault(vault, {}).update(_mapping(secrets, f"{where}: vaults.{vault}"))
    for index, call in enumerate(_list(document.get("build"), f"{where}: build")):
        world.objects.append(_built(call, f"{where}: build[{index}]"))
    for section, objects in (("objects", world.objects), ("seed", world.seeds)):
        for index, obj in enumerate(_list(document.get(section), f"{where}: {section}")):
            objects.append(_object(obj, f"{where}: {section}[{index}]"))
    world.backends.update(_mapping(document.get("backends"), f"{where}: backends"))


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise WorldFileError(f"{where}: expected a mapping of names")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise WorldFileError(f"{where}: expected a list")
    return value


def _object(obj: Any, where: str) -> Object:
    if not isinstance(obj, dict) or not isinstance(obj.get("metadata"), dict) or not obj["metadata"].get("name"):
        raise WorldFileError(f"{where}: expected a Kubernetes object with kind, apiVersion and metadata.name")
    try:
        resource_of(obj)
    except KeyError as error:
        raise WorldFileError(f"{where}: {error.args[0]}") from None
    return obj


def _built(call: Any, where: str) -> Object:
    if not isinstance(call, dict) or len(call) != 1 or next(iter(call)) not in BUILDERS:
        raise WorldFileError(f"{where}: expected one of {', '.join(BUILDERS)} with its arguments")
    name, arguments = next(iter(call.items()))
    try:
        return BUILDERS[name](**_mapping(arguments, f"{where}.{name}"))
    except (TypeError, ValueError, AttributeError) as error:
        raise WorldFileError(f"{where}.{name}: {error}") from None


async def load(sandbox: Sandbox, world: World) -> None:
    """Bring a file into a world: vaults first, so that ESO finds what it needs.

    Raises WorldFileError; ApiError if the API server refuses an object.
    """
    for name, secrets in world.vaults.items():
        _fill(sandbox.vaults, name, secrets, sandbox.clock)
    for name, rules in world.backends.items():
        _set_backend(sandbox.backends, name, rules)
    seeds = [_timed(obj, sandbox.clock) for obj in world.seeds]
    objects = [_timed(obj, sandbox.clock) for obj in world.objects]
    for seed in seeds:
        sandbox.api.seed(seed)
    await sandbox.apply(*objects)


def _timed(obj: Object, clock: WorldClock) -> Object:
    made: Object = resolved(obj, clock)
    return made


def _fill(vaults: KeyVault, name: str, secrets: Mapping[str, Any], clock: WorldClock) -> None:
    try:
        vault = vaults.vault(name)
    except ValueError as error:
        raise WorldFileError(f"vaults.{name}: {error}") from None
    for secret, told in secrets.items():
        where = f"vaults.{name}.{secret}"
        shared = told if isinstance(told, dict) else {"value": told}
        common = {key: value for key, value in shared.items() if key != "versions"}
        for version in _list(shared.get("versions", [{}]), f"{where}.versions"):
            _set(vault, secret, {**common, **_mapping(version, f"{where}.versions")}, clock, where)


def _set(vault: Vault, secret: str, told: Mapping[str, Any], clock: WorldClock, where: str) -> None:
    if unknown := told.keys() - _FIELDS:
        raise WorldFileError(
            f"{where}: unknown field {', '.join(sorted(unknown))}; known are {', '.join(sorted(_FIELDS))}"
        )
    value = told.get("value")
    if not isinstance(value, str):
        raise WorldFileError(f"{where}: expected a value as text; quote numbers and booleans")
    try:
        ages = {key: moment(told[name], clock) for key, name in _AGES.items() if told.get(name) is not None}
        vault.set(
            secret,
            value,
            enabled=bool(told.get("enabled", True)),
            tags=told.get("tags"),
            content_type=told.get("contentType"),
            version=told.get("version"),
            **ages,
        )
    except (ValueError, VaultError) as error:
        raise WorldFileError(f"{where}: {error}") from None


_AGES = {"created": "created", "exp": "expires", "nbf": "notBefore"}


def _set_backend(backends: Backends, name: str, rules: Any) -> None:
    told = _mapping(rules, f"backends.{name}")
    if unknown := told.keys() - {"only", "reject"}:
        raise WorldFileError(f"backends.{name}: unknown field {', '.join(sorted(unknown))}; known are only, reject")
    if "only" in told:
        backends.accept_only(name, *_list(told["only"], f"backends.{name}.only"))
    for value in _list(told.get("reject"), f"backends.{name}.reject"):
        backends.reject(name, value)
