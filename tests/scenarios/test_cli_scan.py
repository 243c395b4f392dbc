"""`scan` and `once` as commands: what they print, where, how they end, and that `scan` changes nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.scenario import Scenario
from support.worlds import at_rest

from agent.report.scan import SCHEMA
from agent.sandbox import builders as b
from agent.sandbox.apiserver.access import ForbidRule

NS, KV = "klinematrix-test", "klinematrix-test-kv"
WRITES = ("create", "update", "patch", "delete", "deletecollection")


def backend(s: Scenario) -> None:
    """A healthy chain with one Deployment of two pods, long at rest."""
    chain = [b.secret_store(KV, NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})]
    pods = b.deployment("backend", NS, 2, env={"API_KEY": ("app-secrets", "API_KEY")})
    at_rest(s, {f"{KV}/api-key": "value-one"}, chain, [pods], NS)


def all_writes(s: Scenario) -> list[tuple[str, str, str]]:
    """Every request of the agent that changes anything, anywhere, its own namespace included."""
    return [(e.verb, e.resource, e.name) for e in s.requests() if e.verb in WRITES]


def test_once_brings_a_rotated_secret_to_every_container_and_ends_with_0() -> None:
    """`once` heals what it finds within its deadline, prints that nothing remains, and ends with 0."""
    with Scenario() as s:
        backend(s)
        s.policy(vaults=[KV])
        assert s.once().code == 0
        s.rotate(KV, "api-key", "value-two")

        result = s.once("--deadline", "30s")

        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two"), (result.code, result.err)
        assert (result.code, result.out) == (0, "no drift, nothing suspect, nothing unknown\n")


def drifts(s: Scenario) -> None:
    """One of several kinds each: a stale chain, an old container, a missing vault secret, an expiring one, a pin."""
    now = s.sandbox.clock.now()
    backend(s)
    s.rotate(KV, "soon", "soon-value", created=now - 86400, exp=now + 9 * 86400)
    s.apply(
        b.external_secret("expires", NS, {"KEY": "soon"}),
        b.external_secret("pinned", NS, {"KEY": "api-key"}, refreshPolicy="CreatedOnce"),
        b.external_secret("typo", NS, {"KEY": "no-such-secret"}),
    )
    s.external_secret_ready(NS, "expires")
    s.wait(lambda: failing(s, "typo"), why="typo fails")
    s.policy(vaults=[KV], mode="observe")
    assert s.once().code == 2
    s.rotate(KV, "api-key", "value-two")


def failing(s: Scenario, name: str) -> bool:
    """Whether ESO says Ready=False."""
    status = (s.get("ExternalSecret", NS, name) or {}).get("status") or {}
    return any(c["type"] == "Ready" and c["status"] == "False" for c in status.get("conditions") or [])


def test_scan_shows_every_drift_with_its_evidence_and_why_it_is_not_healed_and_writes_nothing() -> None:
    """The table is the only thing on stdout; no request of `scan` changes anything, not even in the own namespace."""
    with Scenario() as s:
        drifts(s)
        before = all_writes(s)

        result = s.scan()

        assert result.code == 2
        assert result.err == ""
        lines = result.out.splitlines()
        assert lines[0].split()[:4] == ["NAMESPACE", "EXTERNALSECRET", "LINK", "DRIFT"]
        rows = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[1:-2]]
        assert [(row[1], row[3]) for row in rows] == [
            ("app-secrets", "stale"), ("typo", "sync-failed (not-found)"), ("typo", "missing-secret"),
            ("expires", "expiring"), ("pinned", "pinned"),
        ]  # fmt: skip
        by_name = {(row[1], row[3]): row for row in rows}
        assert "has the version of" in by_name["app-secrets", "stale"][5]
        assert by_name["app-secrets", "stale"][6] == "force-sync refused (observe-mode): the policy's mode is observe"
        assert "recover or create the secret" in by_name["typo", "sync-failed (not-found)"][6]
        assert by_name["expires", "expiring"][6] == "—"
        assert lines[-1] == "3 drifts, 0 suspects, 0 unknown, 2 notes"
        assert all_writes(s) == before

        document = s.scan("-o", "json").json()
        assert document["schema"] == SCHEMA
        assert document["summary"] == {"drifts": 3, "suspects": 0, "unknown": 0, "notes": 2}
        assert s.scan("-n", "elsewhere").code == 0
        assert all_writes(s) == before


def test_scan_in_markdown_is_the_page_of_a_jobs_summary() -> None:
    """The same findings, refusals and exit code as the table's, and nothing else on stdout."""
    with Scenario() as s:
        drifts(s)
        before = all_writes(s)

        result = s.scan("-o", "markdown")

        assert (result.code, result.err) == (2, "")
        lines = result.out.splitlines()
        assert lines[0] == "### Secret drift remains"
        assert lines[2].endswith(": 3 drifts, 0 halts, 0 suspects, 0 unknown, 2 notes.")
        rows = [
            [cell.strip() for cell in line.split("|")[1:-1]]
            for line in lines
            if line.startswith("| ") and "---" not in line
        ]
        assert [(row[0], row[1]) for row in rows] == [
            ("What", "Where"),
            ("ESO has not fetched the newest version", f"`{NS}/app-secrets`"),
            ("ESO cannot sync (not-found)", f"`{NS}/typo`"),
            ("the Secret is missing", f"`{NS}/typo`"),
            ("What", "Where"),
            ("a vault secret expires soon", f"`{NS}/expires`"),
            ("pinned, ESO never fetches a newer value", f"`{NS}/pinned`"),
        ]
        assert rows[1][4] == "force-sync refused (observe-mode): the policy's mode is observe"

        elsewhere = s.scan("-o", "markdown", "-n", "elsewhere")
        assert (elsewhere.code, elsewhere.out.splitlines()[0]) == (0, "### No secret drift")
        assert all_writes(s) == before


def test_scan_names_the_next_step_of_what_nothing_refuses() -> None:
    """Where the agent may heal, the last column says what it is about to do."""
    with Scenario() as s:
        backend(s)
        s.policy(vaults=[KV])
        assert s.once().code == 0
        s.rotate(KV, "api-key", "value-two")

        result = s.scan()

        assert result.code == 2
        assert "force-sync: ask ESO to sync now, by the annotation force-sync (stale)" in result.out
        assert s.secret(NS, "app-secrets") == {"API_KEY": b"value-one"}


def test_scan_without_the_installations_key_answers_as_of_a_first_look_and_says_so() -> None:
    """Neither a missing key nor a forbidden one is an error, or made: the answers rest on less, which stderr tells."""
    with Scenario() as s:
        backend(s)
        s.policy(vaults=[KV])

        first = s.scan()

        assert (first.code, first.out) == (0, "no drift, nothing suspect, nothing unknown\n")
        assert "secret-drift-agent: note: the installation's key" in first.err
        assert "does not exist" in first.err
        assert all_writes(s) == []

        assert s.once().code == 0
        before = all_writes(s)
        s.call(
            s.sandbox.api.forbid.append, ForbidRule(user="agent", resource="secrets", namespace="secret-drift-agent")
        )
        s.call(
            s.sandbox.api.forbid.append, ForbidRule(user="agent", resource="configmaps", namespace="secret-drift-agent")
        )
        denied = s.scan("-n", NS)
        assert (denied.code, denied.out) == (0, "no drift, nothing suspect, nothing unknown\n")
        assert "may not be read" in denied.err
        assert "answers of a first look" in denied.err
        assert all_writes(s) == before


def test_what_may_not_be_read_is_named_and_the_rest_goes_on() -> None:
    """Pods that are forbidden make link 3 unknown; the table comes all the same, and the exit code is 1."""
    with Scenario() as s:
        backend(s)
        s.policy(vaults=[KV])
        assert s.once().code == 0
        s.call(s.sandbox.api.forbid.append, ForbidRule(user="agent", resource="pods"))

        result = s.scan()

        assert result.code == 1
        assert "secret-drift-agent: pods in all namespaces: forbidden: 403" in result.err
        assert "Grant this identity the right" in result.err
        assert " unknown (forbidden) " in result.out
        page = s.scan("-o", "markdown").out
        assert page.startswith("### No secret drift found, but not everything could be looked at\n")
        assert "| pods in all namespaces | forbidden: " in page
        assert "Traceback" not in result.err


@pytest.mark.parametrize("command", [["scan"], ["explain", f"{NS}/app-secrets"], ["once"]])
def test_errors_say_what_where_and_what_to_do_next(command: list[str], tmp_path: Path) -> None:
    """No kubeconfig, no context, no API server, no policy file, a bad one: one line each, exit code 1, no output."""
    with Scenario() as s:
        gone = tmp_path / "gone"
        bad = tmp_path / "bad.yaml"
        bad.write_text("apiVersion: secret-drift-agent/v1\nkind: HealPolicy\nmode: maybe\n")
        dead = tmp_path / "dead"
        dead.write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1", (s.directory / "kubeconfig").read_text()))
        for arguments, said in (
            (["--kubeconfig", str(gone)], str(gone)),
            (["--context", "nowhere"], "nowhere"),
            (["--kubeconfig", str(dead)], "refuses the connection"),
            (["--policy", str(gone)], str(gone)),
            (["--policy", str(bad)], f"{bad}:3:7: mode:"),
        ):
            result = s.launch(*command, *arguments).wait()
            assert (result.code, result.out) == (1, ""), arguments
            assert said in result.err
            assert "Traceback" not in result.err
