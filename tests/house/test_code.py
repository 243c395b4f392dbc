"""The rules of the house for code: one clock, no print, modules that fit on a few screens."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

from house.sources import called, imported, modules, parsed, text
from pydantic import BaseModel

from agent.policy import Policy
from agent.policy.fields import Section

REAL_TIME = re.compile(
    r"(time\.(time|monotonic|perf_counter|process_time)(_ns)?|time\.sleep|(datetime\.)?datetime\.(now|utcnow|today)"
    r"|(datetime\.)?date\.today)$"
)
MAY_KNOW_REAL_TIME = {
    "agent/clock.py": "the agent's clock",
    "agent/sandbox/clock.py": "the sandbox's clock",
    "agent/sandbox/keyvault/login.py": "how long a token lives is judged by azure-identity, on the real clock",
    "agent/sandbox/demo/play.py": "the demo tells real elapsed times",
    "agent/sandbox/demo/stage.py": "the demo waits for the agent, which is a process of its own",
}

LONGEST = 320
LONGEST_OF_TESTS = 500
"""Tables of cases are long without being hard to read."""
MAY_BE_LONGER = {
    "agent/model.py": 500,
    "agent/engine/workloads.py": 520,
    "agent/engine/world.py": 400,
    "agent/loop.py": 400,
    "agent/plan/recycle.py": 425,
}

IMPORTED_AS = {"pyyaml": "yaml", "azure-keyvault-secrets": "azure", "azure-identity": "azure"}
NEVER_IMPORTED = {"tzdata"}
PARTS = {"pydantic_core": "pydantic"}
"""Packages that are the half of another one, at the very version that it asks for."""


def test_nobody_reads_the_time_or_sleeps_but_the_clock() -> None:
    """Time is injected: only the two clocks, and the few that must know real time, ask the machine for it."""
    found = [
        f"{path}:{line}: {name}"
        for path in modules("agent")
        if str(path) not in MAY_KNOW_REAL_TIME
        for line, name, _ in called(path)
        if REAL_TIME.fullmatch(name)
    ]
    smuggled = [
        f"{path}:{line}: {name}"
        for path in modules("agent")
        for line, name in imported(path)
        if name.startswith("time.")
    ]
    assert found + smuggled == []


def test_nothing_of_the_agent_prints() -> None:
    """Output goes through the log or a stream that was handed over; nothing of the agent calls print or reads input."""
    found = [
        f"{path}:{line}: {name}"
        for path in modules("agent")
        for line, name, _ in called(path)
        if name in ("print", "input", "breakpoint", "pprint.pprint")
    ]
    assert found == []


def test_every_module_says_what_it_is_for() -> None:
    """A module begins with the sentence that tells why it exists."""
    assert [str(path) for path in modules("agent", "tests", ".ci") if not ast.get_docstring(parsed(path))] == []


def test_modules_fit_on_a_few_screens() -> None:
    """No module is longer than the limit, but for the few that are named, which have limits of their own."""
    too_long = []
    for path in modules("agent", "tests", ".ci"):
        limit = MAY_BE_LONGER.get(str(path), LONGEST_OF_TESTS if path.parts[0] == "tests" else LONGEST)
        if (lines := text(path).count("\n")) > limit:
            too_long.append(f"{path}: {lines} lines, {limit} allowed")
    assert too_long == []


def test_exceptions_are_still_needed() -> None:
    """What is excepted from a rule exists and would break the rule: no exception outlives its reason."""
    there = {str(path): path for path in modules("agent")}
    idle = [name for name in MAY_BE_LONGER if name not in there or text(there[name]).count("\n") <= LONGEST]
    idle += [
        name
        for name in MAY_KNOW_REAL_TIME
        if name not in there or not any(REAL_TIME.fullmatch(call) for _, call, _ in called(there[name]))
    ]
    assert idle == []


def test_each_field_of_the_policy_is_read_by_somebody() -> None:
    """A number that can be set and moves nothing would be a promise that is not kept."""
    read = {
        node.attr
        for path in modules("agent")
        if path.parts[:2] != ("agent", "sandbox")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Attribute)
    }
    assert issubclass(Policy, Section)
    sections: list[type[BaseModel]] = [Section]
    idle = []
    while sections:
        section = sections.pop()
        sections += section.__subclasses__()
        idle += [f"{section.__name__}.{name}" for name in section.model_fields if name not in read]
    assert idle == []


def test_each_direct_dependency_is_imported_and_each_import_is_a_direct_dependency() -> None:
    """Dependencies are what the agent imports: none unused, none that is only there by way of another."""
    told = tomllib.loads(text(Path("pyproject.toml")))["project"]
    declared = {
        IMPORTED_AS.get(name, name.replace("-", "_"))
        for spec in (*told["dependencies"], *told["optional-dependencies"]["sandbox"])
        if (name := re.split(r"[^\w-]", spec)[0].lower()) not in NEVER_IMPORTED
    }
    used = {name.split(".")[0] for path in modules("agent") for _, name in imported(path)}
    third_party = {PARTS.get(name, name) for name in used - set(sys.stdlib_module_names) - {"agent", "__future__"}}
    assert third_party == declared


def test_each_direct_dependency_is_justified_in_one_line() -> None:
    """Whoever adds a dependency says beside it what it is for."""
    lists = re.findall(
        r"^(?:dependencies|sandbox|dev|tools) = \[[^\n]*\n(.*?)^\]",
        text(Path("pyproject.toml")),
        re.MULTILINE | re.DOTALL,
    )
    assert len(lists) == 4
    entries = [line for block in lists for line in block.splitlines()]
    assert [line for line in entries if not re.search(r'",\s+# \S.{3,}', line)] == []
