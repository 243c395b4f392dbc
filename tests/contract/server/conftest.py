"""The API servers that every contract here is held against: the sandbox's, and with ``--real`` a real one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from support.apiservers import ApiServerWorld, embedded, foreign, real


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test that asks for a server runs on the sandbox's, and on a real one if one was named."""
    if "server_kind" in metafunc.fixturenames:
        with_real = metafunc.config.getoption("--real") or metafunc.config.getoption("--cluster")
        metafunc.parametrize("server_kind", ["sandbox", *(["real"] if with_real else [])], scope="package")


@pytest.fixture(scope="package")
def world(server_kind: str, request: pytest.FixtureRequest) -> Iterator[ApiServerWorld]:
    """A running API server with nodes and controllers, for as long as these tests run."""
    kubeconfig = request.config.getoption("--cluster")
    with ExitStack() as stack:
        if server_kind == "sandbox":
            yield stack.enter_context(embedded())
        elif kubeconfig:
            yield stack.enter_context(foreign(kubeconfig))
        else:
            yield stack.enter_context(real())


@pytest.fixture
def server(world: ApiServerWorld) -> Iterator[ApiServerWorld]:
    """The same with a namespace of its own for the test."""
    with world.fresh_namespace():
        yield world
