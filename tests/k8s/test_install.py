"""What README and k8s/README.md tell an engineer to do is done, word by word.

The files are always rendered; the commands are carried out where there is a real API server (`--real`, or
`--cluster KUBECONFIG`).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml
from k8s.followed import NAMESPACES, ROOT, chapter, files, follow, lines
from k8s.rendered import HOME, IMAGE, K8S, by_name, of_kind, pod_of
from support.programs import output

INSTALL = chapter(ROOT / "README.md", "Install")
ONE_TEAM = chapter(K8S / "README.md", "One team, its own namespaces")


def test_the_files_of_the_chapter_install_say_what_they_should(tmp_path: Path) -> None:
    """The user's own kustomization gets the image, the policy and the identity of his into the manifests."""
    files(INSTALL, tmp_path)
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
    files(ONE_TEAM, tmp_path)
    objects = by_name(output("kubectl", "kustomize", tmp_path / "my-agent"))
    assert {namespace for _, namespace, _ in objects} == set(NAMESPACES)
    assert pod_of(objects)["spec"]["containers"][0]["args"][-1] == "--namespace=payments"


def test_the_chapter_install_can_be_followed(kubeconfig: str, tmp_path: Path) -> None:
    """From nothing to observing to healing with kubectl; and again, after all of it was deleted, with helm."""
    files(INSTALL, tmp_path)
    by_kubectl, by_helm = INSTALL.split("**With Helm**")
    done = follow(lines(by_kubectl), tmp_path, kubeconfig)
    assert done.count("kubectl apply -k my-agent") == 3
    _says_what_is_missing(tmp_path, kubeconfig)
    policies = output("kubectl", "--kubeconfig", kubeconfig, "get", "validatingadmissionpolicies", "-o", "name")
    assert f"{HOME}-heal-externalsecrets" in policies
    follow(iter(["kubectl delete -k my-agent"]), tmp_path, kubeconfig)
    values = tmp_path / "my-values.yaml"
    commands = list(lines(by_helm))
    follow(iter(commands[:-1]), tmp_path, kubeconfig)
    values.write_text(
        values.read_text().replace("policy:", "heal: true\npolicy:").replace("mode: observe", "mode: heal")
    )
    assert follow(iter(commands[-1:]), tmp_path, kubeconfig)
    follow(iter([f"helm uninstall {HOME} -n {HOME}"]), tmp_path, kubeconfig)


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
    files(ONE_TEAM, tmp_path)
    commands = [f"kubectl create namespace {HOME}", *lines(ONE_TEAM), "kubectl delete -k my-agent"]
    assert "kubectl apply -k my-agent" in follow(iter(commands), tmp_path, kubeconfig)
