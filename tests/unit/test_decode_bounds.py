"""What is too large to be remembered costs only itself: it is malformed by its field, and nothing of it is quoted."""

from __future__ import annotations

import pytest
from decode_builders import KEY, Object, external_secret, meta, owned, page, pod, secret

from agent.cluster.decode import decode_page

ENTRY = {"secretKey": "a", "remoteRef": {"key": "b"}}
TOO_LONG = "names a controller by more than 253 characters"


def keys(count: int) -> dict[str, bytes]:
    """Data of so many keys."""
    return {f"k{number}": b"" for number in range(count)}


def entries(data: int, extracts: int) -> Object:
    """A spec of so many entries."""
    return {"data": [ENTRY] * data, "dataFrom": [{"extract": {"key": "b"}}] * extracts}


def carrying(resource: str, references: list[Object]) -> Object:
    """An object of that resource with these ownerReferences."""
    makers = {"pods": pod, "secrets": secret, "externalsecrets": external_secret}
    if (make := makers.get(resource)) is not None:
        return make("large", ownerReferences=references)
    spec: Object = {} if resource == "replicasets" else {"spec": {"template": {}}}
    return {"metadata": meta("large", ownerReferences=references), **spec}


@pytest.mark.parametrize(
    ("resource", "fits", "large", "told"),
    [
        ("secrets", secret(data=keys(2000)), secret("large", keys(2001)), "data: has more than 2000 keys"),
        (
            "externalsecrets",
            external_secret(spec=entries(900, 100)),
            external_secret("large", spec=entries(900, 101)),
            "spec.data: has more than 1000 entries, those of spec.dataFrom included",
        ),
    ],
)
def test_an_object_of_too_many_parts_costs_only_itself(resource: str, fits: Object, large: Object, told: str) -> None:
    """The one that is just small enough beside it is used; it is named with its field."""
    found = decode_page(resource, page(large, fits), KEY)
    assert len(found.items) == 1
    assert [str(one) for one in found.malformed] == [f"{resource} shop/large: {told}"]


@pytest.mark.parametrize(("kind", "name"), [("x" * 254, "a"), ("Node", "x" * 1_000_000)])
@pytest.mark.parametrize(
    "resource",
    ["pods", "secrets", "externalsecrets", "deployments", "statefulsets", "daemonsets", "replicasets"],
)
def test_a_controller_of_a_name_that_no_object_can_have_costs_only_its_object(
    resource: str, kind: str, name: str
) -> None:
    """Whatever carries it is malformed by that field, in words that repeat none of it; others go on."""
    large = carrying(resource, owned(kind, name, "v1"))
    fits = carrying(resource, owned("x" * 253, "y" * 253, "v1"))
    found = decode_page(resource, page(large, fits), KEY)
    assert len(found.items) == 1
    assert [str(one) for one in found.malformed] == [f"{resource} shop/large: metadata.ownerReferences: {TOO_LONG}"]


def test_an_owner_that_does_not_control_may_have_any_name() -> None:
    """Nothing of it is kept, so nothing is said of it."""
    references = [{**owned("Node", "x" * 1000, "v1")[0], "controller": False}]
    assert not decode_page("pods", page(pod(ownerReferences=references))).malformed
