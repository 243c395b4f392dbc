"""S22: what this agent must leave alone."""

from __future__ import annotations

from support.scenario import Scenario
from support.told import refusals
from support.worlds import at_rest, watching

from agent.sandbox import builders as b
from agent.sandbox.client import Object

NS = "shop"
GENERATED = [{"sourceRef": {"generatorRef": {"apiVersion": "generators.external-secrets.io/v1alpha1", "kind": "Password", "name": "pw"}}}]  # fmt: skip  # noqa: E501
MANIFEST = {"manifest": {"apiVersion": "v1", "kind": "ConfigMap"}}
"""Specs that the sandbox's ESO does not play: for them a state as ESO leaves it is seeded."""


def push_secret(secret: str) -> Object:
    """A PushSecret that writes a Secret to the vault."""
    return {
        "apiVersion": "external-secrets.io/v1alpha1",
        "kind": "PushSecret",
        "metadata": {"name": "push", "namespace": NS},
        "spec": {
            "secretStoreRefs": [{"name": "vault", "kind": "SecretStore"}],
            "selector": {"secret": {"name": secret}},
            "data": [{"match": {"secretKey": "KEY", "remoteRef": {"remoteKey": "pushed-key"}}}],
        },
    }


def store(name: str, spec: Object) -> Object:
    """A SecretStore of any kind."""
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "SecretStore",
        "metadata": {"name": name, "namespace": NS},
        "spec": spec,
    }


CHAINS = {
    "generator": b.external_secret("generated", NS, dataFrom=GENERATED),
    "target.manifest": b.external_secret("manifest", NS, {"KEY": "api-key"}, target=MANIFEST),
    "controller class": b.external_secret("foreign", NS, {"KEY": "api-key"}, store="foreign"),
    "not an Azure Key Vault": b.external_secret("aws", NS, {"KEY": "api-key"}, store="aws"),
    "PushSecret": b.external_secret("pushed", NS, {"KEY": "api-key"}),
    "creationPolicy is None": b.external_secret("none", NS, {"KEY": "api-key"}, target={"creationPolicy": "None"}),
    "creationPolicy is Merge": b.external_secret("merged", NS, {"KEY": "api-key"}, target={"creationPolicy": "Merge"}),
    "deletionPolicy Delete": b.external_secret("gone", NS, {"KEY": "no-key"}, target={"deletionPolicy": "Delete"}),
}
"""Chains by a part of the words in which each is reported."""
SEEDED = ("generated", "manifest", "foreign", "aws")


def test_s22_what_is_excluded_is_reported_with_why_and_never_touched() -> None:
    """Each excluded chain is reported once, as excluded, with why; rotations bring no action at all."""
    with Scenario() as s:
        azure = b.secret_store("prod-kv", NS)["spec"]
        aws = {"provider": {"aws": {"service": "SecretsManager", "region": "eu-west-1"}}}
        at_rest(
            s,
            {"prod-kv/api-key": "value-one"},
            [
                b.secret_store("prod-kv", NS),
                store("foreign", {**azure, "controller": "other-eso"}),
                store("aws", aws),
                push_secret("pushed"),
                *(chain for chain in CHAINS.values() if chain["metadata"]["name"] not in SEEDED),
            ],
            [],
            NS,
        )
        for name in SEEDED:
            s.apply(b.secret(name, NS, {"KEY": "value-own"}, labels={"reconcile.external-secrets.io/managed": "true"}))
        s.apply(*(chain for chain in CHAINS.values() if chain["metadata"]["name"] in SEEDED))
        s.apply(b.deployment("backend", NS, 2, env={"A": ("generated", "KEY"), "B": ("pushed", "KEY")}))
        s.ready(NS, "backend")
        before = s.objects("Secret", NS)
        s.policy(sync={"steps": ["force-sync", "recreate"]})
        agent = watching(s)

        s.rotate("prod-kv", "api-key", "value-two")
        s.cycles(agent, 6)
        s.hasten(600)
        s.cycles(agent)

        for said, chain in CHAINS.items():
            name = chain["metadata"]["name"]
            (line,) = agent.lines(kind="excluded", externalsecret=name)
            assert said in line["event"]
            assert line["level"] == "info"
        assert len(agent.lines(kind="excluded")) == len(CHAINS)
        assert [line for line in agent.lines() if "kind" in line and line["kind"] != "excluded"] == []
        assert s.writes() == []
        assert refusals(agent) == []
        assert s.objects("Secret", NS) == before
        assert "secret_drift_drift{" not in s.metrics(agent)
