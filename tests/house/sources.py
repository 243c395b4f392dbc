"""The files of this project as the rules of the house read them."""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
_MADE = {".git", ".venv", "build", "dist", "__pycache__"}


@functools.cache
def files() -> tuple[Path, ...]:
    """Every file that git keeps, or, in an unpacked archive, every one that is there; relative to the root."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0 and listed.stdout:
        return tuple(path for name in listed.stdout.split("\0") if name and (ROOT / (path := Path(name))).is_file())
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return tuple(path for path in found if not _MADE.intersection(path.parts) and not path.parts[0].startswith(".hyp"))


def modules(*tops: str) -> Iterator[Path]:
    """Python files below the directories."""
    return (path for path in files() if path.suffix == ".py" and path.parts[0] in tops)


@functools.cache
def text(path: Path) -> str:
    """A file's text; empty for what is not text."""
    try:
        return (ROOT / path).read_text()
    except UnicodeDecodeError:
        return ""


@functools.cache
def parsed(path: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(text(path), str(path))


@functools.cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Every node of a module's syntax tree."""
    return tuple(ast.walk(parsed(path)))


def called(path: Path) -> Iterator[tuple[int, str, ast.Call]]:
    """(line, dotted name as written, call) of every call in a module."""
    for node in nodes(path):
        if isinstance(node, ast.Call):
            yield node.lineno, _dotted(node.func), node


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of all that a module imports, at its top or inside functions; from x import y is x.y."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def cases_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """The test functions of a module."""
    for node in nodes(path):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            yield node


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return f"{_dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else "()"
