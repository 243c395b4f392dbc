"""The alert rules: whole, tested, explained, and of metrics that exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from support.monitoring import program

from agent.cli import parser
from agent.pushgateway import JOB
from agent.report.metrics import Metrics
from k8s.monitoring import build
from k8s.monitoring.alerts import ALERTS

CASES = Path(__file__).parent / "rules"
RUNBOOKS = build.PLAIN.parent / "runbooks"
NAMES = [alert.name for alert in ALERTS]
SECTIONS = [
    "What it means",
    "How to look",
    "What the agent has tried",
    "What to do",
    "How to silence it rightly",
]
_PHONE = 120
"""Characters of a summary that a phone shows on its lock screen, names of a usual length included."""
_SCREEN = 45


def cases_of(name: str) -> list[dict[str, Any]]:
    """promtool's tests of one alert."""
    found: list[dict[str, Any]] = yaml.safe_load((CASES / f"{name}.yaml").read_text())["tests"]
    return found


def test_what_is_committed_is_what_the_source_makes() -> None:
    """The three files are never edited by hand."""
    for path, text in build.files().items():
        assert path.read_text() == text, f"{path}: run make monitoring"


def test_promtool_accepts_the_rules() -> None:
    """Names, expressions, templates and durations."""
    ended = subprocess.run([program("promtool"), "check", "rules", build.PLAIN], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_promtool_accepts_the_sample_of_a_prometheus(tmp_path: Path) -> None:
    """For whoever has no operator: with the rules beside it, as it says."""
    sample = yaml.safe_load((build.PLAIN.parent / "prometheus.yaml").read_text())
    assert all(job["honor_labels"] for job in sample["scrape_configs"])
    for job in sample["scrape_configs"]:
        if job.pop("kubernetes_sd_configs", None) is not None:  # Debian builds its Prometheus without them
            job["static_configs"] = [{"targets": ["localhost:8080"]}]
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(sample))
    (tmp_path / "rules.yaml").write_text(build.PLAIN.read_text())
    check = [program("promtool"), "check", "config", str(tmp_path / "prometheus.yaml")]
    ended = subprocess.run(check, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("name", NAMES)
def test_each_alert_fires_when_it_should_and_only_then(name: str, tmp_path: Path) -> None:
    """promtool plays what Prometheus would see, and compares labels and every word."""
    case = yaml.safe_load((CASES / f"{name}.yaml").read_text())
    assert [(CASES / path).resolve() for path in case["rule_files"]] == [build.PLAIN]
    # All rules at every minute of every test would take promtool a minute: it gets those that the test is about.
    committed = yaml.safe_load(build.PLAIN.read_text())["groups"]
    about = (name, None) if "ObjectiveBurns" in name else (name,)  # None: what those rest on is recorded
    wanted = [{**group, "rules": [r for r in group["rules"] if r.get("alert") in about]} for group in committed]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [group for group in wanted if group["rules"]]}))
    (tmp_path / "test.yaml").write_text(yaml.safe_dump({**case, "rule_files": ["rules.yaml"]}))
    ended = subprocess.run(
        [program("promtool"), "test", "rules", tmp_path / "test.yaml"], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("name", NAMES)
def test_each_alert_is_tested_to_fire_and_to_stay_silent(name: str) -> None:
    """A test that only sees it fire, or only sees it silent, proves nothing."""
    looks = [look for test in cases_of(name) for look in test["alert_rule_test"]]
    assert all(look["alertname"] == name for look in looks)
    assert any(look.get("exp_alerts") for look in looks)
    assert any(not look.get("exp_alerts") for look in looks)
    assert any("silent" in test["name"] or "does not resolve" in test["name"] or "ends" in test["name"]
               for test in cases_of(name))  # fmt: skip


def test_there_is_a_test_and_a_runbook_for_each_alert_and_for_nothing_else() -> None:
    """Counted, so that none is forgotten and none stays behind."""
    assert len(set(NAMES)) == len(NAMES)
    assert {path.stem for path in CASES.glob("*.yaml")} == set(NAMES)
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_runbook_is_one_screen_with_the_same_five_answers(name: str) -> None:
    """Whoever is paged finds the same order in each."""
    text = (RUNBOOKS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == SECTIONS
    assert len(text.splitlines()) <= _SCREEN
    look = text.split("## How to look")[1].split("## ")[0]
    assert "```sh" in look, "how to look is commands"
    for target in re.findall(r"\]\(([^)]+)\)", text):
        assert (RUNBOOKS / target).exists(), target


def test_every_command_of_ours_in_pages_and_runbooks_exists() -> None:
    """A command that is copied at night must not answer 'invalid choice'."""
    told = [text for alert in ALERTS for text in (build.said(alert.summary), build.said(alert.description))]
    told += [path.read_text() for path in RUNBOOKS.glob("*.md")]
    known = set(next(a for a in parser()._actions if a.choices and "scan" in a.choices).choices or ())
    words = {word for text in told for word in re.findall(r"secret-drift-agent (?!-)([a-z]+)\b(?=[ `;.\n]|$)", text)}
    commands = {"scan", "explain", "doctor", "heal", "resume", "storm", "policy", "run", "once"}
    assert words & commands
    assert (words & commands) <= known


@pytest.mark.parametrize("alert", ALERTS, ids=NAMES)
def test_each_alert_says_what_it_is_in_words_for_a_phone(alert: Any) -> None:
    """Severity, summary, description and where the runbook is."""
    rule = build.rule_of(alert)
    assert rule["labels"] == {"severity": alert.severity}
    assert alert.severity in ("critical", "warning", "info")
    assert rule["annotations"]["runbook_url"] == f"{build.RUNBOOKS}/{alert.name}.md"
    for text in rule["annotations"].values():
        assert "<" not in text, "a mark that nothing was put in for"
    for look in (look for test in cases_of(alert.name) for look in test["alert_rule_test"]):
        for fired in look.get("exp_alerts", ()):
            said = fired["exp_annotations"]
            assert len(said["summary"]) <= _PHONE + 20, said["summary"]
            assert not said["summary"].endswith(".")
            assert "  " not in said["description"]
            assert not re.search(r"<no value>|NaN|\{\{", said["summary"] + said["description"])


def test_rules_name_only_metrics_that_the_agent_exports() -> None:
    """A metric that is renamed would silence its alerts for ever."""
    registry = CollectorRegistry()
    Metrics(registry)
    exported = {sample for family in registry.collect() for sample in _samples(family)} | set(_ONCE)
    recorded = {rule["record"] for group in build.groups()["groups"] for rule in group["rules"] if "record" in rule}
    for group in build.groups()["groups"]:
        for rule in group["rules"]:
            text = rule["expr"] + "".join(rule.get("annotations", {}).values())
            named = set(re.findall(r"\b(secret_drift_\w+|secret_drift:\w+(?::\w+)*)", text))
            assert named <= exported | recorded, named - exported - recorded


def test_every_expression_of_the_agents_own_state_leaves_the_cronjobs_out() -> None:
    """What it pushed is that of its last run: it leads, and compares, no more."""
    for alert in ALERTS:
        if "secret_drift_leader" in alert.expr:
            assert f'job!="{JOB}"' in alert.expr, alert.name


def _samples(family: Any) -> list[str]:
    if family.type == "counter":
        return [f"{family.name}_total"]
    if family.type == "histogram":
        return [f"{family.name}{end}" for end in ("_bucket", "_sum", "_count")]
    return [f"{family.name}_info" if family.type == "info" else family.name]


_ONCE = [
    f"secret_drift_once_{name}"
    for name in ("last_success_timestamp_seconds", "duration_seconds", "deadline_seconds", "exit_code")
]
