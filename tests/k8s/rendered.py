"""What kustomize and the chart make of the manifests, as a user asks for them."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from support.programs import output

K8S = Path(__file__).parents[2] / "k8s"
_PAGE = K8S / "README.md"
HOME = "secret-drift-agent"
IMAGE, TAG = "registry.example.com/secret-drift-agent", "1.2.3"
CLIENT = "11111111-2222-3333-4444-555555555555"
"""The id of an Azure identity."""
SHAPES = ("deployment", "cronjob")
STEPS: dict[str, tuple[str, ...]] = {
    "observe": (),
    "heal": ("heal",),
    "restart": ("heal", "restart"),
    "recreate": ("heal", "recreate"),
}
"""What is installed for each step, beside observe."""
Object = dict[str, Any]
Objects = dict[tuple[str, str, str], Object]
"""By (kind, namespace or empty, name)."""


def kustomize(shape: str, components: tuple[str, ...] = (), namespaces: tuple[str, ...] = (), own: str = "") -> Objects:
    """An overlay with components, by a kustomization of the user's; in these namespaces alone, where there are any.

    ``own``: YAML with more fields of that kustomization.
    """
    return by_name(_kustomized(shape, components, namespaces, own))


def example(title: str) -> str:
    """The block of YAML in k8s/README.md whose first line is this comment."""
    (found,) = re.findall(rf"^```yaml\n# {re.escape(title)}\n(.*?)^```", _PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return str(found)


def chart(shape: str, components: tuple[str, ...] = (), namespaces: tuple[str, ...] = (), *more: str) -> Objects:
    """The chart with the values that ask for the same; ``more``: arguments of helm."""
    return by_name(_templated(shape, components, namespaces, *more))


def notes(*more: str) -> str:
    """What helm tells whoever installs the chart with these arguments, in one line."""
    image = ("--set", f"image.repository={IMAGE},image.tag={TAG}")
    told = output("helm", "install", "any", K8S / "chart", "--namespace", HOME, "--dry-run=client", *image, *more)
    return " ".join(told.partition("\nNOTES:\n")[2].split())


@functools.cache
def _kustomized(shape: str, components: tuple[str, ...], namespaces: tuple[str, ...], own: str) -> str:
    with TemporaryDirectory(prefix="kustomize-") as directory:
        place = Path(directory).resolve()
        resources = [_from(place, "overlays", shape)]
        for name in namespaces:
            granted = [_from(place / name, "namespaced", right) for right in ("observe", *components)]
            _kustomization(place / name, namespace=name, resources=granted)
            resources.append(name)
        named = [*components, *(["namespaced"] if namespaces else [])]
        _kustomization(
            place,
            resources=resources,
            components=[_from(place, "components", component) for component in named],
            images=[{"name": HOME, "newName": IMAGE, "newTag": TAG}],
            **(yaml.safe_load(own) or {}),
        )
        return output("kubectl", "kustomize", place)


@functools.cache
def _templated(shape: str, components: tuple[str, ...], namespaces: tuple[str, ...], *more: str) -> str:
    values = [f"image.repository={IMAGE}", f"image.tag={TAG}", f"shape={shape}", *(f"{c}=true" for c in components)]
    values += [f"namespaces[{number}]={name}" for number, name in enumerate(namespaces)]
    told = [argument for value in values for argument in ("--set", value)]
    return output("helm", "template", "any", K8S / "chart", "--namespace", HOME, *told, *more)


def by_name(text: str) -> Objects:
    """The documents of a stream. Raises AssertionError if two have one name."""
    found: Objects = {}
    for document in yaml.safe_load_all(text):
        if document is not None:
            metadata = document["metadata"]
            key = (document["kind"], metadata.get("namespace", ""), metadata["name"])
            assert key not in found, f"twice: {key}"
            found[key] = document
    return found


def pod_of(objects: Objects) -> Object:
    """The pod template of the agent."""
    (workload,) = (each for (kind, _, _), each in objects.items() if kind in ("Deployment", "CronJob"))
    spec = workload["spec"]
    template: Object = (spec["jobTemplate"]["spec"] if workload["kind"] == "CronJob" else spec)["template"]
    return template


def of_kind(objects: Objects, *kinds: str) -> list[Object]:
    """The objects of these kinds."""
    return [each for (kind, _, _), each in objects.items() if kind in kinds]


def _from(place: Path, *parts: str) -> str:
    return os.path.relpath(K8S.joinpath(*parts), place)


def _kustomization(place: Path, **fields: Sequence[Any] | str | Iterable[Any]) -> None:
    place.mkdir(exist_ok=True)
    (place / "kustomization.yaml").write_text(yaml.safe_dump(fields))
