"""``scan -o json``: schema ``secret-drift-agent/scan/v1``, described here and in ``schemas/scan.v1.json``.

Fields may be added under the same name of the schema; none is taken away, and none changes its meaning. No value and no
fingerprint is in it.

- ``schema``: always ``secret-drift-agent/scan/v1``
- ``at``: when this was so (RFC 3339, the API server's clock), as are all times
- ``summary``: how many findings are ``drifts``, ``suspects``, ``unknown``, and ``notes`` (all others)
- ``findings``: each with ``namespace`` and ``externalSecret``; ``link`` (vault, secret, container: the hop's end);
  ``kind``; ``drift`` (whether it is one); ``since`` (null: not known); ``evidence`` and ``remedy``, in words;
  ``cause`` (a short word, or empty); ``sources`` (``HOST/NAME`` of the vault secrets it is about); ``workload`` (kind
  and name, or null); ``refusals``: why nothing is done about it now
- a refusal has ``step`` (wait, force-sync, recreate, recycle), ``reason`` (a short word), ``detail`` in words, and
  ``until`` (null: not known)
- ``otherRefusals``: those that belong to no finding, each with ``namespace`` and ``externalSecret`` or ``workload``
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

import msgspec

from agent.model import Finding, Kind, ObjectKey, Refusal, WorkloadKey
from agent.report.words import escape
from agent.times import stamp

SCHEMA = "secret-drift-agent/scan/v1"

Subject = ObjectKey | WorkloadKey | None


def scan_json(findings: Iterable[Finding], refusals: Iterable[Refusal], now: float) -> bytes:
    """The document, UTF-8, indented, ending with a line end; findings in the order of ``ordered``."""
    listed = ordered(findings)
    held = by_subject(refusals)
    subjects = {subject_of(finding) for finding in listed}
    others = [refusal for subject, some in held.items() if subject not in subjects for refusal in some]
    document = {
        "schema": SCHEMA,
        "at": time_json(now),
        "summary": summary(listed),
        "findings": [finding_json(finding, held.get(subject_of(finding), [])) for finding in listed],
        "otherRefusals": [_whose(refusal) | refusal_json(refusal) for refusal in others],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of that document."""
    text = (files("agent.report") / "schemas" / "scan.v1.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Drifts first, then by namespace and name, then along the chain, oldest first."""
    links = {"vault": 0, "secret": 1, "container": 2}
    return sorted(findings, key=lambda f: (not f.is_drift, f.chain, links[f.link.value], f.since, f.kind.value))


def summary(findings: Iterable[Finding]) -> dict[str, int]:
    """How many of each sort there are."""
    counts = {"drifts": 0, "suspects": 0, "unknown": 0, "notes": 0}
    for finding in findings:
        counts[_sort(finding)] += 1
    return counts


def subject_of(what: Finding | Refusal) -> Subject:
    """What a refusal must be about to keep a finding as it is: its workload where it names one, else its chain.

    A note (expiring, pinned, ...) calls for no step of ours, so that no refusal is about it: None.
    """
    if isinstance(what, Finding) and what.workload is None and not what.is_drift:
        return None
    return what.workload or what.chain


def by_subject(refusals: Iterable[Refusal]) -> dict[Subject, list[Refusal]]:
    """The refusals by what they are about."""
    held: dict[Subject, list[Refusal]] = {}
    for refusal in refusals:
        held.setdefault(subject_of(refusal), []).append(refusal)
    return held


def _sort(finding: Finding) -> str:
    if finding.is_drift:
        return "drifts"
    return {Kind.SUSPECT: "suspects", Kind.UNKNOWN: "unknown"}.get(finding.kind, "notes")


def finding_json(finding: Finding, refusals: list[Refusal]) -> dict[str, object]:
    """One finding, with the refusals that keep it as it is."""
    workload = finding.workload
    return {
        "namespace": escape(finding.chain.namespace),
        "externalSecret": escape(finding.chain.name),
        "link": finding.link.value,
        "kind": finding.kind.value,
        "drift": finding.is_drift,
        "since": time_json(finding.since),
        "evidence": escape(finding.evidence),
        "cause": escape(finding.cause),
        "remedy": escape(finding.remedy),
        "sources": [escape(f"{source.vault}/{source.name}") for source in finding.sources],
        "workload": None if workload is None else {"kind": escape(workload.kind), "name": escape(workload.name)},
        "refusals": [refusal_json(refusal) for refusal in refusals],
    }


def refusal_json(refusal: Refusal) -> dict[str, object]:
    """One refusal."""
    return {
        "step": refusal.step.value,
        "reason": escape(refusal.reason),
        "detail": escape(refusal.detail),
        "until": time_json(refusal.until),
    }


def _whose(refusal: Refusal) -> dict[str, object]:
    key = refusal.workload or refusal.chain
    workload = refusal.workload
    return {
        "namespace": escape(key.namespace) if key else "",
        "externalSecret": escape(refusal.chain.name) if refusal.chain else "",
        "workload": None if workload is None else {"kind": escape(workload.kind), "name": escape(workload.name)},
    }


def time_json(at: float | None) -> str | None:
    """A time as documents give it: RFC 3339, None where it is not known."""
    said = stamp(at) if at is not None else ""
    return said if said[:1].isdigit() else None
