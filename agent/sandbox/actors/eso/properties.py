"""``remoteRef.property``: the plain part of gjson's paths.

Keys, array indexes, escaped characters and the count ``#`` at the end of a path, in documents that are JSON. Wildcards,
queries, modifiers, pipes and documents that only gjson's leniency can read raise NotReproducible.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal

from agent.sandbox.actors.eso import gojson
from agent.sandbox.actors.eso.errors import NotReproducible, ProviderError

_SPECIAL_ANYWHERE = "|*?#"
_SPECIAL_FIRST = "@!{[("


def property_of(value: str, path: str, key: str) -> bytes:
    """The property as bytes; an empty path is the whole value. ``key`` is the remoteRef's, for the error text.

    A path with a dot that is not found is tried once more with all its dots escaped. Raises ProviderError where the
    property is absent.
    """
    if not path:
        return value.encode("utf-8", "replace")
    found = _get(value, path)
    if found is None and "." in path:
        found = _get(value, path.replace(".", "\\."))
    if found is None:
        raise ProviderError(f"property {path} does not exist in key {key}")
    return found.encode("utf-8", "replace")


def _get(value: str, path: str) -> str | None:
    components = _components(path)
    if "{" not in value and "[" not in value:
        return None
    try:
        gojson.check(value)
    except gojson.GoJsonError:
        raise NotReproducible("a property of a document that is not quite JSON") from None
    if gojson.kind(value) not in ("object", "array"):
        raise NotReproducible("a property of a scalar that holds braces")
    raw = _descend(value, components)
    return None if raw is None else _text(raw)


def _components(path: str) -> list[tuple[str, bool]]:
    """(part, whether it is the count ``#``) of a path. Raises NotReproducible for all that is not plain."""
    parts: list[tuple[str, bool]] = []
    part, at, escaped = "", 0, False
    while at <= len(path):
        char = path[at : at + 1]
        if char in ("", "."):
            if not part and not escaped and at in (0, len(path)):
                raise NotReproducible(f"property path {path!r}: an empty end")
            count = part == "#" and not escaped and at == len(path)
            if "#" in part and not escaped and not count:
                raise NotReproducible(f"property path {path!r}: #")
            parts.append((part, count))
            part, escaped = "", False
        elif char == "\\":
            at += 1
            if at == len(path):
                raise NotReproducible(f"property path {path!r}: a backslash at the end")
            part, escaped = part + path[at], True
        elif (char in _SPECIAL_ANYWHERE and (char != "#" or escaped)) or (not part and char in _SPECIAL_FIRST):
            raise NotReproducible(f"property path {path!r}: {char}")
        else:
            part += char
        at += 1
    return parts


def _descend(raw: str, components: list[tuple[str, bool]]) -> str | None:
    """The text of the value at the path. Of equal keys the first that leads on counts, as in gjson."""
    (part, count), rest = components[0], components[1:]
    kind = gojson.kind(raw)
    if kind == "object":
        if count:
            raise NotReproducible("# in an object")
        children = [child for name, child in gojson.members(raw) if name == part]
        if not part and children:
            raise NotReproducible("an empty key in a path")
    elif kind == "array":
        if count:
            return str(sum(1 for _ in gojson.elements(raw)))
        if not part.isascii() or not part.isdigit():
            return None
        children = [child for index, child in enumerate(gojson.elements(raw)) if index == int(part)]
    else:
        return None
    for child in children:
        found = child if not rest else _descend(child, rest)
        if found is not None:
            return found
    return None


def _text(raw: str) -> str:
    """A JSON value as gjson's ``String()`` gives it: objects and arrays stand as they are, null is empty."""
    kind = gojson.kind(raw)
    if kind == "string":
        return _unescaped(raw[1:-1])
    if kind == "null":
        return ""
    if kind == "number" and not raw.removeprefix("-").isdigit():
        return _float(float(raw))
    return raw


def _float(number: float) -> str:
    if math.isinf(number):
        return "+Inf" if number > 0 else "-Inf"
    text = format(Decimal(repr(number)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _unescaped(text: str) -> str:
    """gjson's unescape: after a surrogate it swallows the next ``\\u`` escape, whatever it is."""
    out: list[str] = []
    at = 0
    while at < len(text):
        if text[at] != "\\":
            out.append(text[at])
            at += 1
        elif text[at + 1] != "u":
            out.append(json.loads(f'"{text[at : at + 2]}"'))
            at += 2
        else:
            end = at + 6
            if 0xD800 <= int(text[at + 2 : end], 16) <= 0xDFFF and text[end : end + 2] == "\\u":
                end += 6
            decoded = json.loads(f'"{text[at:end]}"')
            out.append(decoded if len(decoded) == 1 and not "\ud800" <= decoded <= "\udfff" else "\ufffd")
            at = end
    return "".join(out)
