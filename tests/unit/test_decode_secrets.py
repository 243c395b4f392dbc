"""Secrets without their values, and the fingerprints that stand for them."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from decode_builders import CREATED_AT, KEY, body, meta, owned, page, secret
from hypothesis import given
from hypothesis import strategies as st

from agent.cluster.decode import decode_object, decode_page
from agent.esohash import data_hash
from agent.fingerprint import Fingerprints
from agent.labels import Labels
from agent.model import SecretView

MANAGEDFIELDS = json.loads((Path(__file__).parents[1] / "vectors" / "managedfields.json").read_text())
OTHER = Fingerprints(b"another key of another install..", "k2")
DATA = {"password": b"fake-value-of-a-secret", "user": b"app"}


def decoded(key: Fingerprints | None = KEY, **parts: Any) -> SecretView:
    found = decode_object("secrets", body(secret(**parts)), key)
    assert isinstance(found, SecretView), found
    return found


def test_no_value_is_left_in_the_view() -> None:
    """Neither a value nor its base64 is anywhere in what a Secret becomes."""
    text = repr(decoded(data=DATA))
    for value in ("fake-value-of-a-secret", "ZmFrZS12YWx1ZS1vZi1hLXNlY3JldA"):
        assert value not in text


def test_fingerprints_tell_values_apart_and_nothing_else() -> None:
    """The same value at the same place has one fingerprint; another value, place or installation another one."""
    here = KEY.of("shop", "app", "password", b"x")
    assert here == KEY.of("shop", "app", "password", b"x")
    assert here.startswith("k1:")
    assert len(here) == len("k1:") + 22
    others = [
        KEY.of("shop", "app", "password", b"y"),
        KEY.of("shop", "app", "passwor", b"dx"),
        KEY.of("shop", "ap", "ppassword", b"x"),
        KEY.of("sho", "papp", "password", b"x"),
        OTHER.of("shop", "app", "password", b"x").replace("k2:", "k1:"),
    ]
    assert len({here, *others}) == 1 + len(others)


@given(st.text(), st.text(), st.dictionaries(st.text(), st.binary()))
def test_a_secret_is_fingerprinted_key_by_key(namespace: str, name: str, data: dict[str, bytes]) -> None:
    """All keys at once give what each gives alone."""
    assert KEY.of_all(namespace, name, data) == {k: KEY.of(namespace, name, k, v) for k, v in data.items()}


def test_the_installations_key_does_not_show() -> None:
    """repr names the key id; pickling and copying are refused; short keys and odd ids too."""
    assert repr(KEY) == "<Fingerprints k1>"
    assert "artificial" not in repr(KEY)
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(KEY)
    for key, key_id in ((b"short", "k1"), (b"x" * 32, ""), (b"x" * 32, "a:b")):
        with pytest.raises(ValueError, match="key"):
            Fingerprints(key, key_id)


def test_fingerprints_of_another_key_or_format_are_not_known() -> None:
    """What another installation's key made, or another format, may not be compared."""
    assert KEY.knows(KEY.of("a", "b", "c", b""))
    for foreign in (OTHER.of("a", "b", "c", b""), "", "k1", "k1:short", "?"):
        assert not KEY.knows(foreign)


def test_without_a_key_nothing_is_said_about_the_data() -> None:
    """Where no fingerprints are to be made, neither prints nor the hash of the data are."""
    view = decoded(None, data=DATA, annotations={"reconcile.external-secrets.io/data-hash": data_hash(DATA)})
    assert view.prints == {}
    assert view.hash_fits is None


@pytest.mark.parametrize(
    ("written", "fits"),
    [(data_hash(DATA), True), (data_hash({"user": b"other"}), False), ("0" * 32, None), (None, None)],
)
def test_the_data_hash_shows_whether_eso_wrote_the_data(written: str | None, fits: bool | None) -> None:
    """It fits, it does not fit, or it is one of an old ESO or none at all and says nothing."""
    annotations = {"reconcile.external-secrets.io/data-hash": written} if written else {}
    assert decoded(data=DATA, annotations=annotations).hash_fits is fits


def test_marks_of_eso_are_read() -> None:
    """The managed label, the owner, the copied force-sync annotation and finalizers."""
    view = decoded(
        labels={
            "reconcile.external-secrets.io/managed": "true",
            "reconcile.external-secrets.io/created-by": "0" * 56,
            "team": "shop",
        },
        annotations={"force-sync": "1795471200"},
        ownerReferences=owned("ExternalSecret", "app", "external-secrets.io/v1"),
        finalizers=["example.test/keep"],
    )
    assert (view.managed, view.owner_uid, view.force_sync, view.finalizers) == (True, "uid-of-app", "1795471200", True)
    assert view.labels == Labels.of({"reconcile.external-secrets.io/managed": "true", "team": "shop"})
    assert decoded(ownerReferences=owned("ExternalSecret", "app", "example.test/v1")).owner_uid == ""


@pytest.mark.parametrize(("count", "kept"), [(64, True), (65, False)])
def test_large_sets_of_labels_are_not_kept_for_later_secrets(count: int, kept: bool) -> None:
    """Equal labels are one object for all Secrets that have them, unless there are more than 64."""
    labels = {f"label-{number}": "x" for number in range(count)}
    first, second = decoded(labels=labels), decoded(labels=labels)
    assert first.labels == second.labels == Labels.of(labels)
    assert (first.labels is second.labels) is kept


def test_the_last_touch_is_the_newest_time_of_all_writers() -> None:
    """The greatest managedFields time counts, whoever wrote and whatever; without one, creation."""
    entries = [
        {"manager": "a", "time": "2026-11-23T22:00:10Z", "fieldsV1": {"f:metadata": {}}},
        {"manager": "b", "time": "2026-11-23T22:00:05Z", "fieldsV1": {"f:data": {}}},
        {"manager": "c"},
    ]
    assert decoded(managedFields=entries).touched == CREATED_AT + 10
    assert decoded().touched == CREATED_AT


@pytest.mark.parametrize("step", MANAGEDFIELDS["steps"], ids=lambda step: step["about"])
def test_writers_of_data_are_those_that_the_api_server_recorded(step: dict[str, Any]) -> None:
    """Replayed from a real API server: who owns data, and when, is read from managedFields alone."""
    entries = [
        {**entry, "time": f"2026-11-23T22:{entry['time_of_step']:02d}:00Z"} for entry in step["managedFields"] or ()
    ]
    (view,) = decode_page("secrets", page({"metadata": meta("a", managedFields=entries)}), KEY).items
    assert isinstance(view, SecretView)
    owners = {entry["manager"]: entry["time_of_step"] for entry in entries if "f:data" in entry["fieldsV1"]}
    eso = {name: at for name, at in owners.items() if name.startswith("externalsecrets.external-secrets.io/")}
    foreign = {name: at for name, at in owners.items() if name not in eso}
    assert view.foreign_writers == tuple(sorted(foreign))
    assert view.foreign_wrote == (CREATED_AT + 60 * max(foreign.values()) if foreign else None)
    assert view.eso_wrote == (CREATED_AT + 60 * max(eso.values()) if eso else None)
