"""Whether a document fits the part of JSON Schema that ours are written in."""

from __future__ import annotations

import re
from typing import Any


def violations(value: Any, schema: dict[str, Any], root: dict[str, Any] | None = None, at: str = "$") -> list[str]:
    """Where a value does not fit the part of JSON Schema that ours is written in; unnamed fields count too."""
    root = schema if root is None else root
    if "$ref" in schema:
        target = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = _merged(target, {key: held for key, held in schema.items() if key != "$ref"})
    found = []
    if "type" in schema and not _is_a(value, schema["type"]):
        return [f"{at}: {value!r} is not of type {schema['type']}"]
    if "const" in schema and value != schema["const"]:
        found.append(f"{at}: {value!r} is not {schema['const']!r}")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{at}: {value!r} is not one of {schema['enum']}")
    if "pattern" in schema and isinstance(value, str) and not re.search(schema["pattern"], value):
        found.append(f"{at}: {value!r} does not match {schema['pattern']}")
    if "minimum" in schema and value < schema["minimum"]:
        found.append(f"{at}: {value} is below {schema['minimum']}")
    if isinstance(value, dict):
        found += [f"{at}: {name} is missing" for name in schema.get("required", []) if name not in value]
        for name, held in value.items():
            known = schema.get("properties", {}).get(name)
            found += (
                [f"{at}: {name} is not in the schema"]
                if known is None
                else violations(held, known, root, f"{at}.{name}")
            )
    if isinstance(value, list):
        for index, held in enumerate(value):
            found += violations(held, schema["items"], root, f"{at}[{index}]")
    return found


def _merged(target: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return target | more | {
        "required": [*target.get("required", []), *more.get("required", [])],
        "properties": target.get("properties", {}) | more.get("properties", {}),
    }  # fmt: skip


def _is_a(value: Any, types: str | list[str]) -> bool:
    named = {
        "object": isinstance(value, dict), "array": isinstance(value, list), "string": isinstance(value, str),
        "integer": isinstance(value, int) and not isinstance(value, bool), "boolean": isinstance(value, bool),
        "null": value is None, "number": isinstance(value, int | float) and not isinstance(value, bool),
    }  # fmt: skip
    return any(named[one] for one in ([types] if isinstance(types, str) else types))
