"""From text to policy: all mistakes at once, each with its place, or none and a policy."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path as FilePath
from typing import Any

from pydantic import ValidationError

from . import lint, tree, wording
from .fields import FROM_FILE
from .policy import Policy
from .problems import Path, PolicyError, Problem, spell

LARGEST = 1024 * 1024
"""Bytes of a policy file."""


def load(path: FilePath) -> Policy:
    """The policy in this file. Raises PolicyError with every mistake in it, or with why it cannot be read."""
    return loads(read_text(path), str(path))


def loads(text: str, name: str) -> Policy:
    """The policy in this text; ``name`` is what its mistakes call the file. Raises PolicyError."""
    try:
        read = tree.read(text)
    except tree.Unreadable as error:
        raise PolicyError([_whole(name, error.message, error.place)]) from None
    if not isinstance(read.data, dict):
        found = "a single value" if isinstance(read.data, str | int | float) else wording.describe(read.data)
        raise PolicyError([_whole(name, f"expected a mapping that begins with apiVersion and kind; found {found}")])
    if all(read.data.get(key, value) != value for key, value in lint.REQUIRED.items()):
        # Another kind of object, a Secret or a kubeconfig for all we know: nothing of it is to be quoted.
        begin = " and ".join(f"{key}: {value}" for key, value in lint.REQUIRED.items())
        raise PolicyError([_whole(name, f"this is no policy, so nothing of it is shown; a policy has {begin}")])
    policy, wrong = _validated(read)
    if policy is None or wrong:
        raise PolicyError(Problem(name, *place, spell(path), message) for place, path, message in wrong)
    return policy


def default() -> Policy:
    """The policy of this package: observe, with every number at its default."""
    return _packaged("default.yaml")


@cache
def _packaged(name: str) -> Policy:
    return loads(files(__package__).joinpath(name).read_text(encoding="utf-8"), name)


def read_text(path: FilePath) -> str:
    """The text of the file at ``path``, at most LARGEST bytes. Raises PolicyError."""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
    except OSError as error:
        raise PolicyError([_whole(str(path), f"cannot be read: {error.strerror or error}")]) from None
    if len(raw) > LARGEST:
        raise PolicyError([_whole(str(path), f"expected at most {LARGEST} bytes; the file is larger")])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8", "replace")
        place = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise PolicyError([_whole(str(path), "expected UTF-8 text; this byte is not", place)]) from None


def _whole(name: str, message: str, place: tree.Place = (1, 1)) -> Problem:
    return Problem(name, *place, spell(()), message)


Wrong = tuple[tree.Place, Path, str]


def _validated(read: tree.Tree) -> tuple[Policy | None, list[Wrong]]:
    wrong = list(read.mistakes)
    known = {path for _, path, _ in wrong}
    policy: Policy | None = None
    try:
        policy = Policy.model_validate(read.data, context=FROM_FILE, by_alias=True, by_name=False)
    except ValidationError as errors:
        wrong += [each for each in _told(read, errors) if each[1] not in known]
    wrong += [
        (read.place((key,)), (key,), f"is missing; expected: {key}: {value}") for key, value in _unsaid(read, known)
    ]
    wrong += [(read.place(path), path, message) for path, message in lint.findings(read.data)]
    return policy, wrong


def _unsaid(read: tree.Tree, known: set[Path]) -> Iterator[tuple[str, Any]]:
    """What code may leave out, and a file must say: which format it is in."""
    for key, value in lint.REQUIRED.items():
        if key not in read.data and (key,) not in known:
            yield key, value


def _told(read: tree.Tree, errors: ValidationError) -> Iterator[Wrong]:
    for error in errors.errors(include_url=False):
        if error["type"] == "too_short" and error["input"]:
            continue  # its entries are wrong, each said by itself
        path, message = wording.explain(error, Policy)
        unknown = error["type"] == "extra_forbidden"
        place = read.keys.get(path) if unknown else None
        yield place or read.place(path), path, message
