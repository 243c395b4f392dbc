"""The dashboards as Grafana would read them: their panels, and each query with the variables filled in."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import promql_parser as promql
from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.registry import Collector

from agent.report.metrics import Metrics
from agent.report.once import OnceMetrics

GRAFANA = Path(__file__).parents[2] / "grafana"
NAMES = ("secret-drift", "secret-drift-cronjob", "secret-drift-team")
TARGET = frozenset({"cluster", "job", "instance", "namespace", "pod", "agent_namespace", "group"})
"""Labels that Prometheus adds to what it scrapes, and that the Pushgateway's groups have."""
Panel = dict[str, Any]


class Query(NamedTuple):
    """One query: where it stands, and what Prometheus is asked."""

    where: str
    expr: str


@functools.cache
def dashboard(name: str) -> dict[str, Any]:
    """A dashboard, as committed."""
    found: dict[str, Any] = json.loads((GRAFANA / f"{name}.json").read_text())
    return found


def panels(name: str) -> list[Panel]:
    """Its panels, without the rows."""
    return [panel for panel in dashboard(name)["panels"] if panel["type"] != "row"]


def filled(text: str, chosen: Mapping[str, str]) -> str:
    """With the variables' values in place of their names; what was not chosen is all."""
    values = {"__rate_interval": "1m", "__interval": "15s", "__range": "1h", **chosen}
    return re.sub(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))", lambda found: _value(found, values), text)


def _value(found: re.Match[str], values: Mapping[str, str]) -> str:
    name = found[1] or found[2]
    return found[0] if name.isdigit() else values.get(name, ".*")  # $1 is PromQL's own


def queries(name: str, **chosen: str) -> list[Query]:
    """Every query of its panels and annotations."""
    found = [
        Query(f"{panel['title']} {target['refId']}", filled(target["expr"], chosen))
        for panel in panels(name)
        for target in panel["targets"]
    ]
    noted = dashboard(name)["annotations"]["list"]
    return found + [Query(f"annotation {each['name']}", filled(each["target"]["expr"], chosen)) for each in noted]


def choices(name: str, **chosen: str) -> list[Query]:
    """What is asked for the choices of its variables; the label that is shown follows ``by``."""
    found = []
    for variable in dashboard(name)["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert asked, variable["query"]
            found.append(Query(f"variable {variable['name']}", filled(f"group by ({asked[2]}) ({asked[1]})", chosen)))
    return found


def nodes(expr: str) -> list[promql.Expr]:
    """All parts of a query. Raises ValueError where it is no PromQL."""
    found: list[promql.Expr] = []
    promql.walk(promql.parse(expr), pre_visit=found.append)
    return found


def selectors(expr: str) -> list[promql.VectorSelector]:
    """The series that a query asks for."""
    return [node for node in nodes(expr) if isinstance(node, promql.VectorSelector)]


class _Kept(CollectorRegistry):
    """A registry that tells what is registered with it."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[Collector] = []

    def register(self, collector: Collector) -> None:
        self.kept.append(collector)
        super().register(collector)


@functools.cache
def exported() -> dict[str, frozenset[str]]:
    """Every series' name that the agent exports -> the labels that it may have."""
    registry = _Kept()
    Metrics(registry)
    ProcessCollector(registry=registry)
    OnceMetrics(registry, 0)
    return dict(_exported(registry))


def _exported(registry: _Kept) -> Iterator[tuple[str, frozenset[str]]]:
    for collector in registry.kept:
        inside = vars(collector)
        labels = frozenset(inside.get("_labelnames") or inside.get("_labels") or ())
        for family in collector.collect():
            if family.type == "histogram":
                yield from ((f"{family.name}_{part}", labels) for part in ("sum", "count"))
                yield f"{family.name}_bucket", labels | {"le"}
            elif family.type == "info":
                yield f"{family.name}_info", labels | {label for sample in family.samples for label in sample.labels}
            else:
                yield family.name + ("_total" if family.type == "counter" else ""), labels
