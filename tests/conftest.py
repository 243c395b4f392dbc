"""Options of the suite. pytest puts this directory on the path, so that every test can import ``support``."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.eso import TRUST
from support.guest import Guest, Refused, Visit
from support.rights import Judgement, World, judge
from support.scenario import Scenario
from support.spread import is_long, spread, together
from support.summary import table
from support.tunnel import PORT

from agent.sandbox.pki import keep

_VISIT = pytest.StashKey[Visit]()
_JUDGED = pytest.StashKey[Judgement]()
_RIGHTS = "rights"
"""By this name a test's report carries what its agents asked for to the process that joins them all."""
_KEPT = "rights/worlds"
"""Of the last run of all scenarios: for one that tries once more what failed in it."""
_SCENARIOS = Path(__file__).parent / "scenarios"
_SOME_ONLY = ("keyword", "markexpr", "deselect", "lf", "maxfail")
"""Options by which a run is not of all tests. What `--short` leaves out uses no rule that the others do not."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """What takes longer than the suite should, and proves no world that the suite does not."""
    parser.addoption("--every-call", action="store_true", help="S29 kills the agent around each single call")
    parser.addoption("--short", action="store_true", help="leaves out what takes most of a minute or more")
    parser.addoption("--real", action="store_true", help="contracts and scenarios meet a real control plane")
    parser.addoption("--cluster", metavar="KUBECONFIG", help="contracts and scenarios meet this cluster, as its guests")
    parser.addoption("--eso", choices=("ours", "real"), default="ours", help="who plays ESO in that cluster")
    parser.addoption("--address", default="127.0.0.1", help="where the cluster finds this machine (127.0.0.1)")


def pytest_configure(config: pytest.Config) -> None:
    """Scenarios make their worlds themselves."""
    path = config.getoption("--cluster")
    Scenario.real = bool(config.getoption("--real") or path)
    real_eso = _eso_is_real(config)
    if real_eso and not path:
        raise pytest.UsageError("--eso real: name the cluster in which it works by --cluster KUBECONFIG")
    if not path:
        return
    if not (hasattr(config, "workerinput") or config.getoption("collectonly")):
        config.stash[_VISIT] = _visit(config, path)
        config.add_cleanup(config.stash[_VISIT].end)
    if real_eso:
        keep(TRUST)
    Scenario.around = staticmethod(partial(Guest, path, address=config.getoption("--address"), eso=real_eso))


def _visit(config: pytest.Config, path: str) -> Visit:
    """A cluster that is not ours gets what the tests need, once for all processes, and loses it at the end."""
    scenarios = _plays_scenarios(config)
    if scenarios and (config.getoption("numprocesses", None) or 0) > 1:
        raise pytest.UsageError("scenarios meet a cluster one after another: leave -n out")
    try:
        return Visit(path, scenarios=scenarios, eso=_eso_is_real(config))
    except Refused as refusal:
        raise pytest.UsageError(str(refusal)) from None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported and collected stays to the end: the garbage collector need not look at it, now or ever."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long tests are begun first, where there are several processes: none waits for one that began last."""
    if config.getoption("--short"):
        for item in items:
            if is_long(item) and short.__name__ not in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason="takes most of a minute or more: left out by --short"))
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    if processes > 1:
        long = [item for item in items if is_long(item)]
        others = [item for item in items if not is_long(item)]
        items[:] = spread(together(long), others, processes)


def pytest_report_header(config: pytest.Config) -> str | None:
    """Which External Secrets Operator the scenarios have, where it is none of ours."""
    if not _eso_is_real(config) or (visit := config.stash.get(_VISIT, None)) is None:
        return None
    version = visit.eso_version() or "not told by any Deployment"
    address = config.getoption("--address")
    return f"External Secrets Operator: real, version {version}; vault: the sandbox's, by {address}:{PORT}"


def _eso_is_real(config: pytest.Config) -> bool:
    return bool(config.getoption("--eso") == "real")


@pytest.fixture(autouse=True)
def _rights(request: pytest.FixtureRequest) -> Iterator[None]:
    """What the agents of a test asked of a real API server goes into its report."""
    yield
    for installed, asked in Scenario.compared:
        request.node.user_properties.append((_RIGHTS, World(request.node.name, installed, asked).plain()))
    Scenario.compared.clear()


def _paths(config: pytest.Config) -> list[Path]:
    return [(config.invocation_params.dir / argument.partition("::")[0]).resolve() for argument in config.args]


def _plays_scenarios(config: pytest.Config) -> bool:
    """Whether any scenario was asked for."""
    return any(path.is_relative_to(_SCENARIOS) or _SCENARIOS.is_relative_to(path) for path in _paths(config))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run in which rights and requests do not agree has failed."""
    config = session.config
    worlds, whole = list(_worlds(config)), _is_whole(config)
    if not worlds:
        return
    cache: pytest.Cache | None = getattr(config, "cache", None)  # none where pytest was told to keep nothing
    if cache and whole:
        cache.set(_KEPT, [world.plain() for world in worlds])
    if cache and config.getoption("lf") and _is_whole(config, but_for="lf"):
        again = {world.test for world in worlds}  # what failed in a whole run: all the rest of that run counts as well
        kept = [World.read(plain) for plain in cache.get(_KEPT, [])]
        worlds, whole = [*worlds, *(world for world in kept if world.test not in again)], bool(kept)
    judged = config.stash[_JUDGED] = judge(worlds, whole=whole)
    if judged.wrong and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _worlds(config: pytest.Config) -> Iterator[World]:
    """Those of all processes, told by the reports that have come together here."""
    terminal: Any = config.pluginmanager.get_plugin("terminalreporter")
    for report in (each for kind in (terminal.stats.values() if terminal else ()) for each in kind):
        if getattr(report, "when", "") == "teardown":
            yield from (World.read(plain) for name, plain in report.user_properties if name == _RIGHTS)


def _is_whole(config: pytest.Config, but_for: str = "") -> bool:
    """Whether all scenarios were asked for, one option apart."""
    some_only = any(config.getoption(name, None) for name in (*_SOME_ONLY, "cluster") if name != but_for)
    return not some_only and any(_SCENARIOS.is_relative_to(path) for path in _paths(config))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Which contracts and scenarios passed on a real API server."""
    if config.getoption("--real") or config.getoption("--cluster"):
        reports = [report for kind in terminalreporter.stats.values() for report in kind]
        terminalreporter.section("on the real API server")
        for line in table(reports):
            terminalreporter.line(line)
    if judged := config.stash.get(_JUDGED, None):
        terminalreporter.section("what the agent was granted, and what it asked for")
        for line in (*judged.table, *(f"WRONG {line}" for line in judged.wrong)):
            terminalreporter.line(line)


@pytest.fixture
def every_call(request: pytest.FixtureRequest) -> bool:
    """Whether the agent is to be killed around each single call."""
    return bool(request.config.getoption("--every-call"))


@pytest.fixture
def short(request: pytest.FixtureRequest) -> bool:
    """Whether a test that could take minutes is to do its least: whoever asks is not left out by `--short`."""
    return bool(request.config.getoption("--short"))
