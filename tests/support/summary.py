"""What passed on a real API server, as a table a person reads at the end of a run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

_CONTRACT = re.compile(r"tests/contract/server/test_server_(\w+)\.py::(.*)")
_SCENARIO = re.compile(r"tests/scenarios/test_(\w+)\.py::(.*)")


@dataclass
class _Row:
    passed: int = 0
    failed: int = 0
    elsewhere: int = 0
    seconds: float = 0.0


def table(reports: Iterable[Any]) -> Iterator[str]:
    """Its lines, from pytest's reports: those of the sandbox's half of the contracts do not count."""
    contracts: dict[str, _Row] = {}
    scenarios: dict[str, _Row] = {}
    for report in reports:
        if not isinstance(report, pytest.TestReport):
            continue  # deselected, or a warning
        nodeid = report.nodeid
        if (found := _CONTRACT.match(nodeid)) and "[sandbox" not in found[2]:
            _count(contracts.setdefault(found[1], _Row()), report)
        elif found := _SCENARIO.match(nodeid):
            _count(scenarios.setdefault(found[1], _Row()), report)
    yield f"{'':32}{'passed':>8}{'failed':>8}{'not here':>10}{'seconds':>9}"
    for title, rows in (("contracts", contracts), ("scenarios", scenarios)):
        if rows:
            yield title
            yield from (_line(f"  {_named(name)}", row) for name, row in sorted(rows.items()))
    whole = [*contracts.values(), *scenarios.values()]
    yield _line("in all", _Row(*(sum(column) for column in zip(*map(_cells, whole), strict=True))) if whole else _Row())
    yield "not here: skipped, each with its reason (-rs), and held on the embedded API server by `make test`"


def _count(row: _Row, report: pytest.TestReport) -> None:
    row.seconds += report.duration
    row.failed += report.failed
    row.passed += report.passed and report.when == "call"
    row.elsewhere += report.skipped


def _cells(row: _Row) -> tuple[int, int, int, float]:
    return row.passed, row.failed, row.elsewhere, row.seconds


def _line(name: str, row: _Row) -> str:
    passed, failed, elsewhere, seconds = _cells(row)
    return f"{name:32}{passed or '-':>8}{failed or '-':>8}{elsewhere or '-':>10}{seconds:>9.1f}"


def _named(name: str) -> str:
    """``s01_rotation`` as ``S01 rotation``."""
    number, _, rest = name.partition("_")
    return f"{number.upper()} {rest.replace('_', ' ')}" if re.match(r"s\d", number) else name.replace("_", " ")
