"""``explain -o json``: schema ``secret-drift-agent/explain/v1``, described in ``schemas/explain.v1.json``.

The document is ``agent.report.told.Told`` field by field, in the order of the chain: ``links`` (the three verdicts),
``sources`` (vault secrets), ``externalSecret``, ``secret`` with its ``keys``, ``workloads`` down to each container,
what would be done ``next``, and the ``findings`` in the words of ``scan``. Times are RFC 3339 by the API server's
clock, null where they are not known. Fields may be added under the same name of the schema; none is taken away, and
none changes its meaning. No value and no fingerprint is in it.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import msgspec

from agent.model import ObjectKey, SourceKey, StoreKey, WorkloadKey
from agent.report.scan import finding_json, refusal_json, time_json
from agent.report.told import Told
from agent.report.words import escape

SCHEMA = "secret-drift-agent/explain/v1"

_SPANS = frozenset({"interval"})
"""Numbers that are seconds, not moments."""
_SKIPPED = frozenset({"chain", "findings", "links", "es"})
_TERMINAL_ONLY = frozenset({"nearest"})
"""What is for an operator's eyes, and not for whatever reads documents."""


def as_json(told: Told) -> bytes:
    """The document, UTF-8, indented, ending with a line end."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "namespace": escape(told.chain.namespace),
        "name": escape(told.chain.name),
        "links": {link.value: state.value for link, state in told.links},
        "externalSecret": _plain("es", told.es),
    }
    for name in told.__struct_fields__:
        if name not in _SKIPPED:
            document[_camel(name)] = _plain(name, getattr(told, name))
    document["findings"] = [finding_json(finding, []) for finding in told.findings]
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of that document."""
    text = (files("agent.report") / "schemas" / "explain.v1.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _plain(name: str, value: Any) -> Any:
    match value:
        case None | bool() | int():
            return value
        case float():
            return value if name in _SPANS else time_json(value)
        case str():
            return escape(str(value))
        case SourceKey():
            return escape(f"{value.vault}/{value.name}")
        case WorkloadKey():
            return {"kind": escape(value.kind), "name": escape(value.name)}
        case ObjectKey() | StoreKey():
            return escape(str(value))
        case tuple():
            return [refusal_json(item) if name == "refusals" else _plain(name, item) for item in value]
    return {
        _camel(field): _plain(field, getattr(value, field))
        for field in value.__struct_fields__
        if field not in _TERMINAL_ONLY
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
