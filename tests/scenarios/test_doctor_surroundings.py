"""`doctor` tells of the policy, the ledger, the clocks; it writes nothing, and says it briefly or as a document."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from support.doctoring import controller, doctor, webhook
from support.scenario import Scenario
from support.terminal import at_terminal

from agent.sandbox import builders as b
from agent.sandbox.apiserver.access import ForbidRule
from agent.sandbox.world import AGENT_NAMESPACE

sys.path.append(str(Path(__file__).parents[1] / "unit"))
from schema_check import violations

NS, KV = "shop", "prod-kv"


def chain(s: Scenario) -> None:
    """One chain that ESO has synced."""
    s.rotate(KV, "api-key", "value-one")
    s.apply(b.secret_store(KV, NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}))
    s.external_secret_ready(NS, "app-secrets")


def quota(hard: dict[str, str]) -> dict[str, Any]:
    """A ResourceQuota in the agent's own namespace."""
    meta = {"name": "tight", "namespace": AGENT_NAMESPACE}
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": hard}}


def test_nothing_is_written_but_trials_that_are_not_kept() -> None:
    """All that changes anything is a dry-run or a review, in the own namespace, too; the world is as it was."""
    with Scenario() as s:
        chain(s)
        s.policy(sync={"steps": ["force-sync", "recreate"]})
        before = [s.objects(kind) for kind in ("Secret", "ConfigMap", "ExternalSecret", "Event", "Lease")]

        assert doctor(s).code == 0

        audit = [e for e in s.call(lambda: list(s.sandbox.api.audit)) if e.user == "agent"]
        writes = [e for e in audit if e.verb not in ("get", "list", "watch") and not e.resource.endswith("reviews")]
        assert [(e.verb, e.resource, e.dry_run) for e in writes] == [
            ("patch", "externalsecrets", True), ("create", "configmaps", True), ("create", "secrets", True),
        ]  # fmt: skip
        assert [s.objects(kind) for kind in ("Secret", "ConfigMap", "ExternalSecret", "Event", "Lease")] == before


def test_the_document_fits_its_published_schema() -> None:
    """Whatever the lines, they are as the schema says, and have no field that it does not name."""
    with Scenario() as s:
        chain(s)
        s.seed(controller("ghcr.io/external-secrets/external-secrets:v2.9.0"), webhook())
        s.policy()
        s.call(s.sandbox.api.forbid.append, ForbidRule(user="agent", verb="patch", resource="externalsecrets"))

        told = doctor(s)

        from agent.doctor.telling import SCHEMA, json_schema

        assert told.document["schema"] == SCHEMA
        assert violations(told.document, json_schema()) == []
        assert told.document["mode"] == "heal"
        assert told.document["summary"]["errors"] == 1


def test_at_a_terminal_no_line_is_wider_than_it_but_a_command_to_copy() -> None:
    """Prose is wrapped under its column; a command stands alone on its line, whole."""
    with Scenario() as s:
        chain(s)
        path = s.policy()
        s.call(s.sandbox.api.forbid.append, ForbidRule(user="agent", verb="patch", resource="externalsecrets"))

        shown = at_terminal({**s.environment, "COLUMNS": "100"}, "doctor", "--policy", str(path)).splitlines()

        commands = [line.strip() for line in shown if line.startswith("      $ ")]
        assert [command.split()[:4] for command in commands] == [
            ["$", "kubectl", "create", "clusterrole"], ["$", "kubectl", "create", "clusterrolebinding"],
        ]  # fmt: skip
        assert [line for line in shown if len(line) > 100 and not line.startswith("      $ ")] == []
        assert shown[0] == "API server"
        assert shown[-1].startswith("1 error, ")
        assert shown[-1].endswith(": something is to be done")


def test_every_mistake_of_the_policy_is_a_line_and_the_rest_is_judged_for_the_default() -> None:
    """A rule that can never match is one of them; the exit code is 2."""
    with Scenario() as s:
        chain(s)
        rules = [{"namespaces": ["*"], "steps": ["force-sync"]}, {"namespaces": ["shop"], "steps": ["force-sync"]}]
        path = s.policy(sync=rules, mode="maybe")

        told = doctor(s)

        said = [each["said"] for each in told.lines("policy") if each["state"] == "error"]
        assert told.code == 2
        assert len(said) == 2
        assert all(each.startswith(f"{path}:") for each in said)
        assert any("this rule is never reached" in each for each in said)
        assert told.document["mode"] == "observe"
        assert told.line("rights", "read Secrets")["state"] == "ok"


def test_what_a_policy_leaves_undone_is_told() -> None:
    """Rules that match no namespace here, a pause, no vaults: a note or a warning each."""
    with Scenario() as s:
        chain(s)
        s.policy(recycle=[{"namespaces": ["nowhere-*"]}], pause={"reason": "migration"})

        told = doctor(s)

        assert told.line("policy", "rules")["said"] == "recycle[0] matches no namespace of this cluster (nowhere-*)"
        assert told.line("policy", "pause")["said"] == "nothing is written: migration"
        assert told.lines("rights", "recycle") == []
        assert told.code == 0

        s.policy({"apiVersion": "secret-drift-agent/v1", "kind": "HealPolicy", "mode": "heal"})
        states = [(each["name"], each["state"]) for each in doctor(s).lines("policy")]
        assert states == [("file", "ok"), ("rules", "note"), ("vaults", "warning")]


def test_a_clock_of_this_machine_that_is_off_is_a_warning() -> None:
    """Nothing is decided by it, but tokens and certificates are judged by it."""
    with Scenario() as s:
        s.policy(margins={"vault": "30s"})
        assert doctor(s).line("API server", "clocks")["state"] == "ok"
        s.advance(600)

        told = doctor(s)

        line = told.line("API server", "clocks")
        assert (line["state"], told.code) == ("warning", 0)
        assert "this machine: 600 s behind the API server's clock, more than the margin of 30 s" in line["said"]


def test_the_ledger_is_told_as_it_is() -> None:
    """Nothing yet, key and ledger, a ledger without its key, and what may not be read."""
    with Scenario() as s:
        chain(s)
        s.policy()
        assert "the next run is a first look" in doctor(s).line("ledger", "contents")["said"]

        assert s.once().code == 0
        line = doctor(s).line("ledger", "contents")
        assert line["state"] == "ok"
        assert line["said"].startswith("key and ledger of this installation are in secret-drift-agent (")

        s.apply(b.secret("secret-drift-agent-key", AGENT_NAMESPACE, {}))
        line = doctor(s).line("ledger", "contents")
        assert (line["state"], "cannot be compared" in line["said"]) == ("warning", True)

        rule = ForbidRule(user="agent", verb="get", resource="secrets", namespace=AGENT_NAMESPACE)
        s.call(s.sandbox.api.forbid.append, rule)
        told = doctor(s)
        assert told.line("ledger", "contents")["state"] == "error"
        assert told.line("rights", "ledger")["state"] == "error"


@pytest.mark.parametrize("counted", ["secrets", "count/configmaps"])
def test_a_quota_that_leaves_no_room_for_the_ledger_is_named(counted: str) -> None:
    """Before the first run it is an error; where the ledger is there already, a warning."""
    with Scenario() as s:
        chain(s)
        s.policy()
        s.apply(quota({counted: "0"}))

        told = doctor(s)

        line = told.line("ledger", "dry-run")
        assert (told.code, line["state"]) == (2, "error")
        assert line["said"] == "quota tight in secret-drift-agent allows no further object of the ledger"
        assert line["todo"].startswith("raise ResourceQuota tight in namespace secret-drift-agent")

        s.apply(quota({counted: "100"}))
        assert s.once().code == 0
        s.apply(quota({counted: "1"}))
        told = doctor(s)
        assert (told.code, told.line("ledger", "dry-run")["state"]) == (0, "warning")


def test_a_namespace_that_does_not_exist_is_told_with_the_command_that_makes_it() -> None:
    """The agent's own, by --agent-namespace, is an error; one that was asked for by -n a warning."""
    with Scenario() as s:
        chain(s)
        s.policy()

        told = doctor(s, "--agent-namespace", "elsewhere", "-n", "typo")

        assert told.code == 2
        assert told.line("ledger", "namespace")["commands"] == ["kubectl create namespace elsewhere"]
        assert told.line("API server", "namespaces")["said"] == "typo: no such namespace here"


def test_hostile_words_of_others_are_shown_as_escapes() -> None:
    """The reason of a pause with terminal sequences in it reaches no terminal as it is."""
    with Scenario() as s:
        path = s.policy(pause={"reason": "all \x1b[31mred\u202e and\nmore"})

        shown = s.launch("doctor", "--policy", str(path), LC_ALL="C.UTF-8").wait()

        assert "\x1b" not in shown.out
        assert "\u202e" not in shown.out
        assert "\\x1b[31mred\\u202e" in shown.out
        assert json.loads(s.launch("doctor", "-o", "json").wait().out)["lines"]
        assert os.linesep in shown.out
