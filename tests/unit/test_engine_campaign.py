"""Which workloads the blast radius counts before their containers are stale."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent.engine.campaign import Stale, blast_radius, storm, with_those_to_come
from agent.engine.world import World
from agent.memory import StormMemory
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
from agent.policy import Limits, Policy, RecycleRule

NS = "shop"
POLICY = Policy()
STORE = StoreKey("SecretStore", NS, "prod-kv")
ONE, TWO = (SourceKey("prod-kv.vault.azure.net", name) for name in ("one", "two"))
CHAIN = ExternalSecret(
    key=ObjectKey(NS, "app-secrets"), uid="es", resource_version="1", generation=1, created=1.0,
    stores=(STORE,), target="app",
    uses=tuple(SourceUse(store=STORE, name=s.name, secret_keys=(s.name.upper(),)) for s in (ONE, TWO)),
)  # fmt: skip
BEHIND = Finding(chain=CHAIN.key, link=Link.VAULT, kind=Kind.STALE, since=1.0, evidence="", sources=(ONE,))


def pod(app: str, use: Use, *, deleting: bool = False) -> Pod:
    """One of a StatefulSet that consumes the Secret so."""
    return Pod(
        key=ObjectKey(NS, f"{app}-0"), uid=app, created=1.0, node="node-1",
        owner=Owner("StatefulSet", app, app, "apps"), phase="Running", ready=True, ready_since=2.0, deleting=deleting,
        containers=(ContainerSpec("app", "container", (use,)),), runs=(ContainerRun("running", 1.0),),
        references=("app",),
    )  # fmt: skip


def workload(app: str) -> WorkloadKey:
    """Its key."""
    return WorkloadKey(NS, "StatefulSet", app)


def counted(*pods: Pod, finding: Finding = BEHIND, stale: Stale | None = None, policy: Policy = POLICY) -> Stale:
    """What counts in a world of these pods, in which ``finding`` is found."""
    world = World()
    world.put("secretstores", SecretStore(key=STORE, provider="azurekv", host=ONE.vault))
    world.put("externalsecrets", CHAIN)
    for each in pods:
        world.put("pods", each)
    return with_those_to_come(stale or {}, [finding], world, policy)


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


def test_who_mounts_it_counts_where_the_policy_recycles_that() -> None:
    """Their files follow by themselves, but `volumes: recycle` says that nobody reads them again."""
    rule = RecycleRule.model_validate({"namespaces": (NS,), "volumes": "recycle"})
    mounted = pod("mounted", Use("app", "volume"))
    assert counted(mounted) == {}
    assert counted(mounted, policy=Policy(recycle=(rule,))) == {workload("mounted"): frozenset({ONE})}


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


@pytest.mark.parametrize("sources", [(ONE,), (ONE, ONE), (ONE, TWO), (ONE,) * 20])
def test_a_limit_of_zero_percent_forbids_every_recycle(sources: tuple[SourceKey, ...]) -> None:
    """One workload or many, of one version or of several: a campaign is no way around it."""
    stale = {workload(str(number)): frozenset({source}) for number, source in enumerate(sources)}
    none = Policy(limits=Limits(disruptive_percent=0))
    assert blast_radius(stale, lambda: 1000, none)
    assert blast_radius({}, lambda: 1000, none) == ""


@given(st.lists(st.tuples(st.floats(0.1, 2000), st.sampled_from(["exceeded", "kept", "wanted"]))))
def test_a_storm_ends_when_it_is_wanted_or_has_been_calm_for_long_enough_and_never_before(
    looks: list[tuple[float, str]],
) -> None:
    """Whatever the looks at it, and however long apart: from the first calm look on, its whole time must pass."""
    known, now, first_calm, stormy = None, 0.0, 0.0, False
    for passed, seen in looks:
        now += passed
        known = storm(known, exceeded=seen == "exceeded", wanted=seen == "wanted", now=now, calm=900.0)
        if seen == "exceeded":
            stormy, first_calm = True, 0.0
        elif stormy and not first_calm:
            first_calm = now
        if seen == "wanted" or (first_calm and now - first_calm >= 900.0):
            stormy, first_calm = False, 0.0
        assert (known is not None) == stormy
        assert known is None or known.over == (seen == "exceeded")


def test_a_storm_keeps_the_moment_since_when_it_is_so() -> None:
    """Both while it lasts and while it is calm."""
    over = storm(None, exceeded=True, wanted=False, now=10.0, calm=900.0)
    assert over == storm(over, exceeded=True, wanted=False, now=20.0, calm=900.0) == StormMemory(over=True, since=10.0)
    calm = storm(over, exceeded=False, wanted=False, now=30.0, calm=900.0)
    assert calm == storm(calm, exceeded=False, wanted=False, now=40.0, calm=900.0)
    assert calm == StormMemory(over=False, since=30.0)
