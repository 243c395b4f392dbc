"""S40: a tenant's SecretStore must not become a way to make the agent talk to a host of the tenant's choice."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.policies import heal_policy
from support.scenario import Scenario
from support.told import healed, refusals
from support.worlds import at_rest, watching

from agent import esohash
from agent.sandbox import builders as b
from agent.sandbox.client import EXTERNAL_SECRETS, SECRETS

NS = "shop"
EVIL = "evil"
"""The tenant's namespace."""


def world(s: Scenario) -> None:
    """One honest chain at rest, and the vaults that a tenant would like to see looked at."""
    for vault in ("payments-kv", "nobodys-kv", "prod-kv.vault.azure.cn"):
        s.rotate(vault, "api-key", "value-of-others")
    at_rest(
        s,
        {"prod-kv/api-key": "value-one"},
        [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
        [b.deployment("backend", NS, 2, env={"API_KEY": ("app-secrets", "API_KEY")})],
        NS,
    )


@contextmanager
def trap() -> Iterator[socket.socket]:
    """A port on which nobody may ever call."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        yield listener
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_s40_no_request_leaves_for_what_a_tenants_store_names_outside_the_list() -> None:
    """Vaults of others, foreign hosts, addresses and ports are refused once per store with the reason."""
    with Scenario() as s, trap() as listener:
        port = listener.getsockname()[1]
        world(s)
        stores = {
            "listed-for-others": ("payments-kv", "payments-kv.vault.azure.net is not in the policy's vaults"),
            "not-listed": ("nobodys-kv", "nobodys-kv.vault.azure.net is not in the policy's vaults"),
            "other-cloud": ("https://prod-kv.vault.azure.cn", "prod-kv.vault.azure.cn is not in the policy's vaults"),
            "address": (f"https://127.0.0.1:{port}", "IP address"),
            "port": (f"https://localhost:{port}", "a port other than 443"),
            "foreign": ("https://metadata.example.com", "outside Azure Key Vault"),
            "lookalike": ("https://prod-kv.vault.azure.net.example.com", "outside Azure Key Vault"),
            "plain": (f"http://127.0.0.1:{port}", "not https"),
            "user": (f"https://prod-kv.vault.azure.net@127.0.0.1:{port}", "user information"),
            "path": ("https://prod-kv.vault.azure.net/../x", "more than a host"),
        }
        s.call(s.sandbox.eso.pause)  # it would ask these hosts itself
        for name, (vault, _) in stores.items():
            s.apply(b.secret_store(vault, EVIL, name=name))
            for number in range(2):
                follow(s, f"{name}-{number}", name)
        s.call(s.sandbox.eso.resume)
        others = {"name": "payments-kv", "namespaces": ["payments"]}
        listed = heal_policy(namespaces=[NS, EVIL])["vaults"][0]
        s.policy({**heal_policy(), "vaults": [listed, others]})
        agent = watching(s)
        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: healed(agent, "backend"), why="the honest chain is healed")
        s.cycles(agent)

        for name, (_, reason) in stores.items():
            (told,) = agent.lines(subject=f"SecretStore {EVIL}/{name}")
            assert reason in told["event"]
            assert told["cause"] in ("vault-not-listed", "store-refused")
            for number in range(2):
                (unknown,) = agent.lines(kind="unknown", externalsecret=f"{name}-{number}")
                assert reason in unknown["event"]
        assert vaults_asked_by_agent(s) == {"prod-kv"}
        assert len(s.writes()) == 3
        assert {write[3].partition("/")[0] for write in s.writes()} == {NS}
        assert refusals(agent) == []


def follow(s: Scenario, name: str, store: str) -> None:
    """A chain of the tenant that reads through this store, synced some time ago as far as one can see."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": EVIL,
            "labels": {"reconcile.external-secrets.io/managed": "true"},
            "annotations": {"reconcile.external-secrets.io/data-hash": esohash.data_hash({"K": b"value"})},
        },
        "data": {"K": base64.b64encode(b"value").decode()},
    }
    status = {
        "refreshTime": s.sandbox.clock.rfc3339(),
        "syncedResourceVersion": esohash.synced_resource_version(1, {}, {}),
        "conditions": [{"type": "Ready", "status": "True", "reason": "SecretSynced", "message": "secret synced"}],
    }
    manager = {"fieldManager": esohash.field_manager(name)}
    ask, chain = s.sandbox.admin.request, EXTERNAL_SECRETS.path(EVIL)
    made = b.external_secret(name, EVIL, {"K": "api-key"}, store=store)
    s.run(ask("POST", SECRETS.path(EVIL), body=secret, query=manager))
    s.run(ask("POST", chain, body=made))
    s.run(ask("PATCH", f"{chain}/{name}/status", body={"status": status}, content_type="application/merge-patch+json"))


def vaults_asked_by_agent(s: Scenario) -> set[str]:
    """Hosts to which the agent sent any request, be it one without a token."""
    return s.call(
        lambda: {
            entry.vault
            for entry in s.sandbox.vaults.audit
            if entry.vault and (entry.identity == "agent" or "python" in entry.user_agent.lower())
        }
    )


@pytest.mark.timeout(200)
@pytest.mark.parametrize("fault", ["endless", "endless:self", "foreign-next", "garbage", "huge:8"])
def test_s40_a_vault_that_answers_without_end_is_given_up_in_bounds(fault: str) -> None:
    """Endless lists, links to other hosts, garbage and floods make their vault unknown after a bounded effort."""
    with Scenario() as s:
        world(s)
        s.apply(b.secret_store("evil-kv", EVIL), b.external_secret("endless", EVIL, {"K": "api-key"}))
        s.rotate("evil-kv", "api-key", "value-evil")
        s.call(s.sandbox.vaults.fault, fault, vault="evil-kv", identity="agent")
        s.policy(vaults=("prod-kv", "evil-kv"), interval="2s")
        agent = watching(s)
        told = agent.until(subject="vault evil-kv")
        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: healed(agent, "backend"), why="the honest chain is healed")
        s.cycles(agent, 1)

        assert told["cause"] == "bad-answer"
        assert agent.until(kind="unknown", externalsecret="endless")["cause"] == "bad-answer"
        assert len(agent.lines(subject="vault evil-kv")) == 1
        assert "metadata.example" not in agent.err
        assert {write[3].partition("/")[0] for write in s.writes()} == {NS}
        sweeps = [line for line in agent.lines(level="debug") if "chains" in line]
        asked = s.call(lambda: sum(e.vault == "evil-kv" and e.identity == "agent" for e in s.sandbox.vaults.audit))
        assert asked <= 15 * (len(sweeps) + 2)
