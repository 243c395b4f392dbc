"""The API server: its version, and how far the clocks are apart."""

from __future__ import annotations

import re
from collections.abc import Mapping

from agent.doctor.facts import Offset, Server
from agent.doctor.lines import Line

_VERSION = re.compile(r"v(\d+)\.(\d+)")
OLDEST_USABLE = (1, 22)
"""The first that serves policy/v1 evictions."""
SUPPORTED = (1, 30), (1, 37)
"""From the first with ValidatingAdmissionPolicies to the newest that the client library knows."""


def server_line(server: Server) -> Line:
    """Reachable it is, else there was nothing to judge."""
    who = f"; we are {server.user}" if server.user else ""
    said = f"{server.url}, {server.version or 'version not told'}{who}"
    found = _VERSION.match(server.version)
    if found is None:
        return Line(area="API server", name="version", state="not-checked", said=said)
    version = int(found[1]), int(found[2])
    oldest, newest = (f"{major}.{minor}" for major, minor in SUPPORTED)
    span = f"supported: {oldest} to {newest}"
    if version < OLDEST_USABLE:
        return Line(
            area="API server", name="version", state="error", said=f"{said}: too old, it has no policy/v1 evictions",
            todo=f"upgrade the cluster ({span})",
        )  # fmt: skip
    if version < SUPPORTED[0]:
        return Line(
            area="API server", name="version", state="warning",
            said=f"{said}: older than supported ({oldest}): no ValidatingAdmissionPolicy can bound our writes",
        )  # fmt: skip
    if version > SUPPORTED[1]:
        return Line(area="API server", name="version", state="warning", said=f"{said}: newer than tried ({span})")
    return Line(area="API server", name="version", state="ok", said=said)


def namespace_lines(asked: tuple[str, ...], known: tuple[str, ...] | None) -> list[Line]:
    """Namespaces that were asked for and do not exist: nothing can drift there."""
    absent = [name for name in asked if known is not None and name not in known]
    said = f"{', '.join(absent)}: no such namespace here"
    line = Line(area="API server", name="namespaces", state="warning", said=said, todo="correct --namespace")
    return [line] if absent else []


def clock_lines(machine: Offset | None, vaults: Mapping[str, Offset], margin: float) -> list[Line]:
    """One line where all agree within the policy's ``margins.vault``, else one for each that does not."""
    offsets = {"this machine": machine} if machine is not None else {}
    offsets |= {f"vault {name}": offset for name, offset in sorted(vaults.items())}
    wrong = [_clock_line(name, offset, margin) for name, offset in offsets.items() if _beyond(offset, margin)]
    if wrong:
        return wrong
    if not offsets:
        return [Line(area="API server", name="clocks", state="not-checked", said="no clock to compare")]
    same = [name for name, offset in offsets.items() if _agrees(offset)]
    told = [f"{', '.join(same)}: the same as the API server's"] if same else []
    told += [f"{name} {_apart(offset)} it" for name, offset in offsets.items() if not _agrees(offset)]
    return [Line(area="API server", name="clocks", state="ok", said=f"{'; '.join(told)} (margin {margin:g} s)")]


def _clock_line(name: str, offset: Offset, margin: float) -> Line:
    said = f"{name}: {_apart(offset)} the API server's clock, more than the margin of {margin:g} s"
    if name == "this machine":
        why = "tokens and certificates are judged by it; nothing that the agent decides is"
        return Line(area="API server", name="clocks", state="warning", said=f"{said}; {why}", todo="set it by NTP")
    todo = "let the API server's machine follow NTP, or raise margins.vault: else the order of times is judged wrongly"
    return Line(area="API server", name="clocks", state="error", said=said, todo=todo)


def _beyond(offset: Offset, margin: float) -> bool:
    return offset.least > margin or offset.most < -margin


def _agrees(offset: Offset) -> bool:
    return offset.least <= 0.0 <= offset.most


def _apart(offset: Offset) -> str:
    middle = (offset.least + offset.most) / 2
    return f"{abs(middle):.0f} s {'ahead of' if middle > 0 else 'behind'}"
