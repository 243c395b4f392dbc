"""A real Prometheus at the agent's port, and at a Pushgateway that a CronJob's runs push to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import trustme
from support.monitoring import prometheus, pushgateway
from support.scenario import Scenario
from support.worlds import at_rest

from agent.sandbox import builders as b

NS = "shop"
ENDED = "secret_drift_once_last_end_timestamp_seconds"


def values(found: list[tuple[dict[str, str], float]]) -> list[float]:
    """Without their labels."""
    return [value for _, value in found]


def rest(s: Scenario) -> None:
    """A workload of three pods at rest, and a policy that heals."""
    at_rest(
        s,
        {"prod-kv/api-key": "value-one"},
        [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
        [b.deployment("backend", NS, 3, env={"API_KEY": ("app-secrets", "API_KEY")})],
        NS,
    )
    s.policy()


def target(job: str, address: str, **more: Any) -> dict[str, Any]:
    """A job of one target, whose labels are its own."""
    host = address.partition("://")[2] or address
    return {"job_name": job, "honor_labels": True, "static_configs": [{"targets": [host]}], **more}


def test_prometheus_scrapes_over_tls_with_a_token_also_after_both_were_renewed(tmp_path: Path) -> None:
    """Who has another token, or expects plain HTTP, gets nothing."""
    ca, pair = trustme.CA(), tmp_path / "pair.pem"
    token, wrong, trusted = tmp_path / "token", tmp_path / "wrong", tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(trusted))

    def renew(text: str) -> None:
        pair.write_bytes(ca.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.bytes())
        token.write_text(text)

    renew("first")
    wrong.write_text("wrong")
    with Scenario() as s:
        rest(s)
        agent = s.start_agent("--tls-cert", str(pair), "--tls-key", str(pair), "--metrics-token-file", str(token))
        address, tls = f"127.0.0.1:{s.port(agent)}", {"scheme": "https", "tls_config": {"ca_file": str(trusted)}}
        with prometheus(
            target("right", address, authorization={"credentials_file": str(token)}, **tls),
            target("wrong", address, authorization={"credentials_file": str(wrong)}, **tls),
            target("none", address, **tls),
            target("plain", address, authorization={"credentials_file": str(token)}),
        ) as found:
            found.soon('up{job="right"}', lambda now: now == [1])
            found.soon('up{job!="right"}', lambda now: len(now) == 3)
            assert set(values(found.query('up{job!="right"}'))) == {0}
            renew("second")
            s.cycles(agent, 1)
            found.soon('count_over_time((up{job="right"} == 1)[2s:500ms])', lambda now: now >= [3])
            found.soon("secret_drift_leader", lambda now: now == [1])


def test_what_a_cronjobs_runs_push_never_goes_back() -> None:
    """Drifts name their own namespace, a healed one ends, and no count is ever reset."""
    counts = '{__name__=~"secret_drift_.*_(total|count|bucket|sum)"}'
    with Scenario() as s, pushgateway() as gateway, prometheus(target("gateway", gateway.url)) as found:
        rest(s)
        done = 'secret_drift_actions_total{step="recycle",result="done"}'

        def once(code: int) -> None:
            before = values(found.query(ENDED))
            assert s.once("--push-gateway", gateway.url).code == code
            found.soon(ENDED, lambda now: now not in ([], before))

        once(0)
        for number in (1, 2):
            s.advance(60)
            s.rotate("prod-kv", "api-key", f"value-{number}")
            s.policy(mode="observe")
            once(2)
            ((labels, _),) = found.soon("secret_drift_drift")
            assert {
                "namespace": NS,
                "agent_namespace": "secret-drift-agent",
                "job": "secret-drift-agent-once",
            }.items() <= (labels.items())
            assert "instance" not in labels
            s.policy()
            once(0)
            found.soon("secret_drift_drift", lambda now: not now)
            assert values(found.query(done)) == [3 * number]
        names = {labels["__name__"] for labels, _ in found.query(counts)}
        assert {"secret_drift_actions_total", "secret_drift_cycle_duration_seconds_bucket"} < names
        for name in names:
            assert set(values(found.query(f"resets({name}[10m])"))) == {0}, name
        assert values(found.query(f"max_over_time({done}[10m]) - min_over_time({done}[10m])")) == [6]
