"""The collector rests while much is made that stays, and runs again afterwards."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from agent import garbage


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Give the test's process back its collector."""
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.enable()
    gc.unfreeze()


def test_it_rests_until_it_is_told_to_go_on() -> None:
    """Between the two nothing is collected; after them what was there is out of its sight, and it runs seldom."""
    garbage.rest()
    assert not gc.isenabled()
    garbage.resume()
    assert gc.isenabled()
    assert gc.get_threshold() == garbage.SELDOM
    assert gc.get_freeze_count() > 0


def test_what_comes_later_is_still_collected() -> None:
    """A cycle made after the pause is found."""
    garbage.resume()
    cycle: list[object] = []
    cycle.append(cycle)
    gc.collect()
    del cycle
    assert gc.collect() >= 1


def test_at_the_end_nothing_is_left_to_take_apart() -> None:
    """Leaving puts all there is out of the collector's sight."""
    garbage.leave()
    assert len(gc.get_objects()) < gc.get_freeze_count()
