"""What may stand in the chart's values, and what helm says of the rest."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from textwrap import indent

import jsonschema
import pytest
from k8s.rendered import CLIENT, K8S
from support.programs import program

import agent.policy
from agent.policy import PolicyError, loads
from k8s.schema import build

EXAMPLE = Path(agent.policy.__file__).with_name("example.yaml")
LEAST = "apiVersion: secret-drift-agent/v1\nkind: HealPolicy\n"


def _refused(*values: str, told: Path | None = None) -> str:
    """What helm says of these values, beside an image; empty: nothing."""
    given = [argument for value in ("image.repository=x", "image.tag=v1", *values) for argument in ("--set", value)]
    files = ["--values", str(told)] if told else []
    command = [str(program("helm")), "template", "any", str(K8S / "chart"), *given, *files]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert bool(ended.stderr) == bool(ended.returncode)
    return ended.stderr


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (("image=null",), "missing property 'image'"),
        (("image.tag=null",), "at '/image/tag': got null, want string"),
        (("heel=true",), "additional properties 'heel' not allowed"),
        (("namespaces[0]=Payments",), "at '/namespaces/0': 'Payments' does not match pattern"),
        (("pushgateway.url=gateway:9091",), "at '/pushgateway/url': 'gateway:9091' does not match pattern"),
        (("pushgateway.url=http://me:pw@gateway",), "at '/pushgateway/url'"),
        (("workloadIdentity.clientId=me",), "at '/workloadIdentity/clientId': 'me' does not match pattern"),
        (("deadline=1h",), "at '/deadline': '1h' does not match pattern"),
        (("metrics=null", "monitoring=null"), "missing properties 'monitoring', 'metrics'"),
        (("pushgateway=null",), "missing property 'pushgateway'"),
        (("workloadIdentity=null",), "missing property 'workloadIdentity'"),
        (("monitoring.runbooks=null",), "at '/monitoring': missing property 'runbooks'"),
        (("networkPolicy=false",), "at '/networkPolicy': got boolean, want object"),
        (("networkPolicy=null", "managedIdentity=null"), "missing properties 'managedIdentity', 'networkPolicy'"),
        (("networkPolicy.extraEgress[0].port=80",), "at '/networkPolicy/extraEgress/0'"),
        (("extraEnv[0].name=A", "extraEnv[0].value=1"), "at '/extraEnv/0/value': got number, want string"),
        (("replicas=null",), "missing property 'replicas'"),
        (("policy=null",), "missing property 'policy'"),
        (("policy.mode=haul",), "at '/policy/mode': value must be one of 'observe', 'heal'"),
        (("policy.moed=heal",), "at '/policy': additional properties 'moed' not allowed"),
        (("policy.interval=1x",), "at '/policy/interval': '1x' does not match pattern"),
        (("policy.limits.attempts=0",), "at '/policy/limits/attempts': minimum: got 0, want 1"),
    ],
)  # fmt: skip
def test_the_schema_refuses_a_value_by_its_name(values: tuple[str, ...], said: str) -> None:
    """One that is not known, of a wrong kind, or taken away though the templates need it: helm says which, and why."""
    assert said in _refused(*values)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (("restart=true",), "restart=true rests on the rights that heal=false does not give: set both"),
        (("policy.mode=heal",), "policy.mode is heal, and heal=false gives no right to: set heal=true as well"),
        (("workloadIdentity.enabled=true",), "workloadIdentity.enabled needs workloadIdentity.clientId"),
        (("monitoring.podMonitor=true", "monitoring.serviceMonitor=true"), "set one of them"),
        (("shape=cronjob", "monitoring.podMonitor=true"), "monitoring.podMonitor needs shape: deployment"),
        (("shape=cronjob", "metrics.tlsSecret=x"), "metrics.tlsSecret needs shape: deployment"),
        (("pushgateway.url=http://gateway",), "pushgateway.url needs shape: cronjob"),
        (("pushgateway.tokenSecret=token",), "pushgateway.tokenSecret needs shape: cronjob"),
        (("workloadIdentity.enabled=true", "managedIdentity.enabled=true"), "name two identities"),
        ((f"managedIdentity.clientId={CLIENT}",), "is read with managedIdentity.enabled=true only"),
        ((r"podLabels.app\.kubernetes\.io/name=x",), "podLabels may not hold app.kubernetes.io/name"),
        (("extraArgs={--port=9}",), "extraArgs may not hold --port: probes"),
        (("extraArgs={--hos,::}",), "extraArgs may not hold --host"),
        (("extraArgs={--policy,x}",), "extraArgs may not hold --policy: use the value policy"),
        (("extraArgs={--deadline=9m}",), "extraArgs may not hold --deadline: use the value deadline"),
        (("extraArgs={--tls-key=x}",), "extraArgs may not hold --tls-key: use metrics.tlsSecret"),
        (("schedule=61 * * * *",), "schedule: 61 is no minute"),
        (("schedule=0 * 1 * 1-7",), "schedule: 1-7 is no day of the week"),
        (("schedule=0 * * *",), "has 4 fields, cron reads 5"),
    ],
)  # fmt: skip
def test_values_that_do_not_go_together_are_refused_with_what_to_do(values: tuple[str, ...], said: str) -> None:
    """A step without the one it rests on, a way of the other shape, an argument that probes do not know of: helm names
    both values."""
    told = _refused(*values)
    assert "values that cannot be meant" in told
    assert said in told


def test_every_mistake_is_told_at_once() -> None:
    """Who sets two values wrongly reads of both."""
    told = _refused("restart=true", "shape=cronjob", "monitoring.podMonitor=true")
    assert len(re.findall("^- ", told, re.MULTILINE)) == 2


@pytest.mark.parametrize(
    "values",
    [
        ("schedule=*/5 8-20 1\\,15 jan-MAR Mon\\,wed",),
        ("schedule=@daily",),
        ("extraArgs={--log-level=debug,--vault-credential=cli}",),
        ("pushgateway.url=null", "metrics.tokenSecret=null", "monitoring.labels=null", "policy.mode=null"),
        ("heal=null", "podLabels=null", "namespaces=null", "extraArgs=null", "resources=null", "tolerations=null"),
    ],
)
def test_what_can_be_meant_is_taken(values: tuple[str, ...]) -> None:
    """Every way to write a schedule, arguments that nothing else rests on, and values that are taken away."""
    assert _refused(*values) == ""


def test_the_schema_is_made_of_the_policys_own() -> None:
    """What lies in the chart is what `make monitoring` makes, and a schema of the draft that every Helm reads."""
    assert build.MADE.read_text() == build.text(), "run make monitoring"
    jsonschema.Draft7Validator.check_schema(json.loads(build.text()))


def test_a_policy_whose_schema_helm_could_not_read_is_not_written() -> None:
    """A pattern that looks ahead is told where the schema is made, not by a helm that refuses every value."""
    with pytest.raises(ValueError, match="look ahead"):
        build.for_helm({"properties": {"name": {"pattern": "^(?!x)y$"}}})


def _policy(text: str, tmp_path: Path) -> tuple[bool, str]:
    """Whether the agent takes the policy, and what helm says of it."""
    values = tmp_path / "values.yaml"
    values.write_text("heal: true\npolicy:\n" + indent(text, "  "))
    told = _refused(told=values)
    try:
        loads(text, "policy.yaml")
    except PolicyError:
        return False, told
    return True, told


@pytest.mark.parametrize(
    "text",
    [
        EXAMPLE.read_text(),
        LEAST,
        LEAST + "interval: 1m30s",
        LEAST + "vaults: [{name: abc, namespaces: ['*']}]",
        LEAST + "pause: {reason: x, until: 2026-12-01 00:00:00Z}",
    ],
    ids=["example", "least", "interval", "vault", "pause"],
)
def test_helm_takes_a_policy_that_the_agent_takes(text: str, tmp_path: Path) -> None:
    """Nobody has to write a policy in one way for the chart and in another for the agent."""
    assert _policy(text, tmp_path) == (True, "")


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("interval: ''", "/policy/interval"),
        ("vaults: [{name: ab, namespaces: ['*']}]", "/policy/vaults/0/name"),
        (f"vaults: [{{name: {'a' * 25}, namespaces: ['*']}}]", "/policy/vaults/0/name"),
        ("vaults: [{name: prod-kv, namespaces: []}]", "/policy/vaults/0/namespaces"),
        ("sync: [{namespaces: [a], steps: [restart]}]", "/policy/sync/0/steps/0"),
        ("recycle: [{namespaces: [a], canary: {log: {sucess: x}}}]", "/policy/recycle/0/canary/log"),
        ("pause: {}", "/policy/pause"),
    ],
    ids=["interval", "short", "long", "nowhere", "step", "deep", "pause"],
)
def test_helm_refuses_a_policy_that_the_agent_would_refuse(text: str, where: str, tmp_path: Path) -> None:
    """Before it is installed, at the place of the mistake, however deep that is."""
    taken, told = _policy(LEAST + text, tmp_path)
    assert not taken
    assert f"at '{where}'" in told


def test_the_chart_passes_its_own_linter() -> None:
    """helm lint finds nothing."""
    told = ["--strict", "--set", "image.repository=x,image.tag=v1"]
    ended = subprocess.run([program("helm"), "lint", K8S / "chart", *told], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout
