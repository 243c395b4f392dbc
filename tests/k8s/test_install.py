"""What README and k8s/README.md tell an engineer to do is done, word by word.

The files are always rendered; the commands are carried out where there is a real API server (`--real`, or
`--cluster KUBECONFIG`).
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from k8s.realcluster import alone
from k8s.rendered import HOME, IMAGE, K8S, by_name, of_kind, pod_of
from support.programs import output, program

ROOT = K8S.parent
NAMESPACES = (HOME, "payments")
NOT_HERE = ("rollout status",)
"""Waits for pods, which run only where there are nodes and the image."""


def _chapter(page: Path, title: str) -> str:
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page.read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{page.name} has no chapter {title}"
    return found[1]


INSTALL = _chapter(ROOT / "README.md", "Install")
ONE_TEAM = _chapter(K8S / "README.md", "One team, its own namespaces")


def _files(text: str, place: Path) -> None:
    """Each block of YAML, under the name in its first line, beside the manifests."""
    (place / "k8s").symlink_to(K8S)
    for name, content in re.findall(r"^```yaml\n# (\S+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(content)


def _lines(text: str) -> Iterator[str]:
    return (line.strip() for line in text.splitlines() if line.startswith("    "))


def _follow(lines: Iterator[str], place: Path, kubeconfig: str) -> list[str]:
    """Carry out the commands, and the edits that are noted between them as `# FILE: key: value`."""
    done = []
    for line in lines:
        if edit := re.fullmatch(r"# (\S+\.yaml): (\w+:.*)", line):
            path = place / edit[1]
            path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | yaml.safe_load(edit[2])))
        elif re.match(r"kubectl|helm|secret-drift-agent", line) and not any(each in line for each in NOT_HERE):
            name, *arguments = shlex.split(line)
            command = [sys.executable, "-m", "agent"] if name == HOME else [str(program(name))]
            settings = {**os.environ, "KUBECONFIG": kubeconfig, "PYTHONPATH": str(ROOT)}
            ended = subprocess.run(
                [*command, *arguments], cwd=place, env=settings, capture_output=True, text=True, check=False, timeout=90
            )
            assert ended.returncode == 0, f"{line}\n{ended.stdout}{ended.stderr}"
            done.append(line)
    return done


@pytest.fixture
def kubeconfig(real: str) -> Iterator[str]:
    """The cluster to install in, in which the agent is not; it is left as it was."""
    kubectl = [str(program("kubectl")), "--kubeconfig", real]
    label = f"app.kubernetes.io/name={HOME}"
    kinds = "clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings"
    with alone(real):
        there = subprocess.run(
            [*kubectl, "get", "namespace", *NAMESPACES, "-o", "name"], capture_output=True, check=False
        )
        assert not there.stdout, f"there already: {there.stdout!r}; these tests install the agent themselves"
        try:
            subprocess.run([*kubectl, "create", "namespace", "payments"], capture_output=True, check=True)
            yield real
        finally:
            subprocess.run([*kubectl, "delete", kinds, "-l", label], capture_output=True, check=False)
            gone = [*kubectl, "delete", "namespace", "--ignore-not-found", *NAMESPACES]
            subprocess.run(gone, capture_output=True, check=False)
            unlabel = [*kubectl, "label", "namespace", "kube-system", "secret-drift-agent/off-limits-"]
            subprocess.run(unlabel, capture_output=True, check=False)


def test_the_files_of_the_chapter_install_say_what_they_should(tmp_path: Path) -> None:
    """The user's own kustomization gets the image, the policy and the identity of his into the manifests."""
    _files(INSTALL, tmp_path)
    objects = by_name(output("kubectl", "kustomize", tmp_path / "my-agent"))
    assert pod_of(objects)["spec"]["containers"][0]["image"] == f"{IMAGE}:0.1.0"
    (policy,) = of_kind(objects, "ConfigMap")
    assert yaml.safe_load(policy["data"]["policy.yaml"])["vaults"]
    (account,) = of_kind(objects, "ServiceAccount")
    assert not account["metadata"]["annotations"]["azure.workload.identity/client-id"].startswith("0000")
    by_chart = output("helm", "template", "x", K8S / "chart", "-n", HOME, "-f", tmp_path / "my-values.yaml")
    assert set(by_name(by_chart)) == set(objects) - {("Namespace", "", HOME)}


def test_the_files_for_a_team_of_its_own_say_what_they_should(tmp_path: Path) -> None:
    """Nothing of the cluster's, rights in the team's namespace, and an agent that is told so."""
    _files(ONE_TEAM, tmp_path)
    objects = by_name(output("kubectl", "kustomize", tmp_path / "my-agent"))
    assert {namespace for _, namespace, _ in objects} == set(NAMESPACES)
    assert pod_of(objects)["spec"]["containers"][0]["args"][-1] == "--namespace=payments"


def test_the_chapter_install_can_be_followed(kubeconfig: str, tmp_path: Path) -> None:
    """From nothing to observing to healing with kubectl; and again, after all of it was deleted, with helm."""
    _files(INSTALL, tmp_path)
    by_kubectl, by_helm = INSTALL.split("**With Helm**")
    done = _follow(_lines(by_kubectl), tmp_path, kubeconfig)
    assert done.count("kubectl apply -k my-agent") == 3
    _says_what_is_missing(tmp_path, kubeconfig)
    policies = output("kubectl", "--kubeconfig", kubeconfig, "get", "validatingadmissionpolicies", "-o", "name")
    assert f"{HOME}-heal-externalsecrets" in policies
    _follow(iter(["kubectl delete -k my-agent"]), tmp_path, kubeconfig)
    values = tmp_path / "my-values.yaml"
    commands = list(_lines(by_helm))
    _follow(iter(commands[:-1]), tmp_path, kubeconfig)
    values.write_text(
        values.read_text().replace("policy:", "heal: true\npolicy:").replace("mode: observe", "mode: heal")
    )
    assert _follow(iter(commands[-1:]), tmp_path, kubeconfig)
    _follow(iter([f"helm uninstall {HOME} -n {HOME}"]), tmp_path, kubeconfig)


def _says_what_is_missing(place: Path, kubeconfig: str) -> None:
    """`doctor`, as the chapter gives it: a line for each right and bound, and that no store names a vault here."""
    (command,) = re.findall(r"`secret-drift-agent (doctor --policy \S+)`", INSTALL)
    settings = {**os.environ, "KUBECONFIG": kubeconfig, "PYTHONPATH": str(ROOT)}
    told = subprocess.run(
        [sys.executable, "-m", "agent", *command.split()], cwd=place, env=settings, capture_output=True, text=True,
        check=False, timeout=90,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    assert re.search(r"ok +force-sync +patch externalsecrets", told.stdout)
    assert re.search(rf"ok +admission +in force: .*{HOME}-heal-externalsecrets", told.stdout)
    assert re.search(r"note +prod-kv +in the policy, but no SecretStore in reach names it", told.stdout)


def test_a_team_can_install_in_its_own_namespace(kubeconfig: str, tmp_path: Path) -> None:
    """With the agent's Namespace there, the page's files and commands do; taking a right away is one more."""
    _files(ONE_TEAM, tmp_path)
    lines = [f"kubectl create namespace {HOME}", *_lines(ONE_TEAM), "kubectl delete -k my-agent"]
    assert "kubectl apply -k my-agent" in _follow(iter(lines), tmp_path, kubeconfig)
