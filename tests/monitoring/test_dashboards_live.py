"""Each query of each dashboard, asked of a real Prometheus that watched the real agent while stories were played."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.dashboards import NAMES, choices, filled, panels, queries, selectors
from support.stories import CLUSTER, PAYMENTS, Part, Played, played

CHOSEN = {"cluster": CLUSTER}
NO_AGENT = -1000.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def seen() -> Iterator[Played]:
    """The play, once for all dashboards."""
    with played() as done:
        yield done


@pytest.mark.parametrize("name", NAMES)
def test_each_query_and_each_series_that_it_asks_for_shows_something_at_some_moment(name: str, seen: Played) -> None:
    """No panel is empty for ever: what it asks for came, by the very labels that it asks for."""
    chosen = {**CHOSEN, **({"namespace": PAYMENTS} if name.endswith("team") else {})}
    part = seen.running if name.endswith("cronjob") else seen.following
    silent = [
        f"{query.where}: {asked}"
        for query in [*queries(name, **chosen), *choices(name, **chosen)]
        for asked in (query.expr, *(selector.prettify() for selector in selectors(query.expr)))
        if not seen.values(asked, part)
    ]
    assert not silent, "\n".join(silent)


def test_the_one_number_is_zero_only_while_somebody_sees_that_nothing_is_wrong(seen: Played) -> None:
    """It counts what drifts and what cannot be read; without anybody who looks it says so, and is no zero."""
    numbers = _one("secret-drift", seen, seen.following)
    at_first = next(number for number in numbers if number != NO_AGENT)  # of the time before the first scrape
    assert at_first == 0  # a world at rest
    assert numbers[-1] == 5  # three workloads, one failed sync, and a vault that the agent cannot read
    assert _one("secret-drift", seen, seen.running)[-1] == NO_AGENT
    before_any_run, *_, at_last = _one("secret-drift-cronjob", seen, seen.running)
    assert before_any_run == NO_AGENT
    assert at_last > 5
    assert _one("secret-drift-team", seen, seen.following)[-1] == 2


def _one(name: str, seen: Played, part: Part) -> list[float]:
    """The number over time."""
    (panel,) = (panel for panel in panels(name) if panel["title"] == "Is anything wrong now?")
    chosen = {**CHOSEN, **({"namespace": PAYMENTS} if name.endswith("team") else {})}
    ((_, values),) = seen.values(f"sum({filled(panel['targets'][0]['expr'], chosen)})", part)
    return [value for _, value in values]
