"""The cases that plans are made of: anything a cluster, a ledger and a policy may hold together.

Most parts are drawn so that the step is due and allowed, and each of them now and then so that it is not: else hardly
any case would come past the first gate. A case is thrown from one seed, not drawn part by part: so a thousand cost a
second, and the seed that a failure names brings the same case back.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, TypeVar

from msgspec.structs import replace

from agent.diagnose.view import ChainReport, ChainView, Upstream
from agent.memory import ChainMemory, Eviction, Halt, HealMemory, RecreateAttempt, SourceMemory, SyncAttempt, Tries
from agent.model import (
    RESTARTED_AT,
    ContainerRun,
    ContainerSpec,
    ExternalSecret,
    Finding,
    Kind,
    Link,
    ObjectKey,
    Owner,
    Pod,
    SecretView,
    SourceKey,
    SourceState,
    State,
    StoreKey,
    Trouble,
    Workload,
    WorkloadKey,
)
from agent.plan import sync
from agent.plan.moved import Moved
from agent.plan.recycle import Chain, PodCase, RecycleCase, Surroundings
from agent.plan.sync import SyncCase
from agent.policy import Canary, LogCanary, Policy, RecycleRule, SyncRule, Window
from agent.policy.numbers import Limits
from agent.policy.policy import Pause

T = TypeVar("T")
NS = "shop"
NOW = 1_795_000_000.0
"""A Wednesday, 13:06:40 UTC."""
KEY = "key-now"
SOURCES = (SourceKey("prod-kv.vault.azure.net", "db-password"), SourceKey("prod-kv.vault.azure.net", "api-key"))
OPEN = Window(opens="13:00", closes="14:00", time_zone="UTC")
CLOSED = Window(opens="20:00", closes="21:00", time_zone="UTC")
SETTLE = 15.0


class Dice(Random):
    """Throws what a case is made of; equal seeds throw equal cases."""

    def mostly(self, usual: T, *others: T, one_in: int = 12) -> T:
        """The usual, and now and then something else."""
        return self.choice(others) if self.randint(0, one_in) == one_in and others else usual

    def moment(self, *seconds: float) -> float:
        """A moment so many seconds before or after now, or anywhere around."""
        return NOW + (self.choice(seconds) if self.coin() else self.uniform(-200_000, 200_000))

    def coin(self) -> bool:
        """Heads or tails."""
        return self.random() < 0.5

    def some(self, of: Sequence[T], most: int) -> list[T]:
        """At most so many of these, each once."""
        return self.sample(of, self.randint(0, min(most, len(of))))

    def mode(self) -> str:
        """What an owner wrote as the agent's mode; as a rule nothing."""
        return self.mostly("", "ignore", "observe", "heal", "nonsense", one_in=20)


def policy_of(dice: Dice) -> Policy:
    """A policy with at most one rule of each kind, for the namespace of the cases."""
    log = dice.mostly(None, LogCanary(success="connected", within=60.0), LogCanary(failure="refused"), one_in=4)
    rule = RecycleRule(
        namespaces=(NS,),
        settle=dice.choice([0.0, SETTLE]),
        suspect=dice.choice(["report", "recycle"]),
        windows=dice.choice([(), (), (OPEN,), (CLOSED,), (CLOSED, OPEN)]),
        broken_pods=dice.choice(["in-window", "any-time"]),
        gap=dice.choice(["refuse", "allow"]),
        bare_pods=dice.choice(["refuse", "recycle"]),
        canary=Canary(ready_within=dice.choice([5.0, 300.0]), log=log),
    )
    steps: tuple[Any, ...] = dice.mostly(("force-sync", "recreate"), ("force-sync",), (), one_in=3)
    syncing = SyncRule(namespaces=(NS,), steps=steps, patience=dice.choice([0.0, 600.0]))
    ended, running = (Pause(reason="freeze", until=NOW + offset) for offset in (-60, 60))
    return Policy(
        mode=dice.mostly("heal", "observe", one_in=20),
        recycle=dice.mostly((rule,), (), one_in=20),
        sync=dice.mostly((syncing,), (), one_in=20),
        pause=dice.mostly(None, ended, running, Pause(reason="until I say so"), one_in=15),
        limits=Limits(
            workloads_at_once=dice.randint(1, 5),
            workloads_at_once_per_namespace=dice.choice([None, 1, 3]),
            attempts=dice.randint(1, 3),
            syncs_in_flight=dice.randint(1, 5),
        ),
    )


# --------------------------------------------------------------------------------------------------------- recycle


def workload_of(dice: Dice, key: WorkloadKey) -> Workload:
    """A workload, at rest as a rule."""
    replicas = dice.randint(0, 6)
    restarter = dice.mostly({}, {"reloader.stakater.com/auto": "true"}, one_in=24)
    stamps = dice.choice([{}, {RESTARTED_AT: KEY}, {RESTARTED_AT: "key-before"}])
    return Workload(
        key=key, uid="w", generation=2, template_digest="t", ready=replicas, replicas=replicas,
        observed_generation=dice.mostly(2, 1, one_in=25),
        annotations={"secret-drift-agent/mode": dice.mode()} | restarter,
        template_annotations=stamps,
        updated=dice.mostly(replicas, max(0, replicas - 1), one_in=20),
        strategy=dice.choice(["RollingUpdate", "RollingUpdate", "Recreate", "OnDelete"]),
        max_unavailable=dice.choice(["25%", "0", "1", "2", "50%", "100%", "0%", "nonsense"]),
        max_surge=dice.choice(["25%", "1", "0", "0%"]),
        partition=dice.mostly(0, 2, one_in=25),
        paused=dice.mostly(False, True, one_in=25),
        deleting=dice.mostly(False, True, one_in=25),
        leaving=dice.mostly(0, 1, one_in=25),
        owner=dice.mostly(None, Owner("Rollout", "backend", "o", "argoproj.io"), one_in=25),
    )  # fmt: skip


def run_of(dice: Dice, ready: bool) -> ContainerRun:
    """One container as its kubelet tells it."""
    state = dice.mostly("running", "waiting", "terminated", one_in=8)
    reasons = ("CrashLoopBackOff", "ImagePullBackOff", "Error", "CreateContainerConfigError")
    return ContainerRun(
        state=state,
        started=dice.moment(-10, -4000) if dice.coin() else None,
        previous_finished=dice.mostly(None, NOW - 20, one_in=8),
        ready=ready,
        restarts=dice.mostly(0, 1, 5, one_in=8),
        reason=dice.mostly("", *reasons, one_in=8) if state != "running" else "",
    )


def pod_case(dice: Dice, number: int, owner: Owner | None, state: State) -> PodCase:
    """One pod and its verdict."""
    ready = dice.mostly(True, False, one_in=4)
    spec = ContainerSpec("app", dice.mostly("container", "init", "sidecar", one_in=8))
    pod = Pod(
        key=ObjectKey(NS, f"backend-{number}"), uid=f"uid-{number}", node="node-1", owner=owner,
        created=dice.moment(-4000, -10, -1, 0), phase="Running", ready=ready, deleting=False,
        ready_since=dice.moment(-4000, -20, -1) if ready else None,
        containers=(spec,), runs=(run_of(dice, ready),),
        unschedulable=dice.mostly("", "0/3 nodes are available", one_in=20),
    )  # fmt: skip
    return PodCase(
        pod=pod,
        state=state,
        evidence="holds an older value",
        cached=dice.mostly(False, True, one_in=25),
        log=dice.choice(["", "success", "failure"]) if dice.mostly(False, True, one_in=4) else "",
    )


def chain_of(dice: Dice, number: int) -> Chain:
    """One chain of the workload: in order as a rule, else drifting, unknown, excluded, or objected to by its owner."""
    broken = dice.mostly(False, True, one_in=12)
    states = [State.STALE, State.UNKNOWN, State.EXCLUDED, State.PINNED]
    vault = dice.choice(states) if broken else State.FRESH
    secret = dice.choice([State.STALE, State.UNKNOWN, State.FRESH]) if broken else State.FRESH
    key = ObjectKey(NS, f"chain-{number}")
    told = Finding(chain=key, link=Link.VAULT, kind=Kind.STALE, since=NOW - 60, evidence="not fetched", cause="")
    upstream = Upstream(vault=vault, secret=secret, findings=(told,) if broken and dice.coin() else ())
    report = ChainReport(
        chain=key, upstream=upstream, containers=State.STALE, findings=upstream.findings,
        changed_at=dice.mostly(NOW - 100, NOW - 5, NOW, NOW + 5, one_in=12),
    )  # fmt: skip
    return Chain(
        report=report,
        excluded=vault in (State.EXCLUDED, State.PINNED),
        drifting_since=dice.choice([0.0, NOW - 60, NOW - 200_000]),
        newest_created=dice.choice([0.0, NOW - 60, NOW - 200_000]),
        opted_out=dice.mostly("", f"ExternalSecret {key} carries secret-drift-agent/mode: ignore", one_in=25),
        syncing=broken and dice.coin(),
    )


def heal_of(dice: Dice, uids: list[str]) -> HealMemory:
    """What the ledger may hold of the workload's recycling, whatever happened to the process that wrote it."""
    gone = ["uid-gone-1", "uid-gone-2"]
    stage: Any = dice.choice(["pending", "broken", "canary", "batches", "restart"])
    most = {"canary": 1, "broken": 6, "batches": 3}.get(stage, 0)
    members = dice.some([*uids, *gone], most)
    at = dice.moment(0, -1, -8, -40, -400)
    batch = tuple(Eviction(pod=uid, uid=uid, at=at, done=dice.coin()) for uid in members)
    reason = dice.choice(["canary-failed", "canary-blocked", "immutable-cached-on-node"])
    halt = Halt(reason=reason, detail="it failed", at=at, pod="backend-0", sources_key=dice.choice([KEY, "old"]))
    return HealMemory(
        key=dice.mostly(KEY, "old", one_in=8),
        since=dice.moment(-10, -400),
        sources=dice.choice([(), SOURCES]),
        started=dice.choice([0.0, NOW - 300]),
        baseline=dice.randint(0, 6),
        stage=stage,
        batch=batch,
        batch_at=at,
        canary_passed=dice.coin(),
        recycled=dice.randint(0, 3),
        halt=dice.mostly(None, halt, one_in=8),
        restart_stamp=dice.choice(["", KEY]),
        blocked=dice.mostly("", "pod-disruption-budget", one_in=10),
        blocked_detail="PodDisruptionBudget backend allows no eviction now",
        blocked_until=dice.moment(-5, 5),
    )


def recycle_case(dice: Dice) -> RecycleCase:
    """One workload, as a plan sees it."""
    kind = dice.mostly("Deployment", "StatefulSet", "DaemonSet", "Pod", "ReplicaSet", "Rollout", one_in=3)
    key = WorkloadKey(NS, kind, "backend")
    owner = None if kind == "Pod" else Owner(kind, "backend", "o", "apps")
    usual = (State.STALE, State.STALE, State.FRESH, State.ASSUMED, State.SUSPECT)
    states = [dice.mostly(dice.choice(usual), State.UNKNOWN, one_in=60) for _ in range(dice.randint(0, 6))]
    pods = tuple(pod_case(dice, number, owner, state) for number, state in enumerate(states))
    policy = policy_of(dice)
    heal = heal_of(dice, [case.pod.uid for case in pods]) if dice.coin() else None
    around = Surroundings(
        begun=dice.coin() if heal is not None and heal.started else False,
        under_way=dice.mostly(0, 1, 3, 5, 9, one_in=8),
        under_way_here=dice.mostly(0, 1, 3, one_in=8),
        namespace_mode=dice.mode(),
        namespace_deleting=dice.mostly(False, True, one_in=25),
        blast=dice.mostly("", "12 of 20 workloads would be recycled", one_in=25),
        campaign=dice.mostly("", "another workload tries it first", one_in=12),
        single_attach=dice.mostly("", "data", one_in=5),
        lacking=dice.mostly("", "container app requires key K", one_in=12),
    )
    known = kind in ("Deployment", "StatefulSet", "DaemonSet") and dice.mostly(True, False, one_in=25)
    return RecycleCase(
        key=key,
        workload=workload_of(dice, key) if known else None,
        pods=pods,
        terminating=frozenset(dice.some(["uid-gone-1", "uid-gone-2", "uid-gone-3"], 3)),
        chains=tuple(chain_of(dice, number) for number in range(dice.randint(1, 2))),
        heal=heal,
        heal_key=KEY,
        recycled=dice.mostly(0, 3, 6, 18, one_in=8),
        sources=SOURCES,
        moved=(Moved(SourceKey("prod-kv.vault.azure.net", "db-password"), 1.0),),
        policy=policy,
        rule=policy.recycle_rule(NS),
        around=around,
        now=NOW,
    )


# ------------------------------------------------------------------------------------------------------------ sync

CHAIN = ObjectKey(NS, "app-secrets")
STORE = StoreKey("SecretStore", NS, "vault")


def external_secret(dice: Dice) -> ExternalSecret:
    """An ExternalSecret that may be synced, and as a rule recreated."""
    windows = (("deny", "* * * * *", 60.0), ("allow", "0 3 * * *", 60.0), ("deny", "nonsense", 60.0))
    return ExternalSecret(
        key=CHAIN, uid="es", resource_version="1", generation=1, created=NOW - 9000, stores=(STORE,),
        uses=(), target="app-secrets",
        mode=dice.mode(),
        creation_policy=dice.mostly("Owner", "Orphan", "Merge", "None", one_in=8),
        immutable=dice.mostly(True, False, one_in=6),
        sync_windows=dice.mostly((), *((window,) for window in windows), one_in=15),
        refresh_time=dice.choice([None, NOW - 100, NOW - 3500]),
        ready=dice.choice([True, False, None]),
    )  # fmt: skip


def secret_view(dice: Dice) -> SecretView:
    """Its Secret, or another that took its name."""
    return SecretView(
        key=CHAIN, uid="secret", resource_version="7", created=NOW - 9000, touched=NOW - 9000, prints={},
        immutable=True,
        owner_uid=dice.mostly("es", "", "other", one_in=8),
        finalizers=dice.mostly(False, True, one_in=10),
        foreign_writers=dice.mostly((), ("kubectl-edit",), one_in=10),
        deleting=dice.mostly(False, True, one_in=10),
    )  # fmt: skip


def source_memory(dice: Dice) -> SourceMemory:
    """A vault secret over time."""
    state = SourceState(
        present=dice.mostly(True, False, one_in=12),
        created=NOW - dice.choice([10, 200]),
        enabled=dice.mostly(True, False, one_in=12),
        ignored=dice.mostly(False, True, one_in=20),
    )
    return SourceMemory(state=state, event_at=state.created, seen_at=dice.moment(-9), witnessed=dice.coin())


def sync_case(dice: Dice) -> SyncCase:
    """One chain, as a plan sees it."""
    sources = {key: source_memory(dice) for key in SOURCES[: dice.randint(0, 2)]}
    kind = dice.choice([*sync.ORDER, Kind.STUCK, Kind.STALE, Kind.UNKNOWN, Kind.CONFLICT, Kind.STUCK_NEEDS_HAND])
    link = dice.choice([Link.VAULT, Link.SECRET])
    found = Finding(chain=CHAIN, link=dice.mostly(link, Link.CONTAINER), kind=kind, since=NOW - 60, evidence="e")
    covered = {str(key): dice.mostly(known.state.identity, "former", one_in=6) for key, known in sources.items()}
    attempt = SyncAttempt(stamp="1", at=NOW - 5, seen={}, reason="stale")
    recreate = RecreateAttempt(uid="secret", at=NOW - 5, state=dice.choice(["reserved", "deleted", "lost"]))
    since = {kind.value: dice.choice([NOW - 60, NOW - 1, NOW])} if dice.coin() else {}
    es = external_secret(dice)
    memory = ChainMemory(
        covered=covered,
        covered_at=NOW - dice.choice([5, 59, 61, 4000]),
        sync=dice.mostly(None, attempt, one_in=15),
        recreate=dice.mostly(None, recreate, one_in=15),
        since=since,
        failed_since=dice.choice([0.0, NOW - 60]),
        cause=dice.choice(["", "not-found", "access-denied", "unknown"]),
    )
    trouble = Trouble(cause="unreachable", detail="vault prod-kv does not answer")
    view = ChainView(
        es=es, stores={}, sources=sources,
        blind=dice.mostly((), (trouble,), one_in=12),
        secret=dice.mostly(secret_view(dice), None, one_in=2),
        memory=memory,
        rivals=dice.mostly((), ((ObjectKey(NS, "rival"), frozenset({"A"})),), one_in=12),
    )  # fmt: skip
    tries = Tries(
        key=dice.choice([sync.tries_key(view), "old"]),
        count=dice.randint(0, 4),
        next_at=dice.moment(-9, 9),
    )
    view = _with_tries(view, dice.mostly(None, tries, one_in=6))
    upstream = Upstream(vault=State.STALE, secret=State.STALE, findings=(found,))
    return SyncCase(
        view=view,
        report=ChainReport(chain=CHAIN, upstream=upstream, containers=State.AWAITING, findings=(found,)),
        policy=policy_of(dice),
        now=NOW,
        namespace_mode=dice.mode(),
        namespace_deleting=dice.mostly(False, True, one_in=20),
        in_flight=dice.randint(0, 6),
        other_recreate=dice.mostly("", "shop/other", one_in=12),
        throttled_until=dice.mostly(0.0, NOW + 9, one_in=15),
    )


def _with_tries(view: ChainView, tries: Tries | None) -> ChainView:
    return replace(view, memory=replace(view.memory, tries=tries))
