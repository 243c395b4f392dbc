"""The sources and keys that mapping names, against what the real ESO made of the same specs."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from decode_builders import external_secret, page

from agent.cluster.decode import decode_page
from agent.mapping import expected_keys, feeds, resolve
from agent.model import ExternalSecret, SecretStore, SourceKey, StoreKey

RECORDED = json.loads((Path(__file__).parents[1] / "vectors" / "mapping.json").read_text())
CASES: list[dict[str, Any]] = RECORDED["cases"]
STORES = {
    key: SecretStore(key=key, provider="azurekv", host=f"{store['vault']}.vault.azure.net")
    for name, store in RECORDED["stores"].items()
    for key in [StoreKey(store["kind"], "" if store["kind"] == "ClusterSecretStore" else "shop", name)]
}


def _family(case: dict[str, Any]) -> str:
    return str(case["id"].split("-")[0])


FAMILIES = {family: list(cases) for family, cases in groupby(sorted(CASES, key=_family), _family)}


def each_case(check: Callable[[dict[str, Any]], None]) -> Callable[[str], None]:
    """One test for each family of cases, not for each case: a thousand of them would cost more than what they try."""

    def over_family(family: str) -> None:
        for case in FAMILIES[family]:
            try:
                check(case)
            except BaseException as error:
                error.add_note(f"case {case['id']}")
                raise

    over_family.__doc__ = check.__doc__
    return pytest.mark.parametrize("family", FAMILIES)(over_family)


def chain(case: dict[str, Any]) -> ExternalSecret:
    item = external_secret(case["id"])
    item["spec"] = case["spec"]
    result = decode_page("externalsecrets", page(item))
    assert not result.malformed, result.malformed
    (found,) = result.items
    assert isinstance(found, ExternalSecret)
    return found


def named(case: dict[str, Any]) -> set[SourceKey]:
    """Every vault secret that the spec names outright, told apart by the text of the spec alone."""
    spec = case["spec"]
    found = set()
    for entry in [*spec.get("data", ()), *spec.get("dataFrom", ())]:
        ref = entry.get("remoteRef") or entry.get("extract")
        store = (entry.get("sourceRef") or {}).get("storeRef") or spec.get("secretStoreRef")
        parts = ref["key"].split("/") if ref else []
        if ref and store["name"] in RECORDED["stores"] and (len(parts) == 1 or parts[0] == "secret"):
            vault = RECORDED["stores"][store["name"]]["vault"]
            found.add(SourceKey(f"{vault}.vault.azure.net", parts[len(parts) > 1].lower()))
    return found


@each_case
def test_every_source_that_the_spec_names_is_named(case: dict[str, Any]) -> None:
    """All of data, dataFrom and sourceRef: the sources found are exactly those that ESO would ask the vaults for."""
    es = chain(case)
    resolved = {resolve(use, STORES) for use in es.uses}
    assert {one for one in resolved if isinstance(one, SourceKey)} == named(case)
    searches = any("find" in entry for entry in case["spec"].get("dataFrom", ()))
    foreign = case["id"].startswith(("key-cert", "key-extract-", "key-unknown", "key-plural", "key-url", "key-key"))
    assert bool(es.unsupported) == searches or foreign


@each_case
def test_expected_keys_are_there_after_every_good_sync(case: dict[str, Any]) -> None:
    """Where ESO was ready and there is a Secret, it has every key that must be there."""
    expected = expected_keys(chain(case))
    if case["result"]["ready"] and case["result"]["data"] is not None:
        assert (expected or frozenset()) <= case["result"]["data"].keys()


@each_case
def test_every_key_that_eso_wrote_is_fed_by_a_source(case: dict[str, Any]) -> None:
    """Where all sources can be named, each key of the Secret that is not foreign has at least one that can bring it."""
    es = chain(case)
    if case["result"]["ready"] and not es.unsupported and es.uses and not case.get("cluster"):
        for key in case["result"]["data"] or ():
            assert feeds(es, key), key


@each_case
def test_no_recorded_spec_is_excluded(case: dict[str, Any]) -> None:
    """None of the recorded specs uses a generator or another kind of target, so none is left alone."""
    assert chain(case).excluded == ""
