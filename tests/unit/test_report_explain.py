"""One chain explained: the tree that a person reads, and the document that a program reads."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from report_events import BACKEND, CHAIN, HOSTILE, NOW, SOURCE, any_of, finding, refusal
from schema_check import violations

from agent.model import Kind, Link, State
from agent.report.branches import Branch, drawn
from agent.report.explain import as_json, tree
from agent.report.explain_json import json_schema
from agent.report.table import columns
from agent.report.told import (
    ContainerTold,
    EsTold,
    KeyTold,
    PodTold,
    RunsTold,
    SecretTold,
    SourceTold,
    StepTold,
    Told,
    VersionTold,
    WorkloadTold,
)

OLD, NEW = VersionTold(created=NOW - 7 * 86400, id="0ld"), VersionTold(created=NOW - 200, id="new")
NOTHING = StepTold(step="none", detail="nothing is due")
STALE_POD = finding(
    link=Link.CONTAINER, kind=Kind.STALE_POD, workload=BACKEND, evidence="backend-1 container app: holds an older one"
)


def container(**more: Any) -> ContainerTold:
    """A stale one."""
    usual: dict[str, Any] = {
        "name": "app", "kind": "container", "uses": ("MONGODB_URI by env",), "started": NOW - 3600, "restarts": 0,
        "state": "stale", "evidence": "holds an older MONGODB_URI", "runs": (RunsTold(source=SOURCE, versions=(OLD,)),),
    }  # fmt: skip
    return ContainerTold(**(usual | more))


def pod(name: str, *containers: ContainerTold, **more: Any) -> PodTold:
    """A ready one."""
    usual: dict[str, Any] = {"name": name, "node": "node-1", "created": NOW - 3600, "ready": True}
    return PodTold(**(usual | {"containers": containers} | more))


TOLD = Told(
    chain=CHAIN,
    at=NOW,
    mode="heal",
    links=((Link.VAULT, State.FRESH), (Link.SECRET, State.FRESH), (Link.CONTAINER, State.STALE)),
    sources=(
        SourceTold(
            name=SOURCE.name, vault=SOURCE.vault, store="SecretStore azure", keys=("MONGODB_URI",), known=True,
            present=True, newest=NEW, former=(OLD,), enabled=True, fetched=True, looked_at=NOW,
        ),
    ),
    es=EsTold(
        policy="Periodic", interval=3600, refreshed=NOW - 100, due=NOW + 3500, ready=True, ready_reason="SecretSynced",
        ready_since=NOW - 86400, spec_applied=True, generation=1,
    ),
    secret=SecretTold(
        name="app-secrets", present=True, created=NOW - 86400,
        keys=(
            KeyTold(
                name="MONGODB_URI", state="fresh", evidence="it holds the newest version", changed_from=NOW - 101,
                changed_to=NOW - 100, sources=(SOURCE,),
            ),
        ),
    ),
    workloads=(
        WorkloadTold(
            key=BACKEND, state="stale",
            pods=(
                pod("backend-1", container()),
                pod("backend-2", container(state="fresh", runs=(RunsTold(source=SOURCE, versions=(NEW,)),))),
            ),
            next=StepTold(step="recycle", detail="replace 1 stale pod", refusals=(refusal(),)),
        ),
    ),
    next=NOTHING,
    findings=(STALE_POD,),
)  # fmt: skip


def test_the_tree_reads_from_the_vault_to_each_container_and_ends_with_what_would_be_done() -> None:
    """The runbook's checklist: version, sync, key, start, version in use, next step, gate and its end."""
    assert tree(TOLD).splitlines() == [
        "ExternalSecret klinematrix-test/app-secrets",
        "   as of 2026-11-23T22:00:00Z (the API server's clock); policy mode: heal",
        "├─ Verdict",
        "│  ├─ vault -> externalsecret   fresh",
        "│  ├─ externalsecret -> secret  fresh",
        "│  └─ secret -> container       stale  containers run an old value; 1 container fresh, 1 container",
        "│     │                                stale",
        "│     └─ stale-pod of Deployment backend, since 2026-11-23T21:56:40Z (3 min 20 s ago)",
        "│           backend-1 container app: holds an older one",
        "├─ Vault secrets",
        "│  └─ klinematrix-test-kv/mongodb-connection-string-test  fetched by ESO",
        "│        newest version of 2026-11-23T21:56:40Z (3 min 20 s ago, id new); enabled, never expires",
        "│        before it: version of 2026-11-16T22:00:00Z (7 d ago, id 0ld)",
        "│        feeds MONGODB_URI",
        "├─ ExternalSecret app-secrets: Ready=True since 2026-11-22T22:00:00Z (1 d ago)",
        "│     refreshPolicy Periodic, every 1 h; creationPolicy Owner",
        "│     last good sync began 2026-11-23T21:58:20Z (1 min 40 s ago); ESO's own next one is due",
        "│       2026-11-23T22:58:20Z (in 58 min 20 s)",
        "├─ Secret app-secrets: created 2026-11-22T22:00:00Z (1 d ago)",
        "│  └─ MONGODB_URI  fresh  it holds the newest version",
        "│        changed 2026-11-23T21:58:20Z (1 min 40 s ago)",
        "│        from klinematrix-test-kv/mongodb-connection-string-test",
        "├─ Deployment backend: stale, 2 of 2 pods ready",
        "│  │  container app uses MONGODB_URI by env",
        "│  ├─ backend-1: ready, created 2026-11-23T21:00:00Z (1 h ago), on node-1",
        "│  │  └─ container app  stale  started 2026-11-23T21:00:00Z (1 h ago)",
        "│  │        runs klinematrix-test-kv/mongodb-connection-string-test: version of",
        "│  │          2026-11-16T22:00:00Z",
        "│  │        holds an older MONGODB_URI",
        "│  └─ backend-2: ready, created 2026-11-23T21:00:00Z (1 h ago), on node-1",
        "│     └─ container app  fresh  started 2026-11-23T21:00:00Z (1 h ago)",
        "│           runs klinematrix-test-kv/mongodb-connection-string-test: version of",
        "│             2026-11-23T21:56:40Z",
        "└─ What the agent would do now",
        "   ├─ vault to Secret     nothing is due",
        "   └─ Deployment backend  recycle: replace 1 stale pod; refused by 1 gate:",
        "      └─ recycle refused (outside-window): outside the policy's windows; until 2026-11-23T23:00:00Z",
    ]


def test_a_container_that_may_run_one_of_several_versions_says_so() -> None:
    """`v3`, or `v2 or v3`, or that it may be one older than all we know of."""

    def said(runs: RunsTold) -> str:
        one = WorkloadTold(key=BACKEND, state="suspect", pods=(pod("p", container(runs=(runs,))),), next=NOTHING)
        return " ".join(
            " ".join(line.strip(" │├└─") for line in tree(replace(TOLD, workloads=(one,))).splitlines()).split()
        )

    new, old = "version of 2026-11-23T21:56:40Z", "version of 2026-11-16T22:00:00Z"
    source = "runs klinematrix-test-kv/mongodb-connection-string-test:"
    assert f"{source} {new} or {old} holds" in said(RunsTold(source=SOURCE, versions=(NEW, OLD)))
    assert f"{source} {old} or an older one holds" in said(RunsTold(source=SOURCE, versions=(OLD,), older=True))
    assert f"{source} a version we do not know of holds" in said(RunsTold(source=SOURCE, older=True))


def test_a_failed_sync_names_its_cause_and_what_to_do() -> None:
    """The last error stands with the ExternalSecret, in the words of the finding."""
    failed = replace(
        TOLD.es, ready=False, ready_reason="SecretSyncedError", cause="access-denied",
        error="the vault denies ESO's identity", remedy="grant Key Vault Secrets User",
    )  # fmt: skip
    text = tree(replace(TOLD, es=failed))
    assert "ExternalSecret app-secrets: Ready=False (SecretSyncedError) since" in text
    assert "│     last error (access-denied): the vault denies ESO's identity\n" in text
    assert "│     what to do: grant Key Vault Secrets User\n" in text


def test_of_many_pods_the_worst_come_first_and_the_rest_is_counted() -> None:
    """A workload of fifty pods takes no fifty branches."""
    pods = [pod(f"good-{n:02}", container(state="fresh", evidence="")) for n in range(50)] + [pod("bad", container())]
    lines = tree(replace(TOLD, workloads=(replace(TOLD.workloads[0], pods=tuple(pods)),))).splitlines()
    named = [line for line in lines if " on node-1" in line]
    assert len(named) == 20
    assert "bad: ready" in named[0]
    assert any("and 31 pods more (fresh); -o json names them all" in line for line in lines)


def test_nothing_that_consumes_the_secret_is_said_too() -> None:
    """So that an empty branch is not taken for an error."""
    assert "├─ Pods: none consumes this Secret" in tree(replace(TOLD, workloads=()))
    blind = tuple((link, State.UNKNOWN if link is Link.CONTAINER else state) for link, state in TOLD.links)
    unread = tree(replace(TOLD, workloads=(), links=blind))
    assert "├─ Pods: it is not known which of them consume this Secret" in unread
    assert "none consumes" not in unread


@pytest.mark.parametrize(
    ("cause", "said"),
    [("access-denied", "ESO tries again by itself, within 7 min"), ("not-owned", "does not try again")],
)
def test_after_a_failure_no_interval_is_promised(cause: str, said: str) -> None:
    """ESO comes back by its backoff, or, where the target is at fault, not at all."""
    failed = replace(TOLD.es, ready=False, cause=cause, due=None)
    told = tree(replace(TOLD, es=failed))
    assert said in told
    assert "next one is due" not in told


def test_notes_stand_at_the_top() -> None:
    """What the answers do not rest on comes before the answers."""
    assert tree(replace(TOLD, notes=("this is a first look",))).splitlines()[2] == "   note: this is a first look"


def test_a_tree_keeps_within_its_width() -> None:
    """No line is wider than asked for, as far as single words allow."""
    for width in (80, 100, 140):
        assert max(columns(line) for line in tree(TOLD, width).splitlines()) <= width


def test_branches_are_drawn_down_to_the_last_child() -> None:
    """Lines of prose do not break the line that leads to the children."""
    root = Branch(
        ("root",), (), (Branch(("a",), ("prose",), (Branch(("b", "x")), Branch(("cc", "y")))), Branch(("d",)))
    )
    assert drawn(root).splitlines() == [
        "root", "├─ a", "│  │  prose", "│  ├─ b   x", "│  └─ cc  y", "└─ d",
    ]  # fmt: skip


def test_the_document_holds_all_of_it_by_its_schema() -> None:
    """`explain -o json` has a documented, versioned form."""
    document = json.loads(as_json(TOLD))
    assert violations(document, json_schema()) == []
    assert document["schema"] == "secret-drift-agent/explain/v1"
    assert document["links"] == {"vault": "fresh", "secret": "fresh", "container": "stale"}
    [source] = document["sources"]
    assert source["newest"] == {"created": "2026-11-23T21:56:40Z", "id": "new", "enabled": True}
    assert source["expires"] is None
    assert document["externalSecret"]["interval"] == 3600
    [backend] = document["workloads"]
    assert backend["key"] == {"kind": "Deployment", "name": "backend"}
    assert backend["pods"][0]["containers"][0]["runs"] == [
        {
            "source": "klinematrix-test-kv.vault.azure.net/mongodb-connection-string-test",
            "versions": [{"created": "2026-11-16T22:00:00Z", "id": "0ld", "enabled": True}],
            "older": False,
        }
    ]
    assert [(one["reason"], one["until"]) for one in backend["next"]["refusals"]] == [
        ("outside-window", "2026-11-23T23:00:00Z")
    ]
    assert [one["kind"] for one in document["findings"]] == ["stale-pod"]


@settings(max_examples=40, deadline=None)
@given(
    any_of(SourceTold), any_of(EsTold), any_of(KeyTold), any_of(ContainerTold), any_of(StepTold), st.integers(20, 200)
)
def test_hostile_names_and_odd_times_break_neither_tree_nor_document(
    source: SourceTold, es: EsTold, key: KeyTold, one: ContainerTold, step: StepTold, width: int
) -> None:
    """Whatever the cluster holds, each line is printable and the document is valid JSON."""
    pods = (pod(key.name, replace(one, kind="sidecar")),)
    told = replace(
        TOLD, sources=(source,), es=es, secret=replace(TOLD.secret, keys=(key,)), next=step, notes=(step.detail,),
        workloads=(WorkloadTold(key=BACKEND, state=one.state, pods=pods, next=step),),
    )  # fmt: skip
    assert all(line.isprintable() and line[:1] in "E│├└ " for line in tree(told, width).splitlines())
    json.loads(as_json(told))


def test_what_is_hostile_is_shown_as_its_escape() -> None:
    """No terminal sequence and no second line comes from a name."""
    for hostile in HOSTILE:
        text = tree(replace(TOLD, secret=replace(TOLD.secret, name=hostile)))
        assert "\x1b" not in text
        assert len(text.splitlines()) >= len(tree(TOLD).splitlines())
