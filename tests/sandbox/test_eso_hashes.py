"""ESO's marks: what the formulas give for values that were seen on the real thing."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from agent.esohash import created_by, data_hash, field_manager, synced_resource_version

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors" / "mapping.json").read_text())["cases"]
SECRETS = [case["result"] for case in CASES if case["result"]["data"] is not None]


def test_an_externalsecret_without_labels_and_annotations_has_the_documented_version() -> None:
    """A bare ExternalSecret of generation 1 gets the syncedResourceVersion that published sample output shows."""
    assert synced_resource_version(1, {}, {}) == "1-f47fe3c0b255b6dd8047cdffa772587bb829efe7a1cb70febeda2eb2"


def test_the_version_depends_on_labels_annotations_and_generation_but_not_on_their_order() -> None:
    """Any label, any annotation and the generation change the predicted version; the order of the keys does not."""
    base = synced_resource_version(1, {"a": "1", "b": "2"}, {"x": "y"})
    assert base == synced_resource_version(1, {"b": "2", "a": "1"}, {"x": "y"})
    others = [
        synced_resource_version(2, {"a": "1", "b": "2"}, {"x": "y"}),
        synced_resource_version(1, {"a": "1"}, {"x": "y"}),
        synced_resource_version(1, {"a": "1", "b": "2"}, {"x": "z"}),
        synced_resource_version(1, {"x": "y"}, {"a": "1", "b": "2"}),
    ]
    assert len({base, *others}) == 5


def test_data_hash_of_the_upstream_example() -> None:
    """Two plain keys give the hash that ESO's own tests expect."""
    expected = "1bed8bcbcb4547ffe19a19cd47d9078e84aa6598266d86b99f992d64"
    assert data_hash({"foo": b"value1", "bar": b"value2"}) == expected


def test_data_hash_of_every_recorded_secret() -> None:
    """Every Secret that the real ESO wrote bears the hash of its data, except an immutable one it could not write."""
    assert len(SECRETS) > 200
    stale = []
    for case in CASES:
        result = case["result"]
        mark = (result["annotations"] or {}).get("reconcile.external-secrets.io/data-hash")
        data = {key: base64.b64decode(value) for key, value in (result["data"] or {}).items()}
        if mark and mark != data_hash(data):
            stale.append((case["id"], result["message"]))
    assert {message for _, message in stale} == {"could not update secret, target is immutable"}


@pytest.mark.parametrize("case", [c for c in CASES if c["result"]["labels"]], ids=lambda case: case["id"])
def test_created_by_of_every_recorded_secret(case: dict[str, Any]) -> None:
    """Every owned Secret bears the hash of its ExternalSecret's namespace and name."""
    mark = case["result"]["labels"].get("reconcile.external-secrets.io/created-by")
    assert mark in (None, created_by("vec", case["id"]))


def test_field_manager_is_hashed_beyond_27_characters() -> None:
    """The manager holds the name as long as the whole string has 63 characters, then its SHA3-224."""
    assert field_manager("app") == "externalsecrets.external-secrets.io/app"
    assert field_manager("a" * 27) == "externalsecrets.external-secrets.io/" + "a" * 27
    hashed = field_manager("a" * 28)
    assert hashed.startswith("externalsecrets.external-secrets.io/sha3/")
    assert len(hashed.rpartition("/")[2]) == 56
