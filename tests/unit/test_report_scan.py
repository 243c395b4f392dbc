"""The scan as a table and as JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_events import BACKEND, CHAIN, NOW, finding, refusal
from schema_check import violations

from agent.model import Finding, Kind, Link, ObjectKey, Refusal, Step
from agent.report.scan import SCHEMA, json_schema, ordered, scan_json
from agent.report.table import columns, findings_table, table

DENIED = finding(
    kind=Kind.SYNC_FAILED,
    cause="access-denied",
    evidence="the vault answers 403",
    remedy="grant Key Vault Secrets User",
)
OLD_PODS = finding(link=Link.CONTAINER, kind=Kind.STALE_POD, workload=BACKEND, evidence="backend-1 is old")
PINNED = finding(chain=ObjectKey("a", "pinned"), kind=Kind.PINNED, since=0.0, evidence="refreshInterval is 0")

TEXT = st.text(max_size=30)
FINDINGS = st.lists(
    st.builds(
        Finding, chain=st.builds(ObjectKey, TEXT, TEXT), link=st.sampled_from(Link), kind=st.sampled_from(Kind),
        since=st.floats(), evidence=TEXT, cause=TEXT, remedy=TEXT, workload=st.sampled_from([None, BACKEND]),
    ),
    max_size=6,
)  # fmt: skip
REFUSALS = st.lists(
    st.builds(
        Refusal, step=st.sampled_from(Step), reason=TEXT, detail=TEXT, until=st.none() | st.floats(),
        chain=st.sampled_from([None, CHAIN]), workload=st.sampled_from([None, BACKEND]),
    ),
    max_size=4,
)  # fmt: skip


def test_the_table_says_what_where_since_when_and_why_not_healed() -> None:
    """One row each, drifts first, aligned, with a line that sums up."""
    assert findings_table([PINNED, OLD_PODS, DENIED], [refusal()], NOW).splitlines() == [
        "NAMESPACE         EXTERNALSECRET  LINK       DRIFT                        SINCE       "
        "EVIDENCE                              WHY NOT HEALED/NEXT",
        "klinematrix-test  app-secrets     vault      sync-failed (access-denied)  3 min 20 s  "
        "the vault answers 403                 grant Key Vault Secrets User",
        "klinematrix-test  app-secrets     container  stale-pod                    3 min 20 s  "
        "Deployment backend: backend-1 is old  recycle refused (outside-window): outside the policy's windows;"
        " until 2026-11-23T23:00:00Z",
        "a                 pinned          vault      pinned                       —           "
        "refreshInterval is 0                  —",
        "",
        "2 drifts, 0 suspects, 0 unknown, 1 note",
    ]


def test_prose_is_wrapped_within_a_wide_terminal() -> None:
    """No line is longer than the terminal, no word is lost."""
    wide = findings_table([DENIED, OLD_PODS], [refusal()], NOW, width=140)
    assert max(map(len, wide.splitlines())) <= 140
    assert "grant Key Vault" in wide


def test_in_a_narrow_terminal_prose_stands_below_its_row() -> None:
    """Eighty columns are too few for two columns of prose."""
    assert findings_table([DENIED], [], NOW, width=80).splitlines() == [
        "NAMESPACE         EXTERNALSECRET  LINK   DRIFT                        SINCE",
        "klinematrix-test  app-secrets     vault  sync-failed (access-denied)  3 min 20 s",
        "    EVIDENCE: the vault answers 403",
        "    WHY NOT HEALED/NEXT: grant Key Vault Secrets User",
        "",
        "1 drift, 0 suspects, 0 unknown, 0 notes",
    ]


def test_nothing_found_is_said_in_a_sentence() -> None:
    """No empty table."""
    assert findings_table([], [], NOW) == "no drift, nothing suspect, nothing unknown\n"


def test_wide_characters_keep_the_columns_aligned() -> None:
    """East Asian characters take two columns, combining marks none."""
    shown = table(("A", "B"), [("漢字", "x"), ("e\u0301", "x")], width=None)
    assert [columns(line[: line.index("x")]) for line in shown.splitlines()[1:]] == [6, 6]


@settings(deadline=None)
@given(FINDINGS, REFUSALS, st.none() | st.integers(1, 300))
def test_no_finding_can_break_the_table(findings: list[Finding], refusals: list[Refusal], width: int | None) -> None:
    """Hostile names are escaped, whatever the width of the terminal."""
    shown = findings_table(findings, refusals, NOW, width=width)
    assert all(line.isprintable() for line in shown.split("\n"))


@settings(deadline=None)
@given(FINDINGS, REFUSALS)
def test_the_document_always_fits_its_published_schema(findings: list[Finding], refusals: list[Refusal]) -> None:
    """Every finding and every refusal is in it, exactly as the schema says and with no field it does not name."""
    document = json.loads(scan_json(findings, refusals, NOW))
    assert violations(document, json_schema()) == []
    assert len(document["findings"]) == len(findings)
    said = len(document["otherRefusals"]) + sum(len(one["refusals"]) for one in document["findings"])
    assert said >= len(refusals)


def test_the_document_holds_what_a_script_needs() -> None:
    """Counts, the finding with its refusals, and the refusals that belong to no finding."""
    other = refusal(workload=None, chain=CHAIN, step=Step.FORCE_SYNC, reason="opted-out", detail="d", until=None)
    document = json.loads(scan_json([OLD_PODS], [refusal(), other], NOW))
    assert document["schema"] == SCHEMA
    assert document["at"] == "2026-11-23T22:00:00Z"
    assert document["summary"] == {"drifts": 1, "suspects": 0, "unknown": 0, "notes": 0}
    (found,) = document["findings"]
    assert found["workload"] == {"kind": "Deployment", "name": "backend"}
    assert found["sources"] == ["klinematrix-test-kv.vault.azure.net/mongodb-connection-string-test"]
    assert found["refusals"] == [
        {
            "step": "recycle",
            "reason": "outside-window",
            "detail": "outside the policy's windows",
            "until": "2026-11-23T23:00:00Z",
        }
    ]
    assert [(one["externalSecret"], one["reason"]) for one in document["otherRefusals"]] == [
        ("app-secrets", "opted-out")
    ]


def test_the_schema_names_every_link_kind_and_step() -> None:
    """A new one is added to the schema too."""
    defs = json_schema()["$defs"]
    assert set(defs["finding"]["properties"]["link"]["enum"]) == {link.value for link in Link}
    assert set(defs["finding"]["properties"]["kind"]["enum"]) == {kind.value for kind in Kind}
    assert set(defs["refusal"]["properties"]["step"]["enum"]) == {step.value for step in Step}


@pytest.mark.parametrize(
    "broken",
    [
        {"schema": "other/v1"},
        {"at": "yesterday"},
        {"summary": {"drifts": -1, "suspects": 0, "unknown": 0, "notes": 0}},
        {"findings": [{}]},
        {"extra": 1},
    ],
)
def test_the_schema_is_not_so_wide_that_all_fits(broken: dict[str, Any]) -> None:
    """A document that is wrong in one place is found."""
    document = json.loads(scan_json([OLD_PODS], [], NOW)) | broken
    assert violations(document, json_schema())


def test_drifts_come_first_then_along_the_chain() -> None:
    """The order of a person's questions."""
    suspect = finding(kind=Kind.SUSPECT, link=Link.CONTAINER)
    assert ordered([suspect, PINNED, OLD_PODS, DENIED]) == [DENIED, OLD_PODS, PINNED, suspect]
