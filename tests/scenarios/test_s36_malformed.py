"""S36: malformed objects, answers and policies: never a crash; each named once, clearly; the rest goes on."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from support.processes import AgentProcess
from support.scenario import Scenario
from support.told import healed, refusals, sample, stages
from support.worlds import WEEK, at_rest, watching

from agent.esohash import data_hash, synced_resource_version
from agent.sandbox import builders as b
from agent.sandbox.client import PUSH_SECRETS, Object

NS, ODD = "shop", "odd"
ESO = "external-secrets.io/v1"
FORCE_SYNC = ("patch", "externalsecrets", "", f"{NS}/app-secrets")
STRANGE = "пароль\u202e 🔑 \x1b[31m"
"""Letters of another alphabet, a bidirectional override, an emoji and a terminal's escape sequence."""


def _with(obj: Object, path: str, value: Any) -> Object:
    """The object with one field (``spec.target.creationPolicy``) set to something."""
    *above, last = path.split(".")
    place = obj
    for name in above:
        place = place.setdefault(name, {})
    place[last] = value
    return obj


def _chain(name: str, path: str = "metadata.name", value: Any = None, *, namespace: str = ODD) -> Object:
    """An ExternalSecret that is fine but for one field."""
    made = b.external_secret(name, namespace, {"KEY": "api-key"})
    return _with(made, path, value if path != "metadata.name" else name)


def _pod(name: str, path: str, value: Any) -> Object:
    return _with(b.pod(name, ODD, env={"KEY": ("any", "KEY")}), path, value)


def _store(name: str, provider: Any) -> Object:
    spec = {"spec": {"provider": provider}} if provider is not None else {}
    return {"apiVersion": ESO, "kind": "SecretStore", "metadata": {"name": name, "namespace": ODD}, **spec}


def _plain(api: str, kind: str, name: str, namespace: str | None = ODD, **body: Any) -> Object:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **body.pop("metadata", {})}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **body}


def _status(**container: Any) -> Object:
    return {"phase": "Running", "containerStatuses": [{"name": "app", "ready": True, **container}]}


def _synced_through(store: str) -> list[Object]:
    """An ExternalSecret that ESO synced before its store was spoiled, and its Secret."""
    created, moment = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"
    ready = {"type": "Ready", "status": "True", "reason": "SecretSynced", "lastTransitionTime": moment}
    chain = _chain("odd-store", "spec.secretStoreRef", {"name": store})
    synced = synced_resource_version(1, {}, {})
    chain["status"] = {"refreshTime": moment, "syncedResourceVersion": synced, "conditions": [ready]}
    chain["spec"]["refreshInterval"] = "999999h"
    marks = {"reconcile.external-secrets.io/data-hash": data_hash({"KEY": b"a"})}
    metadata = {**MANAGED, "annotations": marks, "creationTimestamp": created}
    return [_plain("v1", "Secret", "odd-store", metadata=metadata, data={"KEY": "YQ=="}), chain]


MANAGED = {"labels": {"reconcile.external-secrets.io/managed": "true"}}
UNUSABLE: list[tuple[Object, str, str]] = [
    (_chain("interval", "spec.refreshInterval", "soon"), "spec.refreshInterval", "is no duration such as 1h30m0s"),
    (_chain("data", "spec.data", "KEY"), "spec.data", "expected `array | null`, got `str`"),
    (_chain("time", "status", {"refreshTime": "noon"}), "status.refreshTime", "invalid RFC3339 encoded datetime"),
    (_chain("null", "status", {"conditions": [None]}), "status.conditions[0]", "expected `object`, got `null`"),
    (_chain("note", "metadata.annotations", {"a": 7}), "metadata.annotations", "expected `str`, got `int`"),
    (_store("no-spec", None), "spec", "is missing"),
    (_store("url", {"azurekv": {"vaultUrl": 7}}), "spec.provider.azurekv.vaultUrl", "is no text"),
    (_plain("v1", "Secret", "typed", metadata=MANAGED, type=7), "type", "expected `str | null`, got `int`"),
    (_pod("env", "spec.containers", [{"name": "app", "env": "KEY=1"}]), "spec.containers[0].env",
     "expected `array | null`, got `str`"),
    (_pod("nameless", "spec.initContainers", [{"image": "x"}]), "spec.initContainers[0].name", "is missing"),
    (_pod("restarts", "status", _status(restartCount=1e30)), "status.containerStatuses[0].restartCount",
     "expected `int`, got `float`"),
    (_with(b.deployment("replicas", ODD), "spec.replicas", "three"), "spec.replicas",
     "expected `int | null`, got `str`"),
    (_with(b.deployment("template", ODD), "spec.template", None), "spec.template", "expected `object`, got `null`"),
    (_plain("v1", "Node", "a-node", None, status={"conditions": "none"}), "status.conditions",
     "expected `array | null`, got `str`"),
    (_plain("external-secrets.io/v1alpha1", "PushSecret", "push", "odd-push", spec={"selector": "app"}),
     "spec.selector", "expected `object | null`, got `str`"),
]  # fmt: skip
"""Objects that cannot be used, each with its field and what is wrong with it."""

ODD_NAMESPACE = _plain("v1", "Namespace", "odd-mode", None, metadata={"annotations": {"secret-drift-agent/mode": 7}})

ODD_BUT_READ: list[Object] = [
    _chain("policy", "spec.refreshPolicy", "Sometimes"),
    _chain("creation", "spec.target.creationPolicy", "Borrow"),
    _chain("deletion", "spec.target.deletionPolicy", "Burn"),
    _chain("empty", "spec.data", []),
    _chain("no-store", "spec.secretStoreRef", {"name": "nowhere"}),
    *_synced_through("url"),
    _chain("odd-kind", "spec.secretStoreRef", {"name": "vault", "kind": "SecretShop"}),
    _chain("odd-key", "spec.data", [{"secretKey": "KEY", "remoteRef": {"key": f"{STRANGE}/api-key"}}]),
    _plain("v1", "Secret", "keys", metadata=MANAGED, data={STRANGE: "YQ==", "": "YQ==", "K" * 4000: "YQ=="}),
    _pod("phase", "status", {**_status(state={"hibernating": {}}), "phase": "Dreaming"}),
    _pod("stranger", "status", {"phase": "Running", "containerStatuses": [{"name": "other", "restartCount": -1}]}),
]
"""Objects with values that nobody expects, and that can be read all the same."""

FOUND = {
    ("odd/policy", "vault", "excluded"), ("odd/creation", "vault", "excluded"), ("odd/deletion", "vault", "excluded"),
    ("odd/empty", "vault", "excluded"),
    ("odd/no-store", "vault", "sync-failed"), ("odd/no-store", "secret", "missing-secret"),
    ("odd/odd-store", "vault", "unknown"),
    ("odd/odd-kind", "vault", "unknown"),
    ("odd/odd-key", "vault", "sync-failed"), ("odd/odd-key", "secret", "missing-secret"),
    ("odd-push/app-secrets", "vault", "unknown"),
    ("odd-vault/app-secrets", "vault", "unknown"),
}  # fmt: skip
"""(chain, link, kind) of all that is found but for the rotation; ESO's first try may be told of before its end."""
PATIENT = {"missingPersistence": "60s"}
"""However slow the machine is, ESO fails by itself before it is asked to sync."""


def _healthy(s: Scenario) -> None:
    """A chain whose Secret holds a MiB of binary data beside the vault's key, and whose note is strange.

    One workload of it uses the key, another only what is not there and is called optional.
    """
    everything = base64.b64encode(bytes(range(256)) * 4000).decode()
    long_ago = {"creationTimestamp": s.sandbox.clock.rfc3339(s.sandbox.clock.now() - WEEK)}
    s.seed(_plain("v1", "Secret", "app-secrets", NS, metadata=long_ago, data={"blob": everything}))
    chain = b.external_secret(
        "app-secrets", NS, {"API_KEY": "api-key"}, annotations={"note": STRANGE},
        target={"creationPolicy": "Merge"},
    )  # fmt: skip
    absent = {"name": "ABSENT", "valueFrom": {"secretKeyRef": {"name": "app-secrets", "key": "no", "optional": True}}}
    optional = b.container(mounts={"/files": "v"}) | {
        "env": [absent],
        "envFrom": [{"secretRef": {"name": "no-such-secret", "optional": True}}],
    }
    item = {"secretName": "app-secrets", "optional": True, "items": [{"key": "no", "path": "no"}]}
    at_rest(
        s,
        {"prod-kv/api-key": "value-one", "odd-kv/api-key": "value-one"},
        [b.secret_store("prod-kv", NS), chain],
        [
            b.deployment("backend", NS, 2, env={"API_KEY": ("app-secrets", "API_KEY")}),
            b.deployment("optional", NS, 1, containers=[optional], volumes={"v": {"secret": item}}),
        ],
        NS,
    )
    s.seed(ODD_NAMESPACE)
    for namespace, vault in (("odd-mode", "prod-kv"), ("odd-push", "prod-kv"), ("odd-vault", "odd-kv")):
        s.apply(b.secret_store(vault, namespace), b.external_secret("app-secrets", namespace, {"KEY": "api-key"}))
        s.external_secret_ready(namespace, "app-secrets")
    s.apply(b.secret_store("prod-kv", ODD))
    s.call(s.sandbox.vaults.fault, "garbage", vault="odd-kv", identity="agent")


def _found(agent: AgentProcess) -> list[tuple[str, str, str]]:
    lines = [line for line in agent.lines() if "kind" in line and "lasted" not in line]
    return [(line["chain"], line["link"], line["kind"]) for line in lines]


def _standing(agent: AgentProcess) -> set[tuple[str, str, str]]:
    """The same of what has been found and is not over."""
    found: set[tuple[str, str, str]] = set()
    for line in agent.lines():
        if "kind" in line:
            what = (line["chain"], line["link"], line["kind"])
            (found.discard if "lasted" in line else found.add)(what)
    return found


def _named(agent: AgentProcess) -> list[tuple[str, str]]:
    """(resource and name, what is said of it) of every object that cannot be used."""
    said = [line["event"].partition(": this object of ") for line in agent.lines() if "this object of" in line["event"]]
    return [(f"{words.partition(' ')[0]} {name}", words.partition(" cannot be used: ")[2]) for name, _, words in said]


PLURAL = {"SecretStore": "secretstores", "ExternalSecret": "externalsecrets", "PushSecret": "pushsecrets"}


def _expected() -> list[tuple[str, str]]:
    told = [("namespaces odd-mode", "metadata.annotations: expected `str`, got `int`")]
    for obj, field, message in UNUSABLE:
        namespace, name = obj["metadata"].get("namespace"), obj["metadata"]["name"]
        plural = PLURAL.get(obj["kind"], f"{obj['kind'].lower()}s")
        told.append((f"{plural} {namespace}/{name}" if namespace else f"{plural} {name}", f"{field}: {message}"))
    return told


@pytest.mark.parametrize("when", ["before", "while"])
def test_s36_each_malformed_object_is_named_once_and_the_rest_goes_on(when: str) -> None:
    """They are there when it starts, or come while it watches: each told once by object and field, the rest is healed.

    Nothing is written to any of them, and what depends on one that cannot be used is unknown, not missing.
    """
    with Scenario() as s:
        _healthy(s)
        s.policy(vaults=["prod-kv", "odd-kv"], timing=PATIENT)
        unusable = [obj for obj, _, _ in UNUSABLE]
        if when == "before":
            s.seed(*unusable, *ODD_BUT_READ)
        agent = watching(s)
        if when == "while":
            s.seed(*unusable)
            s.wait(lambda: len(_named(agent)) == len(_expected()), why="all are named")
            s.seed(*ODD_BUT_READ)
        s.wait(lambda: _standing(agent) == FOUND, why="all is found")
        old = {pod["metadata"]["name"] for pod in s.pods(NS, "backend")}
        others = {pod["metadata"]["uid"] for pod in s.pods(NS, "optional")}
        assert s.writes() == []

        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        s.cycles(agent)

        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two")
        assert s.writes() == [FORCE_SYNC, *(("create", "pods", "eviction", f"{NS}/{pod}") for pod in s.evicted(NS))]
        assert set(s.evicted(NS)) == old
        assert s.writes(refused=True) == []
        assert {pod["metadata"]["uid"] for pod in s.pods(NS, "optional")} == others
        assert stages(agent, "backend") == [("canary", 1), ("batch", 1)]
        assert sorted(_named(agent)) == sorted(_expected())
        assert [found for found in _found(agent) if found[0] == "shop/app-secrets"] == [
            ("shop/app-secrets", "vault", "stale"), ("shop/app-secrets", "container", "stale-pod"),
        ]  # fmt: skip
        assert _standing(agent) == {*FOUND, ("odd-mode/app-secrets", "vault", "stale")}
        assert len(_found(agent)) == len(set(_found(agent))), "said once"
        assert refusals(agent) == [("force-sync", "opted-out")]
        assert [line["cause"] for line in agent.lines(chain="odd/odd-key", kind="sync-failed")] == ["key"]
        (unknown,) = agent.lines(chain="odd/odd-store", kind="unknown")
        assert "SecretStore odd/url cannot be used: spec.provider.azurekv.vaultUrl: is no text" in unknown["event"]
        (refused,) = agent.lines(chain="odd-mode/app-secrets", reason="opted-out")
        assert "namespace odd-mode could not be read" in refused["event"]
        assert [line["event"] for line in agent.lines(subject="vault odd-kv")] == [
            "vault odd-kv: bad-answer: odd-kv.vault.azure.net sends a list that is no JSON"
        ]
        scanned, explained = s.scan(), s.explain("odd/interval")
        for name, words in _expected():
            assert scanned.err.count(f"secret-drift-agent: cannot be used: {name}: {words}.\n") == 1
        assert explained.code == 1
        assert "ExternalSecret odd/interval cannot be used: spec.refreshInterval: is no duration" in explained.err
        assert "no such object" not in explained.err
        said = agent.err + scanned.err + scanned.out + explained.err
        assert "Traceback" not in said
        assert not any(word in said for word in ("пароль", "🔑", "\\u001b", "Sometimes", "Borrow", "Burn"))
        assert agent.stop().code == 0


def test_s36_what_cannot_be_used_for_a_while_is_unknown_as_long() -> None:
    """A Secret that is spoiled is not missing, and a PushSecret that is may push it: unknown until mended or gone."""
    chain = f"{NS}/app-secrets"
    with Scenario() as s:
        at_rest(
            s,
            {"prod-kv/api-key": "value-one"},
            [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
            [b.deployment("backend", NS, 2, env={"API_KEY": ("app-secrets", "API_KEY")})],
            NS,
        )
        s.policy()
        agent = watching(s)
        secret = {"apiVersion": "v1", "kind": "Secret", **(s.get("Secret", NS, "app-secrets") or {})}

        s.seed({**secret, "type": 7})
        s.wait(lambda: _standing(agent) == {(chain, "secret", "unknown")}, why="the Secret is unknown")
        s.cycles(agent, 5)  # longer than what is missing is left to ESO
        s.seed(secret)
        s.wait(lambda: not _standing(agent), why="the Secret is known again")
        s.seed({**secret, "type": 7})
        s.wait(lambda: _standing(agent) == {(chain, "secret", "unknown")}, why="unknown again")
        s.seed(secret)
        s.wait(lambda: not _standing(agent), why="known again")

        s.seed(_plain("external-secrets.io/v1alpha1", "PushSecret", "push", NS, spec={"selector": "app"}))
        s.wait(lambda: _standing(agent) == {(chain, "vault", "unknown")}, why="whether it is pushed is unknown")
        s.cycles(agent, 2)
        s.run(s.sandbox.admin.delete(PUSH_SECRETS, NS, "push"))
        s.wait(lambda: not _standing(agent), why="nothing pushes it")
        s.cycles(agent, 2)

        typed = ("secrets shop/app-secrets", "type: expected `str | null`, got `int`")
        assert _named(agent) == [
            typed,
            typed,
            ("pushsecrets shop/push", "spec.selector: expected `object | null`, got `str`"),
        ]
        assert (s.writes(), refusals(agent)) == ([], [])

        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: healed(agent, "backend"), why="backend healed")
        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two")
        assert len(s.writes()) == 3
        assert refusals(agent) == []
        assert "Traceback" not in agent.err


TEN_MISTAKES = """\
apiVersion: secret-drift-agent/v1
kind: HealPolice
mode: heel
interval: 60
vaults:
  - {name: prod-kv, namespaces: shop}
sync:
  - {namespaces: ["*"], steps: [restart]}
recycle:
  - namespaces: ["a[b]"]
    settel: 15s
    windows: [{from: "22:00", to: "4:00", timeZone: Europe/Brlin}]
limits: {attempts: 3, attempts: 4}
"""
PLACES = (
    "2:7: kind: expected HealPolicy", "3:7: mode: expected one of observe, heal",
    "4:11: interval: expected a duration", "6:33: vaults[0].namespaces: expected a list",
    "8:33: sync[0].steps[0]: expected one of", "10:18: recycle[0].namespaces[0]: only * and ?",
    "11:5: recycle[0].settel: unknown key", "12:35: recycle[0].windows[0].to: expected a time of day",
    "12:53: recycle[0].windows[0].timeZone: expected the name of a time zone", "13:23: limits.attempts: given twice",
)  # fmt: skip


def test_s36_a_policy_with_ten_mistakes_is_told_whole_and_the_former_one_stays_in_force() -> None:
    """A running agent says all ten in one line, once, and heals as before; a new one does not start, and lists them."""
    with Scenario() as s:
        at_rest(
            s,
            {"prod-kv/api-key": "value-one"},
            [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
            [b.deployment("backend", NS, 2, env={"API_KEY": ("app-secrets", "API_KEY")})],
            NS,
        )
        s.policy()
        agent = watching(s)

        path = s.policy(TEN_MISTAKES)
        s.wait(lambda: agent.lines(valid=False), why="the policy is read")
        s.cycles(agent)
        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: healed(agent, "backend"), why="healed under the former policy")
        s.cycles(agent)

        (told,) = agent.lines(valid=False)
        assert told["event"].startswith("the policy file is not valid, the former policy stays in force: ")
        assert [told["event"].count(f"{path}:{place}") for place in PLACES] == [1] * len(PLACES)
        assert len(s.writes()) == 3
        assert refusals(agent) == []
        assert sample(s.metrics(agent), "secret_drift_policy_valid") == 0
        for command in (["once"], ["scan"], ["policy", "check", str(path)]):
            result = s.launch(*command).wait()
            assert (result.code, result.out) == (1, "")
            lines = result.err.splitlines()
            assert len(lines) == len(PLACES)
            assert all(line.startswith(f"{path}:{place}") for line, place in zip(lines, PLACES, strict=True))
        assert len(s.writes()) == 3
