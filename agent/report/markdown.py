"""The findings as GitHub-flavoured Markdown, for a job's summary or an issue. Plain text, no dependency.

Everything that comes from the cluster is hostile to a page, too. So of a text only words of letters, digits and
ordinary punctuation stand as they are; every other word becomes code, in which GitHub renders nothing, links nothing
and tells nobody. In code two characters alone have a meaning, the fence and the bar between the cells of a table: both
are shown as their escapes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from agent.memory import Halt
from agent.model import Finding, Kind, Refusal, WorkloadKey
from agent.report.kinds import KIND_WORDS
from agent.report.scan import Subject, by_subject, ordered, subject_of
from agent.report.words import counted, escape, refusal_said
from agent.times import ago, stamp

MOST_ROWS = 200
MOST_BYTES = 150_000
"""Of one table. A job's summary may have 1 MiB; the six tables of one of ours stay below that together."""

NOTHING = "—"

_LONGEST_CELL = 800
_FOLDED_FROM = 6
_FOUND = ("What", "Where", "Since", "Why", "Next")
_HALTED = ("Workload", "Since", "Why", "What to do")
_NOT_READ = ("What", "Why", "What to do")

_WORD = re.compile(r"(?P<before>[(\"']*)(?P<word>.*?)(?P<after>[)\"'.,;:!?…]*)")
_PLAIN = re.compile(
    r"[^\W_]+([-'’][^\W_]+)*"  # force-sync, ESO's, 403
    r"|\d+([.,]\d+)*%?|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    r"|[—–=+-]?"
)
_REFERENCE = re.compile(r"(?i:gh-\d)|.*[0-9a-fA-F]{7}")
"""Plain words of which GitHub may make a link all the same: an issue, a commit."""


def scan_markdown(
    findings: Iterable[Finding],
    refusals: Iterable[Refusal],
    now: float,
    *,
    next_steps: Mapping[Subject, str] | None = None,
    halts: Mapping[WorkloadKey, Halt] | None = None,
    not_read: Sequence[tuple[str, str, str]] = (),
    notes: Sequence[str] = (),
) -> str:
    """The verdict as a heading, then drift, halts, what could not be looked at, and the rest, folded where it is long.

    ``now`` and all times are of the API server's clock. ``next_steps``: what is done about a chain or a workload that
    nothing refuses. ``not_read``: what, why, and what to do about it. ``notes``: what a reader must know of the
    answer. At most 1 MiB; what is left out is counted. Ends with a line end.
    """
    listed, halted = ordered(findings), halts or {}
    held, steps = by_subject(refusals), next_steps or {}
    drifts = [finding for finding in listed if finding.is_drift]
    suspects = [finding for finding in listed if finding.kind is Kind.SUSPECT]
    unknown = [finding for finding in listed if finding.kind is Kind.UNKNOWN]
    rest = [f for f in listed if not f.is_drift and f.kind not in (Kind.SUSPECT, Kind.UNKNOWN)]

    def rows(some: Iterable[Finding]) -> Iterator[tuple[str, ...]]:
        return (_row(f, held.get(subject_of(f), []), steps.get(subject_of(f), ""), now) for f in some)

    counts = (
        counted(len(drifts), "drift"), counted(len(halted), "halt"), counted(len(suspects), "suspect"),
        f"{len(unknown)} unknown", counted(len(rest), "note"),
    )  # fmt: skip
    parts = [
        f"### {_verdict(bool(drifts or halted), bool(not_read))}",
        f"As of {stamp(now)}: {', '.join(counts)}.",
        *(f"Note: {prose(note)}" for note in notes),
        _section("Drift", _FOUND, rows(drifts), len(drifts)),
        _section("Halted", _HALTED, (_halt(*pair, now) for pair in halted.items()), len(halted)),
        _section("Not looked at", _NOT_READ, not_read, len(not_read)),
        _section("Suspect: may run an old value, which cannot be proved", _FOUND, rows(suspects), len(suspects), 1),
        _section("Unknown: cannot be judged", _FOUND, rows(unknown), len(unknown), 1),
        _section("Notes", _FOUND, rows(rest), len(rest), 1),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def prose(text: str, longest: int = _LONGEST_CELL) -> str:
    """A text as Markdown that shows it and does nothing else; one line, for a paragraph or the cell of a table."""
    return " ".join(_shown(word) for word in escape(text, longest).split(" "))


def _shown(word: str) -> str:
    found = _WORD.fullmatch(word)
    if found is None:
        return _code(word)
    inner = found["word"]
    if _PLAIN.fullmatch(inner) and not _REFERENCE.match(inner):
        return word
    return f"{found['before']}{_code(inner)}{found['after']}"


def _code(text: str) -> str:
    escaped = text.replace("`", "\\x60").replace("|", "\\x7c")
    return f"`{escaped}`"


def _verdict(drift: bool, not_read: bool) -> str:
    if drift:
        return "Secret drift remains"
    return "No secret drift found, but not everything could be looked at" if not_read else "No secret drift"


def _row(finding: Finding, refusals: list[Refusal], step: str, now: float) -> tuple[str, ...]:
    what = KIND_WORDS[finding.kind] + (f" ({finding.cause})" if finding.cause else "")
    workload = f", {finding.workload.kind} {finding.workload.name}" if finding.workload else ""
    why = "; ".join(refusal_said(refusal) for refusal in refusals) or step
    next_ = ". ".join(part for part in (why, finding.remedy) if part)
    return what, f"{finding.chain}{workload}", _since(finding.since, now), finding.evidence, next_


def _halt(workload: WorkloadKey, halt: Halt, now: float) -> tuple[str, ...]:
    return f"{workload.kind} {workload}", _since(halt.at, now), f"{halt.reason}: {halt.detail}", halt.remedy


def _since(at: float, now: float) -> str:
    return f"{stamp(at)} ({ago(now - at)})" if math.isfinite(at) and at > 0 else ""


def _section(title: str, headings: Sequence[str], rows: Iterable[Sequence[str]], all_: int, folds: int = 0) -> str:
    """A table below its title; one that ``folds`` is folded where it has many rows."""
    if not all_:
        return ""
    table, shown = _table(headings, rows)
    left_out = f"\n\n… and {all_ - shown} more: `secret-drift-agent scan` shows all of them." if shown < all_ else ""
    if folds and all_ >= _FOLDED_FROM:
        return f"<details><summary>{title} ({all_})</summary>\n\n{table}{left_out}\n\n</details>"
    return f"**{title}**\n\n{table}{left_out}"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> tuple[str, int]:
    lines = [f"| {' | '.join(headings)} |", f"|{' --- |' * len(headings)}"]
    room = MOST_BYTES
    for row in rows:
        line = f"| {' | '.join(prose(cell).strip() or NOTHING for cell in row)} |"
        room -= len(line.encode()) + 1
        if room < 0 or len(lines) == MOST_ROWS + 2:
            break
        lines.append(line)
    return "\n".join(lines), len(lines) - 2
