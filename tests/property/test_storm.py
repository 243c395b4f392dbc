"""What the blast radius is made of, kept up to date pass by pass, against the same made from scratch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from property.cases import Dice
from support.engines import looking

from agent.cluster.reflector import Changed, Scope
from agent.cluster.writer import Writer
from agent.engine.storm import Storm
from agent.engine.vaults import VaultAnswer
from agent.ledger import Ledger, LedgerProblem
from agent.memory import Memory
from agent.model import (
    ContainerRun,
    ContainerSpec,
    ExternalSecret,
    Namespace,
    ObjectKey,
    Owner,
    Pod,
    ReplicaSet,
    SecretStore,
    SecretView,
    SourceState,
    SourceUse,
    StoreKey,
    Use,
    VaultView,
    Workload,
    WorkloadKey,
)
from agent.policy import Policy, RecycleRule, SyncRule, VaultRule
from agent.policy.numbers import Limits

SPACES = ("shop", "bank")
VAULT = "prod-kv.vault.azure.net"
NAMES = ("one", "two", "three")
SECRETS = ("app", "db", "other")
MODES = ("", "", "", "ignore", "observe")
SEEDS, PASSES = 80, 40


class Bench:
    """An engine that only looks, fed with what reflectors and sweeps would bring."""

    def __init__(self, seed: int) -> None:
        self.dice = Dice(seed)
        self.engine = looking(Memory(key_id="k"), self.policy())
        self.context = self.engine.context
        self.now = self.context.now
        self.version = 0
        for space in SPACES:
            self.put("namespaces", Namespace(name=space))
            store = StoreKey("SecretStore", space, "kv")
            self.put("secretstores", SecretStore(key=store, provider="azurekv", host=VAULT))

    def policy(self) -> Policy:
        """One that recycles in one namespace or both."""
        dice = self.dice
        rule = RecycleRule(
            namespaces=(dice.mostly("*", "shop", one_in=3),), suspect=dice.choice(["report", "recycle"]),
            volumes=dice.choice(["ignore", "recycle"]), bare_pods=dice.choice(["refuse", "recycle"]),
        )  # fmt: skip
        limits = Limits(disruptive_percent=dice.choice([0, 10, 50]), disruptive_floor=dice.choice([1, 10]))
        vault, sync = VaultRule(name="prod-kv", namespaces=("*",)), SyncRule(namespaces=("*",), steps=("force-sync",))
        return Policy(mode="heal", vaults=(vault,), sync=(sync,), recycle=dice.mostly((rule,), ()), limits=limits)

    def put(self, resource: str, obj: object, kind: str = "MODIFIED") -> None:
        """What a watch brings."""
        self.version += 1
        self.context.observer.take(Changed(Scope(resource), kind, obj, self.now))

    def chain(self, key: ObjectKey, target: str, *names: str, synced: float, mode: str = "") -> ExternalSecret:
        """One that reads these, and was synced so many seconds ago."""
        store = StoreKey("SecretStore", key.namespace, "kv")
        return ExternalSecret(
            key=key, uid=str(key), resource_version=str(self.version), generation=1, created=self.now - 90_000,
            stores=(store,), target=target, expected_keys=tuple(name.upper() for name in names),
            uses=tuple(SourceUse(store=store, name=name, secret_keys=(name.upper(),)) for name in names),
            refresh_time=self.now - synced, synced_generation=1, ready=True, ready_since=self.now - 90_000, mode=mode,
        )  # fmt: skip

    def external_secret(self) -> None:
        """One comes, changes or goes."""
        dice, key = self.dice, ObjectKey(self.dice.choice(SPACES), self.dice.choice(["a", "b", "c"]))
        target, names, synced = dice.choice(SECRETS), dice.some(NAMES, 2), dice.choice([10, 4000, 80_000])
        es = self.chain(key, target, *names, synced=synced, mode=dice.choice(MODES))
        self.put("externalsecrets", es, dice.mostly("MODIFIED", "DELETED", one_in=3))

    def secret(self) -> None:
        """Its data changes, or it goes."""
        dice, key = self.dice, ObjectKey(self.dice.choice(SPACES), self.dice.choice(SECRETS))
        seen = SecretView(
            key=key, uid=str(key), resource_version=str(self.version), created=self.now - 90_000,
            touched=self.now - dice.choice([5, 3000]), prints={name.upper(): dice.choice("abc") for name in NAMES},
            managed=True, immutable=dice.mostly(False, True), hash_fits=True,
        )  # fmt: skip
        self.put("secrets", seen, dice.mostly("MODIFIED", "DELETED", one_in=6))

    def pod(self) -> None:
        """One comes, says another word, or goes."""
        dice, space = self.dice, self.dice.choice(SPACES)
        app = dice.choice(["red", "green", "blue", "bare"])
        owners = {
            "red": Owner("ReplicaSet", "red-1", f"{space}-red-1", "apps"),
            "green": Owner("StatefulSet", "green", "green", "apps"),
            "blue": Owner("DaemonSet", "blue", "blue", "apps"),
        }
        started = self.now - dice.choice([1, 500, 50_000])
        via = dice.choice(["env", "volume", "subPath"])
        uses = tuple(Use(name, via, (dice.choice(NAMES).upper(),)) for name in dice.some(SECRETS, 2))
        key, deleting, mode = (
            ObjectKey(space, f"{app}-{dice.randint(0, 1)}"),
            dice.mostly(False, True),
            dice.choice(MODES),
        )
        seen = self.consumer(key, uses, started, owner=owners.get(app), deleting=deleting, mode=mode)
        self.put("pods", seen, dice.mostly("MODIFIED", "DELETED", one_in=4))

    def consumer(self, key: ObjectKey, uses: tuple[Use, ...], started: float, **fields: Any) -> Pod:
        """A pod of one container."""
        given = {
            "key": key, "uid": str(key), "created": started - 2, "node": "", "owner": None, "phase": "Running",
            "ready": True, "ready_since": started, "deleting": False,
            "containers": (ContainerSpec("app", "container", uses),),
            "runs": (ContainerRun("running", started, ready=True),),
            "references": tuple(use.secret for use in uses), **fields,
        }  # fmt: skip
        return Pod(**given)

    def workload(self) -> None:
        """One comes, changes, or goes."""
        dice, space = self.dice, self.dice.choice(SPACES)
        resource, kind, name = dice.choice(
            [("deployments", "Deployment", "red"), ("statefulsets", "StatefulSet", "green")]
        )
        mode = dice.choice(MODES)
        workload = Workload(
            key=WorkloadKey(space, kind, name), uid=name, generation=1, observed_generation=1,
            annotations={"secret-drift-agent/mode": mode} if mode else {}, template_annotations={}, template_digest="t",
            replicas=2, updated=2, ready=2, strategy="RollingUpdate",
        )  # fmt: skip
        self.put(resource, workload, dice.mostly("MODIFIED", "DELETED", one_in=5))

    def replica_set(self) -> None:
        """It is adopted, or orphaned."""
        space = self.dice.choice(SPACES)
        owner = self.dice.mostly(Owner("Deployment", "red", "red", "apps"), None, one_in=3)
        self.put("replicasets", ReplicaSet(key=ObjectKey(space, "red-1"), uid=f"{space}-red-1", owner=owner))

    def namespace(self) -> None:
        """Its owner has another word."""
        self.put("namespaces", Namespace(name=self.dice.choice(SPACES), mode=self.dice.choice(MODES)))

    def sweep(self) -> None:
        """The vault has newer versions, tags, and secrets less."""
        dice = self.dice
        self.answered(
            {
                name: SourceState(created=self.now - dice.choice([100, 3000, 70_000]), ignored=dice.mostly(False, True))
                for name in dice.some(NAMES, 3)
            }
        )

    def answered(self, states: dict[str, SourceState]) -> None:
        """What a sweep brings."""
        seen = VaultView(host=VAULT, asked_at=self.now, answered_at=self.now, sources=states)
        self.engine.take_in(VaultAnswer(view=seen, versions={}, wanted=frozenset(NAMES)))

    def reload(self) -> None:
        """Another policy is in force."""
        self.context.policy = self.policy()
        self.engine.full()

    def something(self) -> None:
        """Anything that can happen between two passes."""
        often: list[Callable[[], None]] = [self.external_secret, self.secret, self.pod, self.pod, self.sweep]
        self.dice.choice([*often, self.workload, self.replica_set, self.namespace, self.reload])()


def told(storm: Storm, bench: Bench) -> tuple[object, ...]:
    """All that the gate goes by."""
    consumers = sorted(bench.context.world.consumers())
    return storm._exceeded_now(), storm.stale(), storm._coming_by, [key for key in consumers if storm._may_go(key)]


def from_scratch(bench: Bench) -> Storm:
    """One that remembers nothing."""
    storm = Storm(bench.context, bench.engine.chains)
    storm.judged(bench.engine.chains.reports)
    storm.passed(())
    return storm


def test_what_is_made_anew_in_part_is_what_is_made_from_scratch() -> None:
    """Whatever comes between two passes, and however much: workloads that would go, could go, and are too many."""
    happened: Counter[str] = Counter()
    for seed in range(SEEDS):
        bench = Bench(seed)
        for _ in range(PASSES):
            for _ in range(bench.dice.randint(1, 4)):
                bench.something()
            bench.engine.step()
            whole = from_scratch(bench)
            assert told(bench.engine.workloads.storm, bench) == told(whole, bench), f"seed {seed}"
            happened.update(stale=bool(whole.stale()), coming=bool(whole._coming_by), many=bool(whole._exceeded_now()))
    assert min(happened[what] for what in ("stale", "coming", "many")) > 20, happened


def test_a_chain_that_went_in_a_pass_which_failed_counts_no_more() -> None:
    """The ledger could not be written before the sync of another one: nothing tells of the chain that is gone again."""
    bench = Bench(0)
    for name, secret in (("a", "app"), ("b", "db")):
        bench.put("externalsecrets", bench.chain(ObjectKey("shop", name), secret, "one", synced=4000))
        view = SecretView(
            key=ObjectKey("shop", secret), uid=secret, resource_version="1", created=bench.now - 90_000,
            touched=bench.now - 4000, prints={"ONE": "a"}, managed=True, hash_fits=True,
        )  # fmt: skip
        bench.put("secrets", view)
    uses = (Use("db", "env", ("ONE",)),)
    bench.put("pods", bench.consumer(ObjectKey("shop", "web"), uses, bench.now - 50_000))
    bench.answered({"one": SourceState(created=bench.now - 100)})
    bench.engine.step()
    assert told(bench.engine.workloads.storm, bench)[2]
    for name, secret, kind in (("a", "app", "MODIFIED"), ("b", "db", "DELETED")):
        bench.put("externalsecrets", bench.chain(ObjectKey("shop", name), secret, "one", synced=4000), kind)
    context, engine = bench.context, bench.engine
    context.writer, kept = Writer(context.conn), context.ledger
    context.ledger, engine.acting = Ledger(context.conn, "agent", context.writer), True
    with pytest.raises(LedgerProblem):
        bench.engine.step()
    context.writer, context.ledger, engine.acting = None, kept, False
    bench.engine.full()
    bench.engine.step()
    assert told(bench.engine.workloads.storm, bench) == told(from_scratch(bench), bench)
