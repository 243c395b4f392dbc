"""Options of the suite. pytest puts this directory on the path, so that every test can import ``support``."""

from __future__ import annotations

import pytest
from support.scenario import Scenario


def pytest_addoption(parser: pytest.Parser) -> None:
    """What takes longer than the suite should, and proves no world that the suite does not."""
    parser.addoption("--every-call", action="store_true", help="S29 kills the agent around each single call")
    parser.addoption("--real", action="store_true", help="contracts and scenarios meet a real control plane")
    parser.addoption("--cluster", metavar="KUBECONFIG", help="contracts meet this cluster, in namespaces of their own")


def pytest_configure(config: pytest.Config) -> None:
    """Scenarios make their worlds themselves."""
    Scenario.real = bool(config.getoption("--real"))


@pytest.fixture
def every_call(request: pytest.FixtureRequest) -> bool:
    """Whether the agent is to be killed around each single call."""
    return bool(request.config.getoption("--every-call"))
