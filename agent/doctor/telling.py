"""The lines for a terminal, and as a document: schema ``secret-drift-agent/doctor/v1``, in ``schemas/doctor.v1.json``.

Fields may be added under the same name of the schema; none is taken away, and none changes its meaning.

- ``schema``: always ``secret-drift-agent/doctor/v1``
- ``at``: when this was so (RFC 3339, the API server's clock)
- ``policy`` and ``mode``: the file that was judged for (empty: the default) and its mode
- ``summary``: how many lines are ``ok``, ``notes``, ``warnings``, ``errors``, ``notChecked``
- ``lines``: each with ``area`` (API server, policy, rights, ledger, ESO, vaults) and ``name``; ``state`` (ok, note,
  warning, error, not-checked); ``said`` and ``todo``, in words; ``commands``, for a shell; ``permissions``: each right
  that the line is about (``verb``, ``group``, ``resource``, ``namespace``, null for all) and whether it is ``allowed``
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

import msgspec

from agent.doctor.lines import Line, Permission, State
from agent.report.scan import time_json
from agent.report.table import columns, padded, terminal_width, wrapped
from agent.report.words import counted, escape

SCHEMA = "secret-drift-agent/doctor/v1"
SHOWN: dict[State, str] = {
    "ok": "ok", "note": "note", "warning": "WARNING", "error": "ERROR", "not-checked": "not checked",
}  # fmt: skip
_GAP, _LEAST = "  ", 40
_MOST_COMMANDS = 6


def text(lines: Sequence[Line], *, width: int | None = None) -> str:
    """One paragraph an area, one line a check, what to do below it; commands stand alone, whole, to be copied.

    ``width`` in columns; None: the terminal's, or unlimited where stdout is none.
    """
    width = terminal_width() if width is None else width
    widths = max(len(SHOWN[line.state]) for line in lines), max(columns(escape(line.name)) for line in lines)
    told: list[str] = []
    for area in dict.fromkeys(line.area for line in lines):
        told += [area, *(part for line in lines if line.area == area for part in _told(line, widths, width)), ""]
    return "".join(f"{part}\n" for part in (*told, _summed_up(lines)))


def _told(line: Line, widths: tuple[int, int], width: int | None) -> Iterator[str]:
    head = f"  {SHOWN[line.state]:<{widths[0]}}{_GAP}{padded(escape(line.name), widths[1])}{_GAP}"
    indent = " " * columns(head)
    room = None if width is None else max(_LEAST, width - columns(head))
    for number, part in enumerate(_fitted(escape(line.said), room)):
        yield (head if number == 0 else indent) + part
    if line.todo:
        for number, part in enumerate(_fitted(escape(line.todo), room and room - 3)):
            yield f"{indent}{'-> ' if number == 0 else '   '}{part}"
    for command in line.commands[:_MOST_COMMANDS]:
        yield f"      $ {escape(command)}"
    if (more := len(line.commands) - _MOST_COMMANDS) > 0:
        yield f"      ({more} more: -o json)"


def _fitted(said: str, room: int | None) -> list[str]:
    return [said] if room is None else wrapped(said, room)


def _summed_up(lines: Sequence[Line]) -> str:
    counts = summary(lines)
    words = [
        counted(counts["errors"], "error"), counted(counts["warnings"], "warning"), counted(counts["notes"], "note"),
        f"{counts['notChecked']} not checked", f"{counts['ok']} ok",
    ]  # fmt: skip
    if counts["errors"]:
        return f"{', '.join(words)}: something is to be done"
    return f"{', '.join(words)}: {'as far as was checked, ' if counts['notChecked'] else ''}the agent can work here"


def document(lines: Sequence[Line], *, policy: str, mode: str, now: float | None) -> bytes:
    """The document, UTF-8, indented, ending with a line end."""
    made = {
        "schema": SCHEMA,
        "at": time_json(now),
        "policy": escape(policy),
        "mode": mode,
        "summary": summary(lines),
        "lines": [_line_json(line) for line in lines],
    }
    return msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of that document."""
    schema: dict[str, Any] = json.loads((files("agent.report") / "schemas" / "doctor.v1.json").read_text("utf-8"))
    return schema


def summary(lines: Sequence[Line]) -> dict[str, int]:
    """How many lines are in each state."""
    names = {"ok": "ok", "notes": "note", "warnings": "warning", "errors": "error", "notChecked": "not-checked"}
    return {name: sum(line.state == state for line in lines) for name, state in names.items()}


def _line_json(line: Line) -> dict[str, object]:
    return {
        "area": line.area,
        "name": escape(line.name),
        "state": line.state,
        "said": escape(line.said),
        "todo": escape(line.todo),
        "commands": [escape(command) for command in line.commands],
        "permissions": [_permission_json(each, allowed) for each, allowed in line.permissions],
    }


def _permission_json(permission: Permission, allowed: bool) -> dict[str, object]:
    namespace = None if permission.namespace is None else escape(permission.namespace)
    return {
        "verb": permission.verb, "group": permission.group, "resource": permission.resource, "namespace": namespace,
        "allowed": allowed,
    }  # fmt: skip
