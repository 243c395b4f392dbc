"""Servers and connections that the contract tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from support.servers import Cluster, Vaults, cluster, vaults


@pytest.fixture
def api() -> Iterator[Cluster]:
    """A fresh API server."""
    with cluster() as running:
        yield running


@pytest.fixture
def azure() -> Iterator[Vaults]:
    """A fresh Key Vault."""
    with vaults() as running:
        yield running
