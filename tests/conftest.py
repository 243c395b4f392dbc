"""Options of the suite. pytest puts this directory on the path, so that every test can import ``support``."""

from __future__ import annotations

import pytest
from support.realworld import Visit
from support.scenario import Scenario
from support.summary import table

_VISIT = pytest.StashKey[Visit]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """What takes longer than the suite should, and proves no world that the suite does not."""
    parser.addoption("--every-call", action="store_true", help="S29 kills the agent around each single call")
    parser.addoption("--real", action="store_true", help="contracts and scenarios meet a real control plane")
    parser.addoption("--cluster", metavar="KUBECONFIG", help="contracts meet this cluster, in namespaces of their own")


def pytest_configure(config: pytest.Config) -> None:
    """Scenarios make their worlds themselves."""
    Scenario.real = bool(config.getoption("--real"))


def pytest_sessionstart(session: pytest.Session) -> None:
    """A cluster that is not ours gets ESO's kinds, once for all workers, and loses at the end those that it got."""
    path = session.config.getoption("--cluster")
    if path and not hasattr(session.config, "workerinput"):
        session.config.stash[_VISIT] = Visit(path)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """What was made in a foreign cluster is taken away."""
    if visit := session.config.stash.get(_VISIT, None):
        visit.end()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Which contracts and scenarios passed on a real API server."""
    if config.getoption("--real") or config.getoption("--cluster"):
        reports = [report for kind in terminalreporter.stats.values() for report in kind]
        terminalreporter.section("on the real API server")
        for line in table(reports):
            terminalreporter.line(line)


@pytest.fixture
def every_call(request: pytest.FixtureRequest) -> bool:
    """Whether the agent is to be killed around each single call."""
    return bool(request.config.getoption("--every-call"))
