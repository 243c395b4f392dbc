"""The examples are valid, as safe as they say, and give away no right that they do not name."""

from __future__ import annotations

import importlib.metadata
import json
import re
import shlex
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from jsonschema import Draft7Validator
from k8s.realcluster import Cluster, installed
from k8s.rendered import HOME, K8S
from support.workflow import read, steps_of

from agent.cli import parser

WORKFLOW = K8S / "examples" / "github-actions.yml"
RIGHTS = K8S / "examples" / "github-actions-rights.yml"
SCHEMA = "check_jsonschema/builtin_schemas/vendor/github-workflows.json"


def _schema() -> dict[str, Any]:
    place = importlib.metadata.distribution("check-jsonschema").locate_file(SCHEMA)
    found: dict[str, Any] = json.loads(Path(str(place)).read_text(encoding="utf-8"))
    return found


def _commands() -> list[list[str]]:
    """Each call of the agent, as the shell splits it."""
    lines = "\n".join(step.get("run", "") for step in steps_of(read(WORKFLOW))).replace("\\\n", " ").splitlines()
    found = [line.strip() for line in lines if line.strip().startswith("secret-drift-agent ")]
    return [re.split(r" (?:\|\||>)", line)[0].split()[1:] for line in found]


def test_the_workflow_is_one_that_github_takes() -> None:
    """It fits GitHub's schema of workflows, which a wrong one does not."""
    validator = Draft7Validator(_schema())
    document = read(WORKFLOW)
    assert [error.message for error in validator.iter_errors(document)] == []
    steps = document["jobs"]["heal"]["steps"]
    steps[0]["runs"] = "a misspelt key"
    assert list(validator.iter_errors(document))


def test_no_expression_is_put_into_a_shell() -> None:
    """What others type reaches a script by its environment alone, where it cannot become a command."""
    assert [step["name"] for step in steps_of(read(WORKFLOW)) if "${{" in step.get("run", "")] == []


def test_every_action_is_pinned_by_its_commit() -> None:
    """No tag, which its owner can move, decides what runs with the right to log in; a comment names the version."""
    lines = [line for line in WORKFLOW.read_text().splitlines() if "uses:" in line]
    assert len(lines) == 4
    assert [line for line in lines if not re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+(\.\d+)*$", line)] == []


def test_the_job_has_no_right_that_it_does_not_need() -> None:
    """It may read the repository and ask for a login; no secret of the repository is named; two runs never overlap."""
    document = read(WORKFLOW)
    assert document["permissions"] == {}
    assert document["jobs"]["heal"]["permissions"] == {"contents": "read", "id-token": "write"}
    assert "secrets." not in WORKFLOW.read_text()
    assert document["concurrency"]["cancel-in-progress"] is False
    deadline = document["on"]["workflow_dispatch"]["inputs"]["deadline"]["default"]
    assert int(deadline.removesuffix("m")) * 2 < document["jobs"]["heal"]["timeout-minutes"]


def test_the_workflow_calls_the_agent_as_it_wants_to_be_called() -> None:
    """Every command and every option of it exists."""
    called = _commands()
    assert [words[0] for words in called] == ["policy", "once", "scan"]
    for words in called:
        parser().parse_args(shlex.split(" ".join(words).replace('"$DEADLINE"', "10m")))


def test_the_rights_are_ones_that_kubernetes_knows() -> None:
    """Every field is in the schemas of the API."""
    for each in yaml.safe_load_all(RIGHTS.read_text()):
        kubernetes_validate.validate(each, "1.36", strict=True)


def test_the_job_may_get_a_token_of_the_agents_account_and_nothing_else(real: str) -> None:
    """In a real API server's judgement: no other account, no Secret, no pod, no Lease."""
    documents = list(yaml.safe_load_all(RIGHTS.read_text()))
    (subject,) = documents[1]["subjects"]
    me = ("-n", HOME, f"--as={subject['name']}")
    with installed(real, ()) as cluster:
        cluster.kubectl("apply", "-f", str(RIGHTS))
        cluster.soon(lambda: _tried(cluster, *me, "create", "token", HOME), "the right is in force")
        assert not _tried(cluster, *me, "create", "token", "default")
        for what in ("secrets", "pods", "configmaps", "leases", "externalsecrets.external-secrets.io"):
            assert not _tried(cluster, *me, "get", what)
        cluster.kubectl("delete", "-f", str(RIGHTS))


def _tried(cluster: Cluster, *arguments: str) -> bool:
    """Whether it is allowed; what fails for another reason than a missing right is an error."""
    try:
        cluster.kubectl(*arguments)
    except AssertionError as error:
        if " is forbidden: " not in str(error):
            raise
        return False
    return True


@pytest.mark.parametrize("link", ["examples/github-actions.yml", "examples/github-actions-rights.yml"])
def test_the_page_on_manifests_names_each_example(link: str) -> None:
    """Who looks for it finds it."""
    assert f"({link})" in (K8S / "README.md").read_text()
