"""Which workloads the blast radius counts before their containers are stale."""

from __future__ import annotations

from msgspec.structs import replace

from agent.engine.campaign import Stale, with_those_to_come
from agent.engine.world import World
from agent.model import (
    ContainerRun,
    ContainerSpec,
    ExternalSecret,
    Finding,
    Kind,
    Link,
    ObjectKey,
    Owner,
    Pod,
    SecretStore,
    SourceKey,
    SourceUse,
    StoreKey,
    Use,
    WorkloadKey,
)

NS = "shop"
STORE = StoreKey("SecretStore", NS, "prod-kv")
ONE, TWO = (SourceKey("prod-kv.vault.azure.net", name) for name in ("one", "two"))
CHAIN = ExternalSecret(
    key=ObjectKey(NS, "app-secrets"), uid="es", resource_version="1", generation=1, created=1.0, labels={},
    annotations={}, stores=(STORE,), target="app",
    uses=tuple(SourceUse(store=STORE, name=s.name, secret_keys=(s.name.upper(),)) for s in (ONE, TWO)),
)  # fmt: skip
BEHIND = Finding(chain=CHAIN.key, link=Link.VAULT, kind=Kind.STALE, since=1.0, evidence="", sources=(ONE,))


def pod(app: str, use: Use, *, deleting: bool = False) -> Pod:
    """One of a StatefulSet that consumes the Secret so."""
    return Pod(
        key=ObjectKey(NS, f"{app}-0"), uid=app, resource_version="1", created=1.0, node="node-1",
        owner=Owner("StatefulSet", app, app, "apps"), phase="Running", ready=True, ready_since=2.0, deleting=deleting,
        containers=(ContainerSpec("app", "container", (use,)),), runs=(ContainerRun("running", 1.0),),
        references=("app",),
    )  # fmt: skip


def workload(app: str) -> WorkloadKey:
    """Its key."""
    return WorkloadKey(NS, "StatefulSet", app)


def counted(*pods: Pod, finding: Finding = BEHIND, stale: Stale | None = None) -> Stale:
    """What counts in a world of these pods, in which ``finding`` is found."""
    world = World()
    world.put("secretstores", SecretStore(key=STORE, provider="azurekv", host=ONE.vault))
    world.put("externalsecrets", CHAIN)
    for each in pods:
        world.put("pods", each)
    return with_those_to_come(stale or {}, [finding], world)


def test_who_reads_a_key_whose_vault_secret_is_newer_counts() -> None:
    """By name, or with all keys; not who reads another key, or takes it from a mount that is updated in place."""
    found = counted(
        pod("by-name", Use("app", "env", ("ONE",))),
        pod("all", Use("app", "envFrom")),
        pod("file", Use("app", "subPath", ("ONE",))),
        pod("other-key", Use("app", "env", ("TWO",))),
        pod("shadowed", Use("app", "envFrom", without=("ONE",))),
        pod("mounted", Use("app", "volume")),
        pod("other-secret", Use("another", "envFrom")),
        pod("leaving", Use("app", "envFrom"), deleting=True),
    )
    assert found == {workload(app): frozenset({ONE}) for app in ("by-name", "all", "file")}


def test_what_is_stale_already_keeps_its_own_sources() -> None:
    """Those to come are added to them."""
    stale = {workload("a"): frozenset({TWO}), workload("b"): frozenset({TWO})}
    found = counted(pod("a", Use("app", "envFrom")), stale=stale)
    assert found == {workload("a"): frozenset({ONE, TWO}), workload("b"): frozenset({TWO})}


def test_only_what_a_sync_would_bring_counts() -> None:
    """What ESO cannot sync changes no Secret; what is gone neither."""
    consumer = pod("a", Use("app", "envFrom"))
    assert counted(consumer, finding=replace(BEHIND, kind=Kind.SYNC_FAILED)) == {}
    assert counted(consumer, finding=replace(BEHIND, chain=ObjectKey(NS, "gone"))) == {}
