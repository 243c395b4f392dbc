"""Trees for a terminal: branches drawn with lines, cells of sisters aligned, prose wrapped. Plain text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from agent.report.table import columns, padded, wrapped
from agent.report.words import escape

_GAP = "  "
_UNDER = "   "
_NARROWEST = 24


class Branch(msgspec.Struct, frozen=True):
    """One node. ``cells`` stand side by side, aligned with those of the sisters; ``prose`` below them, wrapped."""

    cells: tuple[str, ...]
    prose: tuple[str, ...] = ()
    children: tuple[Branch, ...] = ()


def drawn(root: Branch, width: int = 100) -> str:
    """The tree as text of at most ``width`` columns where words allow; everything is escaped. Ends with a line end."""
    lines = [*_texts(root, [], width), *_below(root.children, "", width)]
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _below(sisters: Sequence[Branch], prefix: str, width: int) -> Iterator[str]:
    widths = _widths(sisters)
    for index, branch in enumerate(sisters):
        last = index == len(sisters) - 1
        beside = prefix + ("   " if last else "│  ")
        # A line that leads down to children goes on beside what stands between them and their parent.
        under = "│  " if branch.children else "   "
        first, *rest = _texts(branch, widths, width - len(prefix) - 3)
        yield prefix + ("└─ " if last else "├─ ") + first
        for text in rest:
            yield beside + under + text.removeprefix(_UNDER)
        yield from _below(branch.children, beside, width)


def _texts(branch: Branch, widths: list[int], width: int) -> list[str]:
    """Lines of one node without branches; all but the first begin with room for one."""
    cells = [escape(cell) for cell in branch.cells]
    room = max(_NARROWEST, width)
    head = _GAP.join(padded(cell, wide) for cell, wide in zip(cells[:-1], widths, strict=False))
    indent = columns(head) + len(_GAP) if head else 0
    if room - indent < _NARROWEST:
        lines = [head.rstrip(), *(_UNDER + part for part in wrapped(cells[-1], room - len(_UNDER)))]
    else:
        first, *rest = wrapped(cells[-1], room - indent)
        lines = [head + _GAP + first if head else first]
        lines += [" " * max(indent, len(_UNDER)) + part for part in rest]
    for text in branch.prose:
        first, *rest = wrapped(escape(text), room - len(_UNDER) - len(_GAP))
        lines += [_UNDER + first, *(_UNDER + _GAP + part for part in rest)]
    return lines


def _widths(sisters: Sequence[Branch]) -> list[int]:
    """Of all cells but a branch's last, which has the rest of the line."""
    count = max((len(branch.cells) for branch in sisters), default=0) - 1
    return [
        max((columns(escape(b.cells[i])) for b in sisters if len(b.cells) > i + 1), default=0) for i in range(count)
    ]
