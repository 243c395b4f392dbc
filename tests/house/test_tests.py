"""The rules of the house for tests: a sentence each, no mocks, and one for each scenario."""

from __future__ import annotations

import ast
import re

from house.sources import called, cases_of, imported, modules

SCENARIOS = (
    *("s01", "s02", "s03", "s04", "s05", "s05b", "s06", "s07", "s08", "s09", "s10", "s11", "s12", "s12b", "s12c"),
    *("s13", "s14", "s15", "s17", "s18", "s18b", "s19", "s20", "s21", "s22", "s27", "s28", "s29"),
    *("s35", "s36", "s37", "s38", "s40", "s41", "s44"),
)
"""What the agent promises so far. Each has a test that runs the real agent against the embedded world."""
MOCKS = ("unittest.mock", "mock", "pytest_mock", "responses", "requests_mock", "aioresponses", "vcr")
MAY_BE_SET = {
    '"sys.stderr"': "a process whose stderr is gone",
    "incluster_config": "where a pod finds its token",
    "incluster_config.InClusterConfigLoader": "a token that is due to be read again at once",
}


def test_every_test_is_a_sentence() -> None:
    """A test's docstring is a sentence that states the behaviour it proves."""
    found = []
    for path in modules("tests"):
        for test in cases_of(path):
            told = (ast.get_docstring(test) or "").strip()
            if len(told.split()) < 3 or not told.endswith((".", "?", "!")):
                found.append(f"{path}:{test.lineno}: {test.name}: {told!r}")
    assert found == []


def test_nobody_mocks_a_client() -> None:
    """Tests go through the real clients to the sandbox: no library of mocks, and nothing of a client is replaced."""
    libraries = [
        f"{path}:{line}: {name}"
        for path in modules("tests")
        for line, name in imported(path)
        if any(name == mock or name.startswith(f"{mock}.") for mock in MOCKS)
    ]
    replaced = [
        f"{path}:{line}: {ast.unparse(call)}"
        for path in modules("tests")
        for line, name, call in called(path)
        if name.endswith("monkeypatch.setattr") and ast.unparse(call.args[0]).replace("'", '"') not in MAY_BE_SET
    ]
    assert libraries + replaced == []


def test_each_scenario_has_a_test_named_after_it() -> None:
    """Each scenario that is promised has at least one test that bears its name."""
    names = {
        match[1]
        for path in modules("tests")
        if path.parts[1] == "scenarios"
        for test in cases_of(path)
        if (match := re.match(r"test_(s\d\d[a-z]?)_", test.name))
    }
    missing = [scenario for scenario in SCENARIOS if scenario not in names]
    assert missing == []
