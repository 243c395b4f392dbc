"""Fields, defaults, the documented example, the schema and the command."""

from __future__ import annotations

import argparse
import io
import json
import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from agent.policy import Policy, RecycleRule, SyncRule, VaultRule, Window, cli, default, loads, schema
from agent.policy.example import OFF, SAMPLE, example
from agent.policy.fields import LONGEST, Section, parse_duration, spell_duration

TEXT = files("agent.policy").joinpath("example.yaml").read_text(encoding="utf-8")
NUMBERS = ("limits", "margins", "report", "timing", "reading")


@given(st.integers(0, int(LONGEST) * 1000))
def test_durations_survive_being_written(milliseconds: int) -> None:
    """What is written for a duration means the same seconds when it is read again."""
    assert parse_duration(spell_duration(milliseconds / 1000)) == milliseconds / 1000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15s", 15), ("5m", 300), ("2h", 7200), ("30d", 2_592_000), ("0s", 0), ("1m30s", 90), ("500ms", 0.5)],
)
def test_durations_are_seconds(text: str, seconds: float) -> None:
    """The units of a policy are days, hours, minutes, seconds and milliseconds."""
    assert parse_duration(text) == seconds


def test_code_may_write_seconds() -> None:
    """In code a duration is a number of seconds, and a copy with another value has another digest."""
    rule = RecycleRule(namespaces=("a",), settle=0.5)
    assert rule.settle == 0.5
    assert rule.digest != RecycleRule(namespaces=("a",)).digest
    assert rule.digest != rule.model_copy(update={"settle": 1.0}).digest


def test_a_policy_cannot_be_changed() -> None:
    """A policy in force never changes under the plan that reads it."""
    with pytest.raises(ValidationError):
        default().mode = "heal"


def test_the_example_is_generated() -> None:
    """The documented example is the one that the fields' own descriptions and defaults make."""
    assert example() == TEXT


def test_the_examples_numbers_are_the_defaults() -> None:
    """Every number of the example is the one in force when it is left out."""
    loaded = loads(TEXT, "example.yaml")
    for section in NUMBERS:
        assert getattr(loaded, section) == getattr(default(), section)
    assert loaded.interval == default().interval
    for rule in (loaded.vaults[0], loaded.sync[1], loaded.recycle[0]):
        for name, info in type(rule).model_fields.items():
            if not info.is_required() and name not in ("windows", "canary"):
                assert getattr(rule, name) == info.default, name


def test_the_example_holds_every_field() -> None:
    """With what is commented out put back, the example says every key that a policy can have."""
    keys = "|".join([*OFF, "  reason", "  until"])
    whole = re.sub(rf"(?m)^(\s*)# ({keys}):", r"\1\2:", TEXT)
    assert loads(whole, "example.yaml") == SAMPLE
    said = set(_keys(yaml.safe_load(whole)))
    assert said == {key for model in _sections(Policy) for key in _names(model)}


def test_every_field_says_what_it_means() -> None:
    """No key of a policy is without a description, in code and in the schema."""
    for model in _sections(Policy):
        for name, info in model.model_fields.items():
            assert info.description, f"{model.__name__}.{name}"


def test_defaults_of_the_design() -> None:
    """The numbers that the evidence rules are built on have the values they were thought out with."""
    limits, margins, timing = default().limits, default().margins, default().timing
    assert (limits.workloads_at_once, limits.disruptive_percent, limits.attempts, limits.syncs_in_flight) == (
        5,
        30,
        3,
        5,
    )
    assert (margins.vault, margins.node, margins.kubelet_lag) == (30, 5, 2)
    assert (timing.sync_timeout, timing.evidence_max_age, timing.sub_path_lag) == (30, 5, 120)
    rule = RecycleRule(namespaces=("*",))
    assert (rule.settle, rule.suspect, rule.volumes, rule.windows) == (15, "report", "ignore", ())
    assert (rule.canary.ready_within, rule.canary.log) == (300, None)
    assert SyncRule(namespaces=("*",), steps=()).patience == 0
    assert VaultRule(name="kv-a", namespaces=("*",)).requests_per_second == 20


def test_the_schema_speaks_the_files_language() -> None:
    """The schema has the file's keys, durations as text with their unit, and nothing that may be null."""
    made = schema()
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert made["required"] == ["apiVersion", "kind"]
    assert made["properties"]["interval"]["default"] == "1m"
    pattern = made["properties"]["interval"]["pattern"]
    assert re.search(pattern, "1m30s")
    assert not re.search(pattern, "90")
    assert not re.search(pattern, "")
    window = made["$defs"]["Window"]
    assert set(window["required"]) == {"from", "to", "timeZone"}
    assert re.search(window["properties"]["to"]["pattern"], "24:00")
    assert not re.search(window["properties"]["from"]["pattern"], "24:00")
    text = json.dumps(made)
    assert '"null"' not in text
    assert "_" not in "".join(_property_names(made))


def test_the_schema_accepts_the_example() -> None:
    """Every key, type, choice and pattern of the example is one the schema allows."""
    _conforms(yaml.load(TEXT, Loader=yaml.BaseLoader), schema(), schema()["$defs"])  # noqa: S506 - BaseLoader makes text only


def run(*words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command."""
    parser = argparse.ArgumentParser()
    cli.add_parser(parser.add_subparsers())
    out, err = io.StringIO(), io.StringIO()
    return cli.run(parser.parse_args(["policy", *words]), out, err), out.getvalue(), err.getvalue()


def test_check_lists_every_mistake_and_fails(tmp_path: Path) -> None:
    """`policy check` ends with 1 and one line a mistake on stderr, nothing on stdout."""
    path = tmp_path / "p.yaml"
    path.write_text("apiVersion: secret-drift-agent/v1\nkind: HealPolicy\nmode: heel\ninterval: 5\n")
    code, out, err = run("check", str(path))
    assert (code, out) == (1, "")
    assert [line.split(": ")[1] for line in err.splitlines()] == ["mode", "interval"]
    assert err.startswith(f"{path}:3:7: mode: expected one of observe, heal; found 'heel'")


def test_check_says_what_a_good_policy_does(tmp_path: Path) -> None:
    """`policy check` ends with 0 and one line that sums a good policy up."""
    path = tmp_path / "p.yaml"
    path.write_text(TEXT)
    code, out, err = run("check", str(path))
    assert (code, err) == (0, "")
    assert out.startswith(f"{path}: good: mode heal, 1 vault rule, 2 sync rules, 1 recycle rule (digest ")


def test_schema_is_printed_as_json() -> None:
    """`policy schema` ends with 0 and prints the schema."""
    code, out, err = run("schema")
    assert (code, json.loads(out), err) == (0, schema(), "")


def test_windows_of_code_and_file_are_the_same() -> None:
    """What code calls opens and closes a file calls from and to."""
    made = Window(opens="22:00", closes="04:00", time_zone="UTC")
    assert made.model_dump(mode="json", by_alias=True)["from"] == "22:00"


def _sections(model: type[Section]) -> list[type[Section]]:
    found = [model]
    for each in found:
        for info in each.model_fields.values():
            for part in _leaves(info.annotation):
                if isinstance(part, type) and issubclass(part, Section) and part not in found:
                    found.append(part)
    return found


def _leaves(annotation: Any) -> list[Any]:
    args = getattr(annotation, "__args__", ())
    return [leaf for arg in args for leaf in _leaves(arg)] if args else [annotation]


def _names(model: type[Section]) -> list[str]:
    return [info.alias or name for name, info in model.model_fields.items()]


def _keys(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [*node, *(key for value in node.values() for key in _keys(value))]
    return [key for each in node for key in _keys(each)] if isinstance(node, list) else []


def _property_names(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [*node.get("properties", ()), *(key for value in node.values() for key in _property_names(value))]
    return [key for each in node for key in _property_names(each)] if isinstance(node, list) else []


def _conforms(node: Any, rule: dict[str, Any], known: dict[str, Any]) -> None:
    """Enough of JSON Schema for the words that our schema uses; numbers arrive as text here."""
    if "$ref" in rule:
        rule = known[rule["$ref"].rsplit("/", 1)[1]]
    if rule["type"] == "object":
        assert set(rule.get("required", ())) <= set(node) <= set(rule["properties"])
        for key, value in node.items():
            _conforms(value, rule["properties"][key], known)
    elif rule["type"] == "array":
        assert rule.get("minItems", 0) <= len(node) <= rule["maxItems"]
        for each in node:
            _conforms(each, rule["items"], known)
    elif rule["type"] == "string":
        assert node in rule.get("enum", [node])
        assert node == rule.get("const", node)
        assert re.search(rule.get("pattern", ""), node)
    else:
        assert rule.get("minimum", 0) <= float(node) <= rule["maximum"]
