"""The sample for Alertmanager: it is valid, and every alert of ours finds its way."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml
from support.monitoring import program

from k8s.monitoring import build
from k8s.monitoring.alerts import ALERTS

SAMPLE = build.PLAIN.parent / "alertmanager.yaml"
RECEIVERS = {"critical": "pager", "warning": "tickets", "info": "listed"}


def sample() -> dict[str, Any]:
    """The sample, parsed."""
    found: dict[str, Any] = yaml.safe_load(SAMPLE.read_text())
    return found


def test_amtool_accepts_it() -> None:
    """As it stands, receivers included."""
    ended = subprocess.run([program("amtool"), "check-config", SAMPLE], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_each_alert_goes_to_whom_its_severity_says(alert: Any) -> None:
    """Critical ones page, warnings are tickets, the rest is listed."""
    command = [program("amtool"), "config", "routes", "test", f"--config.file={SAMPLE}"]
    labels = [f"alertname={alert.name}", f"severity={alert.severity}", "namespace=shop"]
    ended = subprocess.run([*command, *labels], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == [RECEIVERS[alert.severity]]


def test_what_is_not_ours_is_left_alone() -> None:
    """The sample's routes are put beside others."""
    command = [program("amtool"), "config", "routes", "test", f"--config.file={SAMPLE}"]
    ended = subprocess.run(
        [*command, "alertname=KubePodCrashLooping", "severity=critical"], capture_output=True, text=True
    )
    assert ended.stdout.split() == ["listed"]


def test_inhibitions_name_alerts_that_exist_and_labels_that_both_sides_have() -> None:
    """An alert that was renamed would page beside its cause."""
    names = {alert.name for alert in ALERTS}
    for rule in sample()["inhibit_rules"]:
        for matchers in (rule["source_matchers"], rule["target_matchers"]):
            (pattern,) = (re.search(r'alertname=~?"(.*)"', text) for text in matchers if "alertname" in text)
            assert pattern is not None
            meant = {name for name in names if re.fullmatch(pattern[1], name)}
            assert meant, pattern[1]
            for written in _spelled_out(pattern[1]):
                assert any(re.fullmatch(written, name) for name in names), written


def test_no_alert_silences_itself_or_its_cause() -> None:
    """Two alerts that silence each other would both be silent."""
    pairs = set()
    for rule in sample()["inhibit_rules"]:
        source, target = (
            next(re.search(r'alertname=~?"(.*)"', text) for text in rule[side] if "alertname" in text)
            for side in ("source_matchers", "target_matchers")
        )
        assert source is not None
        assert target is not None
        for a in ALERTS:
            for b in ALERTS:
                if re.fullmatch(source[1], a.name) and re.fullmatch(target[1], b.name):
                    pairs.add((a.name, b.name))
    assert not [pair for pair in pairs if pair[::-1] in pairs]


def _spelled_out(pattern: str) -> list[str]:
    """Every way to take the alternatives of a pattern: `A(B|C)D` is `ABD` and `ACD`."""
    found = re.search(r"\(([^()]*)\)", pattern)
    if found is None:
        return [pattern]
    rest = (pattern[: found.start()] + choice + pattern[found.end() :] for choice in found[1].split("|"))
    return [whole for each in rest for whole in _spelled_out(each)]
