"""The dashboards are what the code makes, and ask for nothing that the agent does not export."""

from __future__ import annotations

import re
from pathlib import Path

import promql_parser as promql
import pytest
from support.dashboards import NAMES, TARGET, choices, dashboard, exported, nodes, panels, queries, selectors

from grafana.build import files
from grafana.queries import RUNBOOKS
from k8s.monitoring.alerts import ALERTS

BOOKS = Path(__file__).parents[2] / "k8s" / "monitoring" / "runbooks"


def test_the_committed_dashboards_are_what_the_code_makes() -> None:
    """Who changes a panel does so in the code, and commits what comes of it, the copies included."""
    assert [str(path) for path, text in files().items() if not path.exists() or path.read_text() != text] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_query_is_promql_and_asks_for_what_the_agent_exports(name: str) -> None:
    """Each metric is one of the agent's, each matcher and each grouping names a label that it has."""
    unknown = []
    for query in [*queries(name), *choices(name)]:
        asked = nodes(query.expr)
        had = set(TARGET)
        for selector in selectors(query.expr):
            labels = exported().get(selector.name or "", None)
            if labels is None:
                unknown.append(f"{query.where}: {selector.name}")
                continue
            had |= labels
            unknown += [
                f"{query.where}: {selector.name} has no {matcher.name}"
                for matcher in selector.matchers.matchers
                if matcher.name not in labels | TARGET
            ]
        for node in asked:
            grouped = node.modifier.labels if isinstance(node, promql.AggregateExpr) and node.modifier else []
            unknown += [f"{query.where}: nothing to group by {label}" for label in grouped if label not in had]
    assert unknown == []


@pytest.mark.parametrize("name", NAMES)
def test_every_panel_says_what_it_shows(name: str) -> None:
    """A title of its own, a sentence, and a unit."""
    titles = [panel["title"] for panel in panels(name)]
    assert len(set(titles)) == len(titles)
    assert [p["title"] for p in panels(name) if not p["description"].endswith((".", "?"))] == []
    assert [p["title"] for p in panels(name) if not p["fieldConfig"]["defaults"].get("unit")] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_panel_lies_upon_another(name: str) -> None:
    """Each cell of the grid of 24 columns belongs to one panel, and no line of it is empty."""
    cells: dict[tuple[int, int], str] = {}
    for panel in dashboard(name)["panels"]:
        at = panel["gridPos"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert cells.setdefault((x, y), panel["title"]) == panel["title"], (x, y, panel["title"])
    assert {x for x, _ in cells} == set(range(24))
    assert {y for _, y in cells} == set(range(max(y for _, y in cells) + 1))


@pytest.mark.parametrize("name", NAMES)
def test_what_links_refer_to_stays_as_it_is(name: str) -> None:
    """The uid is the file's name, panels have ids of their own, and no data source is named but by the variable."""
    found = dashboard(name)
    assert found["uid"] == name
    ids = [panel["id"] for panel in found["panels"]]
    assert len(set(ids)) == len(ids)
    sources = {target["datasource"]["uid"] for panel in panels(name) for target in panel["targets"]}
    assert sources == {"${datasource}"}


@pytest.mark.parametrize("name", NAMES)
def test_every_runbook_that_is_linked_is_there(name: str) -> None:
    """A link leads to the page that the alert itself links to."""
    links = [link["url"] for panel in panels(name) for link in panel.get("links", [])]
    assert len(links) > 10
    books = {match[1] for link in links if (match := re.fullmatch(r"\$\{runbooks:raw\}/(\w+)\.md", link))}
    assert len({*links}) == len(books)
    assert books <= {path.stem for path in BOOKS.glob("*.md")}


def test_every_drift_that_an_alert_tells_is_linked_to_the_runbook_of_that_alert() -> None:
    """The line of a drift links to the page of the alert that it will fire."""
    wrong = []
    for alert in (alert for alert in ALERTS if alert.severity != "info"):
        for selector in selectors(alert.expr):
            matchers = {matcher.name: matcher for matcher in selector.matchers.matchers}
            if selector.name != "secret_drift_drift" or "kind" not in matchers:
                continue
            causes = matchers["cause"].value.split("|") if "cause" in matchers and _equal(matchers["cause"]) else ["x"]
            for kind in matchers["kind"].value.split("|"):
                wrong += [(kind, cause, alert.name) for cause in causes if _book(kind, cause) != alert.name]
    assert wrong == []


def _equal(matcher: promql.Matcher) -> bool:
    return "!" not in str(matcher.op) and "Not" not in str(matcher.op)


def _book(kind: str, cause: str) -> str:
    return next(name for fits, name in RUNBOOKS.items() if re.fullmatch(fits, f"{kind}/{cause}"))
