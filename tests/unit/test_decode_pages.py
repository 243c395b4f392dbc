"""Lists, watches and single objects: what is malformed costs only itself."""

from __future__ import annotations

import copy
import json
from itertools import product
from typing import Any

import pytest
from decode_builders import KEY, Object, body, external_secret, key_env, meta, owned, page, pod, secret
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.cluster.decode import RESOURCES, BadAnswer, Malformed, decode_event, decode_object, decode_page
from agent.cluster.decode.shallow import DEEPEST, shallow
from agent.model import ObjectKey, Pod, SecretView

WORKLOAD: Object = {
    "metadata": meta("backend", generation=3),
    "spec": {
        "replicas": 3,
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "app"}]}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": "25%"}},
    },
    "status": {"observedGeneration": 3, "updatedReplicas": 3, "readyReplicas": 3},
}
STORE: Object = {
    "metadata": meta("prod"),
    "spec": {"provider": {"azurekv": {"vaultUrl": "https://prod-kv.vault.azure.net"}}},
}
RICH_POD = pod(
    ownerReferences=owned("ReplicaSet", "backend-abc", "apps/v1"),
    labels={"app": "backend"},
    spec={
        "containers": [
            {"name": "app", "env": [key_env("A", "app", "k")], "envFrom": [{"secretRef": {"name": "app"}}]},
        ],
        "volumes": [{"name": "v", "secret": {"secretName": "app", "items": [{"key": "k", "path": "p"}]}}],
    },
    status={
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-23T22:00:20Z"}],
        "containerStatuses": [{"name": "app", "state": {"running": {"startedAt": "2026-11-23T22:00:10Z"}}}],
    },
)
MANAGED = [{"manager": "m", "time": "2026-11-23T22:00:10Z", "fieldsV1": {"f:data": {}, "f:spec": {}}}]
SAMPLES: dict[str, Object] = {
    "externalsecrets": external_secret(
        spec={
            "refreshInterval": "1h0m0s",
            "target": {"template": {"data": {"a": "b"}}},
            "dataFrom": [{"extract": {"key": "x"}, "sourceRef": {"storeRef": {"name": "s"}}}, {"find": {"path": "x"}}],
            "syncWindows": {"kind": "deny", "windows": [{"schedule": "0 1 * * *", "duration": "2h"}]},
        },
        status={"refreshTime": "2026-11-23T22:00:10Z", "conditions": [{"type": "Ready", "status": "True"}]},
        managedFields=MANAGED,
    ),
    "secretstores": STORE,
    "clustersecretstores": STORE,
    "secrets": secret(data={"k": b"v"}, managedFields=MANAGED),
    "pods": RICH_POD,
    "deployments": WORKLOAD,
    "statefulsets": WORKLOAD,
    "daemonsets": WORKLOAD,
    "replicasets": {"metadata": meta("backend-abc")},
    "namespaces": {"metadata": meta("shop"), "status": {"phase": "Active"}},
    "nodes": {"metadata": meta("node-1"), "status": {"conditions": [{"type": "Ready", "status": "True"}]}},
    "poddisruptionbudgets": {
        "metadata": meta("backend"),
        "spec": {"selector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}},
        "status": {"disruptionsAllowed": 1},
    },
    "pushsecrets": {"metadata": meta("push"), "spec": {"selector": {"secret": {"name": "app"}}}},
}


@pytest.mark.parametrize("resource", sorted(RESOURCES))
def test_every_resource_decodes(resource: str) -> None:
    """A whole object of each resource decodes in a list, alone and in a watch, to the same."""
    sample = SAMPLES[resource]
    listed = decode_page(resource, page(sample), KEY)
    assert not listed.malformed
    alone = decode_object(resource, body(sample), KEY)
    watched = decode_event(resource, json.dumps({"type": "ADDED", "object": sample}).encode(), KEY)
    assert listed.items == [alone] == [watched.object]
    assert (watched.type, watched.resource_version) == ("ADDED", "7")


@pytest.mark.parametrize("resource", sorted(RESOURCES))
def test_beside_a_malformed_object_the_others_are_what_they_are_without_it(resource: str) -> None:
    """A page that has to be cut into its objects gives the same of the good ones as one that is decoded in one go."""
    sample = SAMPLES[resource]
    clean, marred = (
        decode_page(resource, page(sample, sample), KEY),
        decode_page(resource, page(sample, 7, sample), KEY),
    )
    assert marred.items == clean.items
    assert len(clean.items) == 2
    assert (marred.resource_version, len(marred.malformed)) == (clean.resource_version, 1)


def test_a_page_tells_how_to_go_on() -> None:
    """resourceVersion, continue token and the number of what remains come with the page."""
    found = decode_page("pods", page(pod(), **{"continue": "token", "remainingItemCount": 12}))
    assert (found.resource_version, found.continue_token, found.remaining) == ("9", "token", 12)
    assert decode_page("pods", page()).continue_token == ""
    assert decode_page("pods", b'{"items": null, "metadata": {"resourceVersion": "3"}}').items == []


@pytest.mark.parametrize("answer", [b"", b"null", b"[]", b"{}", b'{"items": {}}', b"<html>", b'{"items": [{}', b"\xff"])
def test_what_is_no_list_is_a_bad_answer(answer: bytes) -> None:
    """A page of something else raises BadAnswer, whose text repeats none of it."""
    with pytest.raises(BadAnswer) as told:
        decode_page("pods", answer)
    assert "html" not in str(told.value)


def test_a_malformed_object_costs_only_itself() -> None:
    """Between two malformed pods the good one is kept, and each malformed one is named with its field."""
    broken = pod("broken")
    broken["spec"]["containers"] = "none"
    result = decode_page("pods", page({"metadata": meta("half", uid=None)}, pod("good"), broken, 7))
    assert [one.key.name for one in result.items if isinstance(one, Pod)] == ["good"]
    assert [str(one) for one in result.malformed] == [
        "pods shop/half: metadata.uid: expected `str`, got `null`",
        "pods shop/broken: spec.containers: expected `array | null`, got `str`",
        "pods an object without a name: expected `object`, got `int`",
    ]


_IDENTITY = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
_IDENTIFIED = ("pods", "secrets", "externalsecrets", "deployments", "replicasets")
_ASKED_FOR = [one for one in product(_IDENTIFIED, _IDENTITY) if one != ("pods", "resourceVersion")]


@pytest.mark.parametrize(("resource", "field"), _ASKED_FOR)
def test_missing_metadata_is_named(resource: str, field: str) -> None:
    """An object without one of the fields that identify it is malformed by that field."""
    item = copy.deepcopy(SAMPLES[resource])
    del item["metadata"][field]
    (found,) = decode_page(resource, page(item), KEY).malformed
    assert (found.field, found.message) == (f"metadata.{field}", "is missing")
    assert (found.key is None) == (field == "name")


def test_text_that_is_no_unicode_costs_only_its_object() -> None:
    """Invalid UTF-8 or half a surrogate pair in one object leaves the others as they are."""
    answer = page(pod("one"), pod("two", labels={"app": "MARK"}), pod("three"))
    for bad in (b"\xff\xfe", b"\\ud800"):
        result = decode_page("pods", answer.replace(b"MARK", bad))
        names = [one.key.name for one in result.items if isinstance(one, Pod)]
        assert {"one", "three"} <= set(names)
        assert len(names) + len(result.malformed) == 3


DEEP = '{"a":[' * 1_500 + '"]}\\\\\\"{["' + "]}" * 1_500


def _deepened(text: bytes) -> bytes:
    return text.replace(b'"MARK"', DEEP.encode())


@pytest.mark.parametrize("resource", ["pods", "secrets", "pushsecrets"])
def test_an_object_of_three_thousand_levels_costs_neither_the_others_nor_itself(resource: str) -> None:
    """Where a free-form field is nested deeper than can be skipped, every object of the list is as it is without it."""
    good = SAMPLES[resource]
    deep = {**copy.deepcopy(good), "extra": ["MARK", {"b": "MARK"}, "}]", 1]}
    clean, found = decode_page(resource, page(good, good, good), KEY), _deepened(page(good, deep, good))
    assert decode_page(resource, found, KEY) == clean
    assert decode_object(resource, _deepened(body(deep)), KEY) == clean.items[1]
    line = _deepened(json.dumps({"type": "ADDED", "object": deep}).encode())
    assert decode_event(resource, line, KEY).object == clean.items[1]
    half = found.replace(b'"}]"', b'"\\ud800"')
    assert decode_page(resource, half, KEY) == clean


@pytest.mark.parametrize("left", ["", "[", "{", '"', '"\\', '"\\"', "}" * 1_600, "]}" * 1_502])
def test_a_depth_that_does_not_end_as_it_should_is_a_bad_answer(left: str) -> None:
    """A list or a line that is cut off within three thousand levels, or closed too often, is refused."""
    for start in ('{"items": [', '{"type": "ADDED", "object": '):
        cut = (start + '{"a":[' * 1_500 + left).encode()
        for call in (decode_page, decode_event):
            with pytest.raises(BadAnswer):
                call("pods", cut)


def test_only_what_the_api_server_can_have_written_is_made_shallow() -> None:
    """Ten thousand levels, as many as an API server takes, are read; an answer of many more is none of its."""
    for levels, taken in ((10_000, True), (10_500, False)):
        extra = b'{"items": [], "extra": ' + b"[" * levels + b"]" * levels + b"}"
        if taken:
            assert decode_page("pods", extra).items == []
        else:
            with pytest.raises(BadAnswer):
                decode_page("pods", extra)


NAMES = st.text('"\\{}[]a', max_size=6)
NESTED = st.recursive(NAMES, lambda inner: st.lists(inner) | st.dictionaries(NAMES, inner))


@given(NESTED)
def test_what_is_not_deep_stays_and_what_is_deep_is_null(value: Any) -> None:
    """Whatever brackets and quotes stand in its strings, a shallow text is kept, and below the limit all is null."""
    text = json.dumps(value).encode()
    assert shallow(text) == text
    inner = json.dumps(value if isinstance(value, str) else None).encode()
    ends = b"[" * DEEPEST, b"]" * DEEPEST
    assert shallow(text.join(ends)) == inner.join(ends)


def test_binary_and_odd_keys_and_a_megabyte_are_ordinary() -> None:
    """A Secret of 1 MiB with binary values and odd key names is fingerprinted like any other."""
    data = {"..data": b"\x00\xff", "schlüssel 🔑": b"", "big": b"\x00" * 2**20}
    (found,) = decode_page("secrets", page(secret(data=data)), KEY).items
    assert isinstance(found, SecretView)
    assert found.prints.keys() == data.keys()


def test_unknown_words_are_kept_and_unknown_fields_ignored() -> None:
    """Phases, policies and kinds of a newer API are no reason to refuse an object."""
    strange = pod(status={"phase": "Paused", "somethingNew": [1]})
    strange["status"]["conditions"] = [{"type": "Odd", "status": "Perhaps"}]
    es = external_secret(spec={"refreshPolicy": "Sometimes", "target": {"creationPolicy": "Adopt"}})
    assert not decode_page("pods", page(strange)).malformed
    assert not decode_page("externalsecrets", page(es)).malformed


def test_bookmarks_errors_and_deletions_of_a_watch() -> None:
    """A bookmark carries a version, an error its code, a deletion of a malformed object its name."""
    ends = {"metadata": {"resourceVersion": "12", "annotations": {"k8s.io/initial-events-end": "true"}}}
    bookmark = decode_event("pods", json.dumps({"type": "BOOKMARK", "object": ends}).encode())
    assert (bookmark.resource_version, bookmark.initial_end) == ("12", True)
    status = {"kind": "Status", "metadata": {}, "code": 410, "reason": "Expired"}
    error = decode_event("pods", json.dumps({"type": "ERROR", "object": status}).encode())
    assert (error.code, error.reason) == (410, "Expired")
    gone = decode_event("pods", json.dumps({"type": "DELETED", "object": {"metadata": meta("x", uid=1)}}).encode())
    assert gone.object is None
    assert gone.resource_version == "7"
    assert gone.malformed is not None
    assert gone.malformed.key == ObjectKey("shop", "x")
    for line in (b"", b"{}", b"[]", b'{"type": 1}', b"cut o"):
        with pytest.raises(BadAnswer):
            decode_event("pods", line)


MARK = "hunter2-SECRET-MARK"
ODD = st.sampled_from(
    [None, True, -1, 1.5, 10**30, "", MARK, "\u0000", "\ud800", "9999-99-99T99:99:99Z", [], {}, [MARK], {MARK: MARK}]
) | st.sampled_from(["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-11-23T22:00:00", "1h", "-1s"])


def places(item: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every place in an object."""
    inner = item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ()
    return [*([at] if at else []), *(place for name, value in inner for place in places(value, (*at, name)))]


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_no_mutated_object_is_ever_an_exception_or_told_by_value(data: st.DataObject) -> None:
    """Whatever stands in whatever field: the good neighbour is kept, and no text that is told holds a value."""
    resource = data.draw(st.sampled_from(sorted(SAMPLES)))
    item = copy.deepcopy(SAMPLES[resource])
    for _ in range(data.draw(st.integers(1, 3))):
        *path, last = data.draw(st.sampled_from(places(item)))
        holder: Any = item
        for step in path:
            holder = holder[step]
        if data.draw(st.booleans()) and isinstance(holder, dict):
            del holder[last]
        else:
            holder[last] = copy.deepcopy(data.draw(ODD))
        if not item:
            break
    answer = page(SAMPLES[resource], item)
    result = decode_page(resource, answer, KEY)
    assert len(result.items) + len(result.malformed) == 2
    assert result.items[0] == decode_page(resource, page(SAMPLES[resource]), KEY).items[0]
    for one in result.malformed:
        assert one.resource == resource
        assert MARK not in one.message
        assert MARK not in one.field
    alone = decode_object(resource, body(item), KEY)
    assert isinstance(alone, Malformed) == bool(result.malformed)
    decode_event(resource, json.dumps({"type": "MODIFIED", "object": item}).encode(), KEY)


@given(st.binary(max_size=200))
def test_no_bytes_are_anything_but_a_page_or_a_bad_answer(answer: bytes) -> None:
    """Any bytes at all are a page or a BadAnswer, never another exception."""
    for call in (decode_page, decode_event):
        try:
            call("pods", answer)
        except BadAnswer:
            continue
    assert isinstance(decode_object("pods", answer), Malformed)
