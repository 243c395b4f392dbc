"""What k8s/README.md says of going back, of taking rights away and of changing how the agent is installed.

The commands are carried out where there is a real API server (`--real`, or `--cluster KUBECONFIG`).
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import yaml
from k8s.followed import chapter, follow, lines
from k8s.rendered import HOME, IMAGE, K8S, chart, of_kind
from support.programs import output

from agent.ledger import KEY_NAME
from agent.ledger.keys import LABELS
from agent.ledger.shards import FORMAT
from agent.pushgateway import JOB

UPKEEP = chapter(K8S / "README.md", "Upgrade, rollback, uninstall")
LEDGER = "secret-drift-agent-ledger-heals-0"


def _part(title: str) -> list[str]:
    """The commands after these bold words, up to the next ones."""
    found = re.search(rf"\*\*{title}.*?\*\*(.*?)(?=^\*\*|\Z)", UPKEEP, re.MULTILINE | re.DOTALL)
    assert found, title
    return list(lines(found[1]))


def _values(place: Path, tag: str = "0.1.0", **more: object) -> None:
    values = {"image": {"repository": IMAGE, "tag": tag}, "heal": True, **more}
    (place / "my-values.yaml").write_text(yaml.safe_dump(values))
    if not (place / "k8s").exists():
        (place / "k8s").symlink_to(K8S)


def _here(kubeconfig: str, *what: str) -> list[str]:
    """The names of what is there."""
    return output("kubectl", "--kubeconfig", kubeconfig, "-n", HOME, "get", *what, "-o", "name").split()


def _remember(kubeconfig: str, word: str) -> Iterator[str]:
    """Commands by which a ledger is written, labelled as the agent's own."""
    marks = " ".join(f"{key}={value}" for key, value in LABELS.items())
    if not _here(kubeconfig, "secrets", "-l", "app.kubernetes.io/component=ledger"):
        for kind, name in (("secret generic", KEY_NAME), ("configmap", LEDGER)):
            yield f"kubectl -n {HOME} create {kind} {name} --from-literal=entries={word}"
            yield f"kubectl -n {HOME} label {kind.split()[0]} {name} {marks}"
    else:
        yield f"""kubectl -n {HOME} patch configmap {LEDGER} -p '{{"data":{{"entries":"{word}"}}}}'"""


def _remembered(kubeconfig: str) -> str:
    told = output("kubectl", "--kubeconfig", kubeconfig, "-n", HOME, "get", "configmap", LEDGER, "-o", "json")
    assert f"secret/{KEY_NAME}" in _here(kubeconfig, "secrets"), "without its key a ledger is of no use"
    return str(json.loads(told)["data"]["entries"])


def test_a_former_version_can_be_gone_back_to_with_its_ledger(kubeconfig: str, tmp_path: Path) -> None:
    """What was saved before an upgrade is there again, key and all, and the old version runs on it."""
    save, *back = _part("Rollback")
    install = [line for line in _part("From kustomize to Helm") if "delete" not in line and "ledger" not in line]
    _values(tmp_path)
    follow(iter(install), tmp_path, kubeconfig)
    follow(_remember(kubeconfig, "old"), tmp_path, kubeconfig)
    follow(iter([save]), tmp_path, kubeconfig)
    _values(tmp_path, "0.2.0")
    upgrade = f"helm upgrade {HOME} k8s/chart -n {HOME} -f my-values.yaml"
    follow(iter([upgrade, *_remember(kubeconfig, "new")]), tmp_path, kubeconfig)
    follow(iter(back), tmp_path, kubeconfig)
    assert _remembered(kubeconfig) == "old"
    image = "jsonpath={.spec.template.spec.containers[0].image}"
    told = output("kubectl", "--kubeconfig", kubeconfig, "-n", HOME, "get", "deployment", HOME, "-o", image)
    assert told == f"{IMAGE}:0.1.0"


def test_rights_can_be_taken_away_and_the_shape_changed(kubeconfig: str, tmp_path: Path) -> None:
    """One command leaves no right to heal and a policy that only looks; the other shape leaves nothing of the first."""
    install = [line for line in _part("From kustomize to Helm") if "delete" not in line and "ledger" not in line]
    push = {"url": "http://gateway.monitoring.svc:9091"}
    _values(tmp_path, restart=True, shape="cronjob", pushgateway=push, policy={"mode": "heal"})
    follow(iter(install), tmp_path, kubeconfig)
    follow(iter(_part("Taking rights away")), tmp_path, kubeconfig)
    roles = _here(kubeconfig, "clusterroles", "-l", f"app.kubernetes.io/name={HOME}")
    assert not any("heal" in role or "restart" in role for role in roles)
    _values(tmp_path)
    follow(iter([f"helm upgrade {HOME} k8s/chart -n {HOME} -f my-values.yaml"]), tmp_path, kubeconfig)
    left = _here(kubeconfig, "cronjobs,deployments,networkpolicies")
    assert left == [f"deployment.apps/{HOME}", f"networkpolicy.networking.k8s.io/{HOME}"]


def test_a_cronjob_of_kustomizes_leaves_nothing_behind(kubeconfig: str, tmp_path: Path) -> None:
    """What `kubectl apply` does not remove, the page's command does."""
    _values(tmp_path)
    (tmp_path / "my-agent").mkdir()
    mine = tmp_path / "my-agent" / "kustomization.yaml"
    both = "resources: [../k8s/overlays/{0}]\ncomponents: [{1}]\n"
    mine.write_text(both.format("cronjob", "../k8s/components/pushgateway"))
    follow(iter(["kubectl apply -k my-agent"]), tmp_path, kubeconfig)
    mine.write_text(both.format("deployment", ""))
    follow(iter(["kubectl apply -k my-agent", *_part("From CronJob to Deployment")]), tmp_path, kubeconfig)
    left = _here(kubeconfig, "cronjobs,deployments,networkpolicies")
    assert left == [f"deployment.apps/{HOME}", f"networkpolicy.networking.k8s.io/{HOME}"]


def test_helm_takes_over_from_kustomize_with_the_ledger(kubeconfig: str, tmp_path: Path) -> None:
    """It installs where kustomize has been, and what was remembered there is known."""
    _values(tmp_path)
    (tmp_path / "my-agent").mkdir()
    (tmp_path / "my-agent" / "kustomization.yaml").write_text("resources: [../k8s/overlays/deployment]\n")
    follow(iter(["kubectl apply -k my-agent"]), tmp_path, kubeconfig)
    follow(_remember(kubeconfig, "former"), tmp_path, kubeconfig)
    follow(iter([*_part("Rollback")[:1], *_part("From kustomize to Helm")]), tmp_path, kubeconfig)
    assert _remembered(kubeconfig) == "former"
    assert f"deployment.apps/{HOME}" in _here(kubeconfig, "deployments")


def test_the_values_that_take_rights_away_are_taken() -> None:
    """Whatever was given before: nothing is granted but to look, and the policy says so."""
    (command,) = _part("Taking rights away")
    given = shlex.split(command)
    sets = given[given.index("--set") :]
    objects = chart("deployment", ("heal", "restart", "recreate"), (), "--set", "policy.mode=heal", *sets)
    names = {each["metadata"]["name"] for each in of_kind(objects, "ClusterRole")}
    assert names == {f"{HOME}-observe", f"{HOME}-observe-cluster"}
    (policy,) = of_kind(objects, "ConfigMap")
    assert yaml.safe_load(policy["data"]["policy.yaml"])["mode"] == "observe"


def test_the_page_speaks_of_the_ledger_and_of_the_group_as_the_agent_does() -> None:
    """The label by which a ledger is saved, the format that is there now, and the group that runs push to."""
    assert f"app.kubernetes.io/component={LABELS['app.kubernetes.io/component']}" in UPKEEP
    assert f"this version reads {FORMAT}`" in UPKEEP
    assert f"/metrics/job/{JOB}/agent_namespace/{HOME}" in UPKEEP
