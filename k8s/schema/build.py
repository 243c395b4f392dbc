"""Writes the chart's `values.schema.json`, so that Helm refuses a policy that the agent would refuse.

python -m k8s.schema.build                      # writes it
python -m k8s.schema.build --check              # exit 1 if it is not what would be written
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import yaml

from agent.policy import schema

_K8S = Path(__file__).parents[1]
SOURCE = _K8S / "schema" / "values.yaml"
MADE = _K8S / "chart" / "values.schema.json"

_LENGTH = re.compile(r"\^\(\?=\.(?:\{(\d+),(\d+)\}\$)?\)")
"""What a pattern of the policy looks ahead for: that there is something, or how long it is."""


def values() -> dict[str, Any]:
    """The schema of all values, the policy's in it.

    The policy's parts stand at the top: there a $ref finds them, whatever is around it.
    """
    made: dict[str, Any] = yaml.safe_load(SOURCE.read_text())
    policy = for_helm(schema())
    definitions = policy.pop("$defs")
    policy.pop("$schema")
    made["properties"]["policy"] = policy
    return {**made, "definitions": definitions}


def for_helm(node: Any) -> Any:
    """A schema of draft 2020-12 as one of draft 7 whose patterns Go can read.

    Raises ValueError at a pattern that looks ahead for more than a length: Helm would refuse the whole schema.
    """
    if isinstance(node, list):
        return [for_helm(each) for each in node]
    if not isinstance(node, dict):
        return node
    made = {key: for_helm(value) for key, value in node.items()}
    if isinstance(made.get("$ref"), str):
        return {"$ref": made["$ref"].replace("#/$defs/", "#/definitions/")}  # draft 7 reads nothing beside it
    if isinstance(made.get("pattern"), str):
        made |= _without_lookahead(made["pattern"])
    return made


def _without_lookahead(pattern: str) -> dict[str, Any]:
    ahead = _LENGTH.match(pattern)
    rest = "^" + pattern[ahead.end() :] if ahead else pattern
    if "(?" in rest:
        raise ValueError(f"Go has no way to look ahead; say it otherwise in agent/policy: {pattern}")
    if ahead is None:
        return {}
    least, most = ahead.groups()
    return {"pattern": rest, "minLength": int(least or 1)} | ({"maxLength": int(most)} if most else {})


def text() -> str:
    """The file."""
    return json.dumps(values(), indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the file, or compare it."""
    parser = argparse.ArgumentParser(description="Makes the schema of the chart's values.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if something would change")
    arguments = parser.parse_args()
    wanted = text()
    if MADE.exists() and MADE.read_text() == wanted:
        return 0
    if arguments.check:
        sys.stderr.write(f"{MADE.relative_to(_K8S.parent)} is not what the code makes: run make monitoring\n")
        return 1
    MADE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
