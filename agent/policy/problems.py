"""What is wrong with a policy file, and where."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. ``line`` and ``column`` count from 1, as editors do; 1:1 where the file could not be read at all."""

    file: str
    line: int
    column: int
    path: str
    """Where in the policy: ``recycle[0].canary.readyWithin``; ``policy`` for the file as a whole."""
    message: str
    """What is wrong and what was expected, in one line."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.path}: {self.message}"


class PolicyError(Exception):
    """A policy with mistakes, which is not in force; ``problems`` holds all of them in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        ordered = sorted(set(problems), key=lambda each: (each.line, each.column, each.path, each.message))
        self.problems: tuple[Problem, ...] = tuple(ordered)
        super().__init__("\n".join(str(each) for each in self.problems))


_PLAIN = re.compile(r"[\w.-]{1,60}")

Path = tuple[str | int, ...]
"""Keys and indexes from the document's root to a node."""


def spell(path: Path) -> str:
    """A path as an operator writes it: ``recycle[0].settle``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if _PLAIN.fullmatch(part) else show(part)
            text += f".{name}" if text else name
    return text or "policy"


def show(value: object) -> str:
    """A value as it is quoted in a message: short, on one line."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
