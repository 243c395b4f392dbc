"""Validation errors in words that say what was found, what was expected, and what was probably meant."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Callable, Iterator, Mapping
from types import UnionType
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from .problems import Path, show


def describe(value: object) -> str:
    """A value of a YAML document, named by its kind."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return show(value)
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    return "a mapping"


def explain(error: ErrorDetails, root: type[BaseModel]) -> tuple[Path, str]:
    """Where an error of ``root``'s validation is (as keys of the file), and what it is."""
    path: Path = tuple(error["loc"])
    kind = error["type"]
    context: Mapping[str, Any] = error.get("ctx", {})
    if kind == "policy":
        below = context["field"]
        return (*path, below) if below else path, context["message"]
    if kind == "missing":
        return path, f"is missing; expected: {_expected(root, path)}"
    if kind == "extra_forbidden":
        return path, _unknown(root, path)
    if kind == "literal_error":
        return path, _choice(_choices(_annotation(root, path)), error["input"])
    if kind in _TEXTS:
        return path, f"{_TEXTS[kind](context)}; found {describe(error['input'])}"
    return path, f"{error['msg'][:1].lower()}{error['msg'][1:]}; found {describe(error['input'])}"


def _quote(value: str) -> str:
    return f'expected text{value}; numbers and true or false need quotes ("...") to be text'


_TEXTS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "string_type": lambda _: _quote(""),
    "int_type": lambda _: "expected a whole number",
    "int_from_float": lambda _: "expected a whole number",
    "float_type": lambda _: "expected a number",
    "bool_type": lambda _: "expected true or false",
    "tuple_type": lambda _: "expected a list, such as [a, b]",
    "model_type": lambda _: "expected a mapping of keys to values",
    "model_attributes_type": lambda _: "expected a mapping of keys to values",
    "dict_type": lambda _: "expected a mapping of keys to values",
    "greater_than": lambda ctx: f"expected more than {_number(ctx['gt'])}",
    "greater_than_equal": lambda ctx: f"expected at least {_number(ctx['ge'])}",
    "less_than": lambda ctx: f"expected less than {_number(ctx['lt'])}",
    "less_than_equal": lambda ctx: f"expected at most {_number(ctx['le'])}",
    "string_too_long": lambda ctx: f"expected at most {ctx['max_length']} characters",
    "too_short": lambda _: "expected at least one entry",
    "too_long": lambda ctx: f"expected at most {ctx['max_length']} entries",
}


def _number(value: float) -> str:
    return f"{value:g}"


def _choice(choices: list[str], found: object) -> str:
    text = f"expected {'one of ' if len(choices) > 1 else ''}{', '.join(choices)}; found {describe(found)}"
    return text + _meant(found, choices)


def _meant(found: object, choices: list[str]) -> str:
    folded = {choice.lower().replace("_", ""): choice for choice in choices}
    near = difflib.get_close_matches(str(found)[:60].lower().replace("_", ""), folded, n=1, cutoff=0.6)
    return f" - did you mean {folded[near[0]]}?" if near else ""


def _unknown(root: type[BaseModel], path: Path) -> str:
    model = next(_models(_annotation(root, path[:-1])), None)
    keys = [info.alias or name for name, info in model.model_fields.items()] if model else []
    return f"unknown key{_meant(path[-1], keys)}; expected one of {', '.join(keys)}"


def _expected(root: type[BaseModel], path: Path) -> str:
    annotation = _annotation(root, path)
    if choices := _choices(annotation):
        return f"one of {', '.join(choices)}"
    parent = next(_models(_annotation(root, path[:-1])), None)
    for name, info in parent.model_fields.items() if parent else ():
        if path[-1] in (name, info.alias) and info.description:
            return info.description.rstrip(".")
    return "it here"


def _annotation(root: type[BaseModel], path: Path) -> Any:
    """The declared type of what stands at ``path``."""
    here: Any = root
    for part in path:
        if isinstance(part, int):
            here = next((args[0] for args in map(typing.get_args, _parts(here)) if args), None)
            continue
        model = next(_models(here), None)
        fields = model.model_fields.items() if model else ()
        here = next((info.annotation for name, info in fields if part in (name, info.alias)), None)
    return here


def _parts(annotation: Any) -> Iterator[Any]:
    """The members of a union, the inside of Annotated, or the type itself."""
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, UnionType):
        for each in typing.get_args(annotation):
            yield from _parts(each)
    elif origin is typing.Annotated:
        yield from _parts(typing.get_args(annotation)[0])
    else:
        yield annotation


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    return (part for part in _parts(annotation) if isinstance(part, type) and issubclass(part, BaseModel))


def _choices(annotation: Any) -> list[str]:
    for part in _parts(annotation):
        if typing.get_origin(part) is typing.Literal:
            return [str(each) for each in typing.get_args(part)]
    return []
