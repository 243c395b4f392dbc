"""The policy's JSON Schema, for editors and for pipelines that check a policy before it reaches a cluster."""

from __future__ import annotations

from typing import Any

from .fields import DURATION_PATTERN, spell_duration
from .lint import REQUIRED
from .policy import Policy


def schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12. What it accepts may still be refused by the loader, which also compares rules."""
    made: dict[str, Any] = _in_file_terms(Policy.model_json_schema(by_alias=True))
    made["required"] = list(REQUIRED)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "HealPolicy of secret-drift-agent",
        **{key: value for key, value in made.items() if key != "title"},
    }


def _in_file_terms(node: Any) -> Any:
    """Without what is true in code only: an absent field is none there, and a section has a default as a whole."""
    if isinstance(node, list):
        return [_in_file_terms(each) for each in node]
    if not isinstance(node, dict):
        return node
    made = {key: _in_file_terms(value) for key, value in node.items()}
    if "anyOf" in made:
        given = [each for each in made.pop("anyOf") if each != {"type": "null"}]
        made = {**given[0], **made} if len(given) == 1 else {**made, "anyOf": given}
    if "default" in made and (made["default"] is None or "$ref" in made):
        del made["default"]
    if made.get("pattern") == DURATION_PATTERN and "default" in made:
        made["default"] = spell_duration(made["default"])
    if isinstance(made.get("title"), str):
        del made["title"]
    return made
