"""`once` and a real Pushgateway: what a CronJob leaves behind there, from one run to the next."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
from support.monitoring import Gateway, lint, pushgateway
from support.processes import Result
from support.scenario import Scenario
from support.worlds import at_rest, next_second

from agent.sandbox import builders as b
from agent.sandbox.apiserver.access import ForbidRule

NS, APP, HOME = "shop", "backend", "secret-drift-agent"
JOB = {"job": "secret-drift-agent-once", "agent_namespace": HOME}
DRIFT = "secret_drift_drift"
ONCE = "secret_drift_once_"


PAGE = Path(__file__).parents[2] / "k8s" / "README.md"


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A Pushgateway."""
    with pushgateway() as found:
        yield found


@pytest.fixture
def s() -> Iterator[Scenario]:
    """A workload of three pods at rest, at which an agent has looked once, and a policy that heals."""
    with Scenario() as made:
        at_rest(
            made,
            {"prod-kv/api-key": "value-one"},
            [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
            [b.deployment(APP, NS, 3, env={"API_KEY": ("app-secrets", "API_KEY")})],
            NS,
        )
        made.policy()
        yield made


def once(s: Scenario, gateway: Gateway, *more: str, deadline: str = "60s") -> Result:
    """One run, to its end."""
    return s.once("--push-gateway", gateway.url, "--deadline", deadline, *more)


def observed(s: Scenario, gateway: Gateway, value: str) -> None:
    """A rotation long after all that was before, and a run that only looks: it leaves a drift behind."""
    s.advance(60)
    s.rotate("prod-kv", "api-key", value)
    s.policy(mode="observe")
    assert once(s, gateway).code == 2
    s.policy()


def value(families: dict[str, Any], name: str, **labels: str) -> float | None:
    """Of one series of a group; None if there is none with these labels."""
    for series in families.get(name, {"metrics": []})["metrics"]:
        own = {label: text for label, text in series["labels"].items() if label not in (*JOB, "group", "instance")}
        if own == labels:
            return float(series.get("value", series.get("count")))
    return None


def total(families: dict[str, Any], name: str) -> float:
    """Over all series of a family."""
    return sum(float(series.get("value", series.get("count"))) for series in families[name]["metrics"])


def actions(families: dict[str, Any]) -> tuple[float | None, float | None]:
    """How many force-syncs and recycled pods are counted."""
    return (
        value(families, "secret_drift_actions_total", step="force-sync", result="done"),
        value(families, "secret_drift_actions_total", step="recycle", result="done"),
    )


def test_counts_go_on_from_run_to_run_and_a_drift_that_is_gone_is_gone(s: Scenario, gateway: Gateway) -> None:
    """Drift is told until a run finds none; what two runs did is the sum of both, and success moves on with each."""
    assert once(s, gateway).code == 0
    first = gateway.group(**JOB)
    assert (actions(first), value(first, f"{ONCE}exit_code")) == ((0, 0), 0)
    assert DRIFT not in first

    observed(s, gateway, "value-two")
    seen = gateway.group(**JOB)
    assert len(seen[DRIFT]["metrics"]) == 1
    assert value(seen, f"{ONCE}exit_code") == 2
    assert value(seen, f"{ONCE}deadline_seconds") == 60

    next_second(s)
    assert once(s, gateway).code == 0
    healed = gateway.group(**JOB)
    assert DRIFT not in healed
    assert "secret_drift_drift_since_timestamp_seconds" not in healed
    assert actions(healed) == (1, 3)
    assert value(healed, "secret_drift_leader") == 1

    s.advance(60)  # else nobody could say which value the new pods got
    s.rotate("prod-kv", "api-key", "value-three")
    assert once(s, gateway).code == 0
    again = gateway.group(**JOB)
    assert actions(again) == (2, 6)
    for name in (
        "secret_drift_cycle_duration_seconds", "secret_drift_api_requests_total", "secret_drift_vault_requests_total",
    ):  # fmt: skip
        counts = [total(families, name) for families in (first, seen, healed, again)]
        assert counts == sorted(set(counts)), name
        assert counts[0] > 0
    successes = [value(each, f"{ONCE}last_success_timestamp_seconds") or 0 for each in (first, seen, healed, again)]
    assert successes == sorted(set(successes))
    assert value(again, f"{ONCE}last_end_timestamp_seconds") == successes[-1]
    assert 0 < (value(again, f"{ONCE}duration_seconds") or 0) < 60
    assert lint(gateway.page()) == (0, "")


@pytest.mark.parametrize("forbidden", ["leases", "configmaps"])
def test_a_failed_run_says_so_and_leaves_what_the_last_good_one_saw(
    s: Scenario, gateway: Gateway, forbidden: str
) -> None:
    """The drift stays, success does not move, and what the failed run asked for is counted."""
    observed(s, gateway, "value-two")
    before = gateway.group(**JOB)
    s.call(s.sandbox.api.forbid.append, ForbidRule(user="agent", resource=forbidden))
    next_second(s)
    failed = once(s, gateway)
    assert (failed.code, "Pushgateway" in failed.err) == (1, False)
    after = gateway.group(**JOB)
    for name in (DRIFT, "secret_drift_links", "secret_drift_leader", f"{ONCE}last_success_timestamp_seconds"):
        assert after[name]["metrics"] == before[name]["metrics"], name
    assert value(after, f"{ONCE}exit_code") == 1
    ended = f"{ONCE}last_end_timestamp_seconds"
    assert (value(after, ended) or 0) > (value(before, ended) or 0)
    assert (refused(before), refused(after) > 0) == (0, True)


def refused(families: dict[str, Any]) -> float:
    """How many requests to the API server were forbidden."""
    series = families["secret_drift_api_requests_total"]["metrics"]
    return sum(float(each["value"]) for each in series if each["labels"]["code"] == "403")


def test_a_run_that_cannot_even_begin_says_so(s: Scenario, gateway: Gateway) -> None:
    """With a policy that is none there is no agent; the group tells, and has no success."""
    s.policy("mode: what")
    assert once(s, gateway).code == 1
    families = gateway.group(**JOB)
    assert value(families, f"{ONCE}exit_code") == 1
    assert (value(families, f"{ONCE}last_end_timestamp_seconds") or 0) > 0
    assert f"{ONCE}last_success_timestamp_seconds" not in families


def test_groups_keep_clusters_and_cronjobs_apart(s: Scenario, gateway: Gateway) -> None:
    """One replaces nothing of the other, and neither goes on with the counts of the other."""
    observed(s, gateway, "value-two")
    assert once(s, gateway, "--push-group", "east").code == 0
    plain, east = gateway.group(**JOB), gateway.group(**JOB, group="east")
    assert (DRIFT in plain, DRIFT in east) == (True, False)
    assert (actions(plain), actions(east)) == ((0, 0), (1, 3))
    assert once(s, gateway).code == 0
    assert actions(gateway.group(**JOB)) == (0, 0)
    assert actions(gateway.group(**JOB, group="east")) == (1, 3)


def test_who_leaves_the_work_to_a_leader_says_so_and_tells_of_no_drift(s: Scenario, gateway: Gateway) -> None:
    """Drifts are the leader's to tell; the run is a success, and what was counted stays counted."""
    observed(s, gateway, "value-two")
    assert once(s, gateway).code == 0
    observed(s, gateway, "value-three")
    s.policy(mode="observe")
    leader = s.start_agent(POD_NAME="agent-a")
    s.cycles(leader, 1)
    before = gateway.group(**JOB)
    next_second(s)
    assert s.launch("once", "--push-gateway", gateway.url, POD_NAME="job-1").wait().code == 0
    after = gateway.group(**JOB)
    assert (DRIFT in before, DRIFT in after) == (True, False)
    assert (value(before, "secret_drift_leader"), value(after, "secret_drift_leader")) == (1, 0)
    assert actions(after) == actions(before) == (1, 3)
    success = f"{ONCE}last_success_timestamp_seconds"
    assert (value(after, success) or 0) > (value(before, success) or 0)
    assert "secret_drift_last_cycle_timestamp_seconds" not in after  # it compared nothing; 0 would be a lie


def test_a_halt_is_told_by_each_run_until_it_ends(s: Scenario, gateway: Gateway) -> None:
    """A later run, which finds a rollout halted as an earlier one left it, does not let its page resolve."""
    image = {"app": {"env": "API_KEY", "backend": "db"}, "env": {"API_KEY": ("app-secrets", "API_KEY")}}
    s.apply(b.deployment(APP, NS, 3, **image))
    s.ready(NS, APP)
    assert once(s, gateway).code == 0
    s.advance(60)
    s.call(s.sandbox.backends.reject, "db", "bad")
    s.rotate("prod-kv", "api-key", "bad")
    for _ in range(2):
        assert once(s, gateway).code == 2
        (halted,) = gateway.group(**JOB)["secret_drift_halted"]["metrics"]
        assert (halted["labels"]["workload"], halted["labels"]["reason"]) == (APP, "canary-failed")
    next_second(s)
    s.rotate("prod-kv", "api-key", "good")
    once(s, gateway)
    s.ready(NS, APP)
    assert once(s, gateway).code == 0
    assert "secret_drift_halted" not in gateway.group(**JOB)


def test_a_cronjob_that_is_gone_need_not_be_paged_for(s: Scenario, gateway: Gateway) -> None:
    """Its groups stay at the gateway until somebody deletes them, as the page of the manifests tells how."""
    assert once(s, gateway).code == 0
    assert once(s, gateway, "--push-group", "east").code == 0
    (path,) = re.findall(r"curl -X DELETE http://[^/\s]+(/\S+)", PAGE.read_text())
    for left, end in ((1, ""), (0, "/group/east")):
        requests.delete(gateway.url + path + end, timeout=10).raise_for_status()
        assert len(gateway.groups()) == left


def test_a_gateway_that_speaks_tls(s: Scenario, tmp_path: Path) -> None:
    """Its CA is a file; without it nothing is sent, and the run is as good as it was."""
    ca, issued = trustme.CA(), tmp_path / "issued.pem"
    pair = ca.issue_cert("127.0.0.1")
    issued.write_bytes(pair.private_key_and_cert_chain_pem.bytes())
    trusted = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(trusted))
    config = tmp_path / "web.yaml"
    config.write_text(f"tls_server_config: {{cert_file: {issued}, key_file: {issued}}}\n")
    with pushgateway(f"--web.config.file={config}", scheme="https", ca=trusted) as gateway:
        assert once(s, gateway, "--push-gateway-ca", str(trusted)).code == 0
        assert value(gateway.group(**JOB), f"{ONCE}exit_code") == 0
        pushed = gateway.group(**JOB)["push_time_seconds"]["metrics"]
        untrusted = once(s, gateway)
        assert untrusted.code == 0
        assert "--push-gateway-ca FILE" in untrusted.err
        assert gateway.group(**JOB)["push_time_seconds"]["metrics"] == pushed


def test_no_metric_has_a_label_that_the_group_would_overwrite(s: Scenario, gateway: Gateway) -> None:
    """A Pushgateway gives each series the labels of its group, over those that it has."""
    observed(s, gateway, "value-two")
    families = gateway.group(**JOB)
    (drift,) = families[DRIFT]["metrics"]
    assert (drift["labels"]["namespace"], drift["labels"]["agent_namespace"]) == (NS, HOME)
    told = [series["labels"] for name, family in families.items() if name != "labels" for series in _series(family)]
    assert all(labels["job"] == JOB["job"] for labels in told)
    assert not any("group" in labels or labels["instance"] for labels in told)


def _series(family: Any) -> list[dict[str, Any]]:
    return family["metrics"] if isinstance(family, dict) else []
