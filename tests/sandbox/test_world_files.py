"""World files: what they may say, and what becomes of it."""

from __future__ import annotations

from typing import Any

import pytest
from support.scenario import Scenario

from agent.sandbox import worldfile
from agent.sandbox.ages import resolved, seconds
from agent.sandbox.builders import BUILDERS
from agent.sandbox.clock import WorldClock
from agent.sandbox.worldfile import WorldFileError, parse

SHOP = """
vaults:
  prod-kv:
    plain: value-of-plain
    aged: {value: value-of-aged, created: -7d, expires: 30d, tags: {team: a}, contentType: text/plain}
    rolled: {versions: [{value: one, created: -30d}, {value: two, created: -7d, enabled: false}]}
build:
  - secretStore: {vault: prod-kv, namespace: shop}
  - externalSecret: {name: app, namespace: shop, data: {KEY: plain}}
  - deployment: {name: backend, namespace: shop, replicas: 1, env: {KEY: [app, KEY]}, app: {env: KEY, backend: db}}
backends:
  db: {only: [value-of-plain]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: notes, namespace: shop}
data: {at: "@-1h", kept: "2026-01-02T03:04:05Z"}
---
seed:
  - {apiVersion: v1, kind: Secret, metadata: {name: old, namespace: shop, creationTimestamp: "@-7d", uid: u-1}}
"""


def test_a_file_makes_a_whole_world() -> None:
    """Vaults with a past, built objects, plain ones, seeded ones and backends: all are there after one load."""
    with Scenario() as s:
        began = int(s.sandbox.clock.now())
        s.run(worldfile.load(s.sandbox, parse(SHOP)))
        s.ready("shop", "backend")
        vault = s.vault("prod-kv")
        ages = [began - each.created for each in vault.versions("rolled")]
        assert [round(age / 86400, 2) for age in ages] == [30, 7]
        assert [each.enabled for each in vault.versions("rolled")] == [True, False]
        aged = vault.get("aged")
        assert (aged.tags, aged.content_type) == ({"team": "a"}, "text/plain")
        assert aged.exp is not None
        assert aged.exp > began
        assert s.all_hold("shop", "backend", "app", "KEY", "value-of-plain")
        notes, old = s.get("ConfigMap", "shop", "notes"), s.get("Secret", "shop", "old")
        assert notes is not None
        assert old is not None
        assert notes["data"]["kept"] == "2026-01-02T03:04:05Z"
        assert notes["data"]["at"].endswith("Z")
        assert old["metadata"]["uid"] == "u-1"
        assert old["metadata"]["creationTimestamp"] <= s.sandbox.clock.rfc3339(began - 7 * 86400 + 60)


def test_a_file_tells_what_it_holds() -> None:
    """The summary counts secrets and objects."""
    assert parse(SHOP).summary == "3 secrets in 1 vault, 5 objects"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("vaults: [a]", "document 1: vaults: expected a mapping"),
        ("valts: {}", "unknown section valts; known are vaults, build, objects, seed, backends"),
        ("- a", "expected a Kubernetes object or some of"),
        ("a: b: c", "line 1: not valid YAML"),
        ("objects: [{kind: Pod}]", "objects\\[0\\]: expected a Kubernetes object"),
        ("{kind: Gadget, apiVersion: v1, metadata: {name: x}}", "'v1' with kind 'Gadget' is not served here"),
        ("build: [{gadget: {}}]", "build\\[0\\]: expected one of namespace, secretStore"),
        ("build: [{deployment: {name: x}}]", "build\\[0\\].deployment: .*'namespace'"),
        ("---\n---\nseed: x", "document 2: seed: expected a list"),
    ],
)
def test_a_wrong_file_is_refused_with_place_and_expectation(text: str, says: str) -> None:
    """Mistakes of form are found before anything is loaded, and named with their place."""
    with pytest.raises(WorldFileError, match=says):
        parse(text)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("vaults: {prod-kv: {a: 5}}", "vaults.prod-kv.a: expected a value as text; quote numbers"),
        ("vaults: {prod-kv: {a: {value: secret-text, age: 1d}}}", "vaults.prod-kv.a: unknown field age"),
        ("vaults: {prod-kv: {a: {value: secret-text, created: soon}}}", "vaults.prod-kv.a: expected a span of time"),
        ("vaults: {prod-kv: {a_b: secret-text}}", "secret name 'a_b'"),
        ("vaults: {kv.example.org: {a: secret-text}}", "not a vault of a known cloud"),
        ("backends: {db: {onyl: [secret-text]}}", "backends.db: unknown field onyl"),
    ],
)
def test_what_cannot_be_loaded_is_named_without_its_value(text: str, says: str) -> None:
    """An impossible secret is named by its place; its value shows nowhere."""
    with Scenario() as s, pytest.raises(WorldFileError, match=says) as caught:
        s.run(worldfile.load(s.sandbox, parse(text)))
    assert "secret-text" not in str(caught.value)


@pytest.mark.parametrize(("text", "expected"), [("-7d", -604800), ("1h30m", 5400), ("+90s", 90), ("0", 0)])
def test_spans_are_written_with_units(text: str, expected: float) -> None:
    """Days, hours, minutes and seconds, with a sign for the past."""
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "7", "-d", "1w", "1h-30m"])
def test_a_span_without_a_unit_is_refused(text: str) -> None:
    """What could mean anything is refused."""
    with pytest.raises(ValueError, match="expected a span of time"):
        seconds(text)


def test_only_texts_that_are_ages_become_times() -> None:
    """An ``@`` before something else is left as it is."""
    clock = WorldClock()
    assert resolved({"a": ["@-1d", "@home", 5]}, clock)["a"][1:] == ["@home", 5]


@pytest.mark.parametrize("name", sorted(set(BUILDERS) - {"namespace", "clusterSecretStore", "secretStore"}))
def test_every_builder_makes_what_the_api_server_accepts(name: str) -> None:
    """A world file may call each builder with no more than names."""
    needed: dict[str, dict[str, Any]] = {"secret": {"values": {"a": "b"}}, "budget": {"minAvailable": 1}}
    with Scenario() as s:
        made = BUILDERS[name](name="thing", namespace="shop", **needed.get(name, {}))
        s.apply(made)
        assert s.get(made["kind"], "shop", "thing") is not None
