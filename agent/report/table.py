"""The findings as a table for a terminal, and the parts that other tables are made of. Plain text, no dependency."""

from __future__ import annotations

import math
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from agent.model import Finding, Refusal
from agent.report.scan import Subject, by_subject, ordered, subject_of, summary
from agent.report.words import counted, escape, refusal_said
from agent.times import ago

HEADINGS = ("NAMESPACE", "EXTERNALSECRET", "LINK", "DRIFT", "SINCE", "EVIDENCE", "WHY NOT HEALED/NEXT")
NOTHING = "—"

_PROSE_AT_LEAST = 24
_GAP = "  "
_INDENT = "    "


def findings_table(
    findings: Iterable[Finding],
    refusals: Iterable[Refusal],
    now: float,
    *,
    next_steps: Mapping[Subject, str] | None = None,
    width: int | None = None,
) -> str:
    """What is found, one row each in the order of ``scan.ordered``, and a line that sums it up.

    ``now`` and all times are of the API server's clock. ``next_steps``: what is done about a chain or a workload that
    nothing refuses. ``width`` in columns; None: the terminal's, or unlimited where
    stdout is none. Prose is wrapped within its columns.
    """
    listed = ordered(findings)
    if not listed:
        return "no drift, nothing suspect, nothing unknown\n"
    held = by_subject(refusals)
    steps = next_steps or {}
    rows = [
        _row(finding, held.get(subject_of(finding), []), steps.get(subject_of(finding), ""), now) for finding in listed
    ]
    return table(HEADINGS, rows, prose=2, width=width) + "\n" + _summed_up(listed) + "\n"


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, prose: int = 0, width: int | None = None) -> str:
    """Aligned columns; the last ``prose`` of them share the room that the others leave, and wrap.

    Where that is too little for reading, they stand below their row instead. Every cell is escaped. Ends with a line
    end.
    """
    width = terminal_width() if width is None else width
    cells = [tuple(headings), *(tuple(escape(cell) for cell in row) for row in rows)]
    widths = [max(columns(row[index]) for row in cells) for index in range(len(headings))]
    fixed = len(widths) - prose
    lines: list[str]
    if width is None:
        lines = [line for row in cells for line in _lines(row, widths)]
    elif (room := width - sum(widths[:fixed]) - len(_GAP) * (len(widths) - 1)) >= prose * _PROSE_AT_LEAST:
        widths[fixed:] = _shares(widths[fixed:], room)
        lines = [line for row in cells for line in _lines(row, widths)]
    else:
        lines = [line for row in cells for line in _stacked(cells[0], row, widths[:fixed], width)]
    return "".join(f"{line}\n" for line in lines)


def terminal_width() -> int | None:
    """Columns of the terminal; None where stdout is none (a pipe, a file)."""
    return shutil.get_terminal_size((120, 40)).columns if sys.stdout.isatty() else None


def _row(finding: Finding, refusals: list[Refusal], step: str, now: float) -> tuple[str, ...]:
    why = "; ".join(refusal_said(refusal) for refusal in refusals) or step
    next_ = ". ".join(part for part in (why, finding.remedy) if part)
    kind = finding.kind.value + (f" ({finding.cause})" if finding.cause else "")
    workload = f"{finding.workload.kind} {finding.workload.name}: " if finding.workload else ""
    since = ago(now - finding.since) if math.isfinite(finding.since) and finding.since > 0 else NOTHING
    return (*finding.chain, finding.link.value, kind, since, workload + finding.evidence, next_ or NOTHING)


def _summed_up(findings: list[Finding]) -> str:
    counts = summary(findings)
    return ", ".join(
        (
            counted(counts["drifts"], "drift"),
            counted(counts["suspects"], "suspect"),
            f"{counts['unknown']} unknown",
            counted(counts["notes"], "note"),
        )
    )


def _shares(natural: list[int], room: int) -> list[int]:
    shares: list[int] = []
    for index, wide in enumerate(natural):
        shares.append(min(wide, (room - sum(shares)) // (len(natural) - index)))
    return shares


def _stacked(headings: tuple[str, ...], row: tuple[str, ...], widths: list[int], width: int) -> list[str]:
    lines = _lines(row[: len(widths)], widths)
    for heading, cell in zip(headings[len(widths) :], row[len(widths) :], strict=True):
        if row is not headings and cell != NOTHING:
            said = wrapped(f"{heading}: {cell}", max(_PROSE_AT_LEAST, width - len(_INDENT)))
            lines += [_INDENT + part for part in said]
    return lines


def _lines(row: tuple[str, ...], widths: list[int]) -> list[str]:
    columned = [wrapped(cell, wide) for cell, wide in zip(row, widths, strict=True)]
    lines = []
    for index in range(max(len(parts) for parts in columned)):
        shown = [padded(p[index] if index < len(p) else "", w) for p, w in zip(columned, widths, strict=True)]
        lines.append(_GAP.join(shown).rstrip())
    return lines


def wrapped(cell: str, width: int) -> list[str]:
    """The cell as lines of at most ``width`` columns, at least one."""
    if columns(cell) <= width:
        return [cell]
    # A wide character takes two columns: wrapping at half the width is always safe, if seldom pretty.
    fits = width if cell.isascii() or columns(cell) == len(cell) else max(1, width // 2)
    return textwrap.wrap(cell, fits, break_on_hyphens=False) or [""]


def padded(cell: str, width: int) -> str:
    """The cell with spaces behind it, up to ``width`` columns."""
    return cell + " " * max(0, width - columns(cell))


def columns(text: str) -> int:
    """How many columns of a terminal the text takes: East Asian wide characters two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(_width(char) for char in text)


def _width(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
