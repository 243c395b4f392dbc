"""Writes what is made of `alerts.py`: the plain rules file, the PrometheusRule, and the chart's copy.

python -m k8s.monitoring.build                      # writes them
python -m k8s.monitoring.build --check              # exit 1 if they are not what would be written
python -m k8s.monitoring.build --runbooks URL       # with runbook_url at your own place
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from k8s.monitoring.alerts import GROUPS, PHRASES, Alert, Record

RUNBOOKS = "https://runbooks.example.com/secret-drift-agent"
"""Where the folder `runbooks` is to be found by whoever is paged: each team's own place."""

_K8S = Path(__file__).parents[1]
PLAIN = _K8S / "monitoring" / "rules.yaml"
OPERATOR = _K8S / "components" / "alerts" / "prometheusrule.yaml"
CHART = _K8S / "chart" / "files" / "rules.yaml"

_HEAD = "# Made by `python -m k8s.monitoring.build` from k8s/monitoring/alerts.py: change it there.\n"


class _Dumper(yaml.SafeDumper):
    """Expressions as blocks, as a person would write them."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def said(text: str) -> str:
    """A text of an alert with the phrases in place of their marks."""
    for mark, phrase in PHRASES.items():
        text = text.replace(mark, phrase)
    return text


def rule_of(rule: Record | Alert, runbooks: str = RUNBOOKS) -> dict[str, Any]:
    """One rule as Prometheus reads it."""
    if isinstance(rule, Record):
        return {"record": rule.name, "expr": rule.expr}
    made: dict[str, Any] = {"alert": rule.name, "expr": rule.expr}
    if rule.hold != "0m":
        made["for"] = rule.hold
    if rule.keep:
        made["keep_firing_for"] = rule.keep
    return made | {
        "labels": {"severity": rule.severity},
        "annotations": {
            "summary": said(rule.summary),
            "description": said(rule.description),
            "runbook_url": f"{runbooks}/{rule.name}.md",
        },
    }


def groups(runbooks: str = RUNBOOKS) -> dict[str, Any]:
    """The rules file."""
    made = [{"name": name, "rules": [rule_of(rule, runbooks) for rule in rules]} for name, rules in GROUPS.items()]
    return {"groups": made}


def prometheus_rule(runbooks: str = RUNBOOKS) -> dict[str, Any]:
    """The object of the Prometheus operator."""
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "secret-drift-agent",
            "namespace": "secret-drift-agent",
            "labels": {"app.kubernetes.io/name": "secret-drift-agent"},
        },
        "spec": groups(runbooks),
    }


def files(runbooks: str = RUNBOOKS) -> dict[Path, str]:
    """Each file with what belongs in it."""

    def dumped(what: dict[str, Any]) -> str:
        return _HEAD + yaml.dump(what, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)

    return {
        PLAIN: dumped(groups(runbooks)),
        OPERATOR: dumped(prometheus_rule(runbooks)),
        CHART: dumped(groups("RUNBOOKS")),  # the chart puts its own value in
    }


def main(what: str, made: Callable[[str], dict[Path, str]]) -> int:
    """Write files that are ``made`` with a place for the runbooks, or compare them."""
    parser = argparse.ArgumentParser(description=f"Makes {what}.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if something would change")
    parser.add_argument("--runbooks", default=RUNBOOKS, metavar="URL", help=f"default: {RUNBOOKS}")
    arguments = parser.parse_args()
    wanted = made(arguments.runbooks)
    old = {path: text for path, text in wanted.items() if not path.exists() or path.read_text() != text}
    for path, text in old.items():
        if arguments.check:
            sys.stderr.write(f"{path.relative_to(_K8S.parent)} is not what the code makes: run make monitoring\n")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return 1 if arguments.check and old else 0


if __name__ == "__main__":
    sys.exit(main("the alert rules", files))
