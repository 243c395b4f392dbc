"""A whole chain: which containers are fresh, assumed, stale, suspect or unknown, and what is said of them."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from agent.diagnose import causes
from agent.diagnose.chain import diagnose, workload_finding
from agent.diagnose.view import MANY_RIVALS, ChainReport, ChainView
from agent.memory import Entry, NodeCache, SecretMemory, SourceMemory, VersionSeen
from agent.model import (
    ContainerRun,
    ContainerSpec,
    ExternalSecret,
    Kind,
    ObjectKey,
    Pod,
    SecretStore,
    SecretView,
    SourceKey,
    SourceState,
    SourceUse,
    State,
    StoreKey,
    Trouble,
    Use,
    WorkloadKey,
)
from agent.policy import Policy

POLICY = Policy()
NOW = 2_000_000.0
LOOK = NOW - 1000
"""Our first look at the Secret."""
KEY = ObjectKey("shop", "app-secrets")
STORE = StoreKey("SecretStore", "shop", "vault")
SOURCE = SourceKey("prod-kv.vault.azure.net", "api-key")
USE = SourceUse(store=STORE, name="api-key", secret_keys=("API_KEY",), place="spec.data[0]")
ENV = Use("app-secrets", "env", ("API_KEY",))
LONG_AGO = NOW - 1_000_000
BACKEND = WorkloadKey("shop", "Deployment", "backend")


def external_secret(**fields: Any) -> ExternalSecret:
    """In sync, Ready since long ago, refreshed every hour."""
    given = {
        "key": KEY, "uid": "es", "resource_version": "1", "generation": 1, "created": LONG_AGO,
        "stores": (STORE,), "uses": (USE,), "target": "app-secrets", "expected_keys": ("API_KEY",),
        "spec_changed": LONG_AGO, "refresh_time": NOW - 60, "ready": True, "ready_since": LONG_AGO,
        "synced_generation": 1, **fields,
    }  # fmt: skip
    return ExternalSecret(**given)


def history(*values: tuple[str, float], first_look: float = LOOK) -> SecretMemory:
    """A Secret whose key held these values, each written at one moment, newest first."""
    entries = tuple(Entry(value=value, lo=at, hi=at) for value, at in values)
    return SecretMemory(
        uid="s", resource_version="1", touched=values[0][1], first_look=first_look, keys={"API_KEY": entries}
    )


def pod(
    name: str, *, created: float, started: float | None = None, uses: tuple[Use, ...] = (ENV,), **fields: Any
) -> Pod:
    """A running pod with one container that started 2 s after the pod's creation."""
    run = ContainerRun(state="running", started=created + 2 if started is None else started, ready=True)
    given = {
        "key": ObjectKey("shop", name), "uid": name, "created": created, "node": "node-1",
        "owner": None, "phase": "Running", "ready": True, "ready_since": created + 3, "deleting": False,
        "containers": (ContainerSpec("app", "container", uses),), "runs": (run,), **fields,
    }  # fmt: skip
    return Pod(**given)


def view(*pods: Pod, memory: SecretMemory | None = None, created: float = LONG_AGO, **fields: Any) -> ChainView:
    """A chain whose vault secret and Secret are in order."""
    known = memory or history(("a", LOOK))
    current = {key: entries[0].value for key, entries in known.keys.items()}
    source = SourceMemory(
        state=SourceState(created=created), event_at=created, seen_at=created + 10,
        versions=(VersionSeen(created=created), VersionSeen(created=LONG_AGO - 5)),
    )  # fmt: skip
    given: dict[str, Any] = {
        "es": external_secret(),
        "stores": {STORE: SecretStore(key=STORE, provider="azurekv", host=SOURCE.vault, changed=LONG_AGO)},
        "sources": {SOURCE: source},
        "resolved": ((USE, SOURCE),),
        "secret": SecretView(
            key=KEY, uid="s", resource_version="1", created=LONG_AGO, touched=LONG_AGO, prints=current, managed=True,
            hash_fits=True,
        ),
        "secret_memory": known,
        "pods": pods,
        "nodes_ready": frozenset({"node-1", "node-2"}),
    }  # fmt: skip
    return ChainView(**{**given, **fields})


def states(report: ChainReport) -> dict[str, State]:
    """Pod -> verdict, of a report in full."""
    return {verdict.pod.name: verdict.state for verdict in report.verdicts}


def full(seen: ChainView) -> ChainReport:
    """The verdict with fresh containers named too."""
    return diagnose(seen, POLICY, NOW, full=True)


def test_who_started_before_the_change_is_stale_and_who_started_after_it_is_fresh() -> None:
    """And who started at that moment may hold either."""
    changed = NOW - 500
    report = full(
        view(
            pod("before", created=changed - 100),
            pod("at", created=changed - 1),
            pod("after", created=changed + 10),
            memory=history(("b", changed), ("a", LOOK)),
            created=changed - 20,
        )
    )
    assert states(report) == {"before": State.STALE, "at": State.SUSPECT, "after": State.FRESH}
    assert report.containers is State.STALE
    assert report.fresh == 1


def test_fresh_containers_are_counted_and_named_only_where_asked() -> None:
    """Fifty thousand of them would be said for nothing."""
    fresh = view(pod("p", created=LOOK + 10))
    assert (diagnose(fresh, POLICY, NOW).verdicts, diagnose(fresh, POLICY, NOW).fresh) == ((), 1)
    assert states(full(fresh)) == {"p": State.FRESH}


def test_a_stale_container_is_said_with_the_versions_it_may_run() -> None:
    """The set of versions that were the newest while the value that it holds was written."""
    changed = NOW - 500
    report = full(
        view(pod("p", created=changed - 100), memory=history(("b", changed), ("a", LOOK)), created=changed - 60)
    )
    assert report.verdicts[0].versions == ((SOURCE, (LONG_AGO - 5,)),)
    assert "holds an older API_KEY" in report.verdicts[0].evidence


def test_before_our_first_look_who_started_well_after_the_newest_version_is_assumed_to_hold_it() -> None:
    """More than refreshInterval and the vault's margin later; who started earlier is suspect."""
    born = LOOK - 10_000
    report = full(view(pod("early", created=born + 3600), pod("late", created=born + 3600 + 30 + 10), created=born))
    assert states(report) == {"early": State.SUSPECT, "late": State.ASSUMED}
    assert report.containers is State.SUSPECT
    assert report.fresh == 1


def test_nothing_is_assumed_where_the_spec_the_store_or_readiness_is_younger_than_the_container() -> None:
    """Each of them can have changed what ESO wrote since."""
    old = pod("p", created=LOOK - 500)
    store = SecretStore(key=STORE, provider="azurekv", host=SOURCE.vault, changed=LOOK - 100)
    for seen in (
        view(old, es=external_secret(spec_changed=LOOK - 100)),
        view(old, es=external_secret(ready_since=LOOK - 100)),
        view(old, es=external_secret(created=LOOK - 100)),
        view(old, stores={STORE: store}),
        view(old, blind=(Trouble(cause="unreachable", detail="vault prod-kv does not answer"),)),
    ):
        assert states(full(seen)) == {"p": State.SUSPECT}
    assert states(full(view(old))) == {"p": State.ASSUMED}


def test_a_store_or_spec_changed_since_eso_became_ready_is_read_at_its_next_refresh() -> None:
    """Who started between the change and that refresh may hold what was before; a change before Ready was read then."""
    changed = LOOK - 10_000
    early, late = pod("early", created=changed + 60), pod("late", created=changed + 3600 + 30 + 10)
    store = SecretStore(key=STORE, provider="azurekv", host=SOURCE.vault, changed=changed)
    for seen in (
        view(early, late, stores={STORE: store}),
        view(early, late, es=external_secret(spec_changed=changed)),
    ):
        assert states(full(seen)) == {"early": State.SUSPECT, "late": State.ASSUMED}
    at_once = view(early, late, stores={STORE: store}, es=external_secret(ready_since=changed))
    assert states(full(at_once)) == {"early": State.ASSUMED, "late": State.ASSUMED}


def test_where_no_interval_makes_eso_refresh_only_who_started_after_the_secrets_last_write_is_assumed() -> None:
    """Under OnChange, or held back by sync windows, ESO may have fetched the newest version at any time."""
    written = LOOK - 500
    early, late = pod("early", created=written - 60), pod("late", created=written + 60)
    secret = SecretView(
        key=KEY, uid="s", resource_version="1", created=LONG_AGO, touched=written, prints={"API_KEY": "a"}, managed=True
    )
    for fields in ({"refresh_policy": "OnChange"}, {"sync_windows": (("deny", "* * * * *", 60.0),)}):
        seen = view(early, late, es=external_secret(**fields), secret=secret)
        assert states(full(seen)) == {"early": State.SUSPECT, "late": State.ASSUMED}
    assert states(full(view(early, late, secret=secret))) == {"early": State.ASSUMED, "late": State.ASSUMED}


def test_what_was_assumed_once_is_not_doubted_by_what_comes_after_our_first_look() -> None:
    """A version with the same value, an edit of the spec, a failed sync: none of them tells of the time before."""
    old = pod("p", created=LOOK - 500)
    first = full(view(old))
    assert first.assumed_from < old.created
    remembered = replace(history(("a", LOOK)), assumed_from=first.assumed_from)
    later = NOW - 300
    for seen in (
        view(old, memory=remembered, created=later),
        view(old, memory=remembered, es=external_secret(spec_changed=later)),
        view(old, memory=remembered, es=external_secret(ready_since=later)),
    ):
        assert states(full(seen)) == {"p": State.ASSUMED}
    assert states(full(view(old, created=later))) == {"p": State.SUSPECT}


def test_once_a_change_is_witnessed_everyone_from_before_our_first_look_is_stale() -> None:
    """A value never seen before cannot be what they hold, assumed or suspect alike."""
    changed = NOW - 500
    memory = history(("b", changed), ("a", LOOK))
    report = full(view(pod("p", created=LOOK - 500), pod("q", created=LOOK - 9000), memory=memory, created=changed - 9))
    assert states(report) == {"p": State.STALE, "q": State.STALE}


def test_containers_of_one_pod_are_judged_each_by_its_own_run() -> None:
    """One restarted after the change, its neighbour did not."""
    changed = NOW - 500
    both = (ContainerSpec("app", "container", (ENV,)), ContainerSpec("helper", "container", (ENV,)))
    again = ContainerRun(state="running", started=changed + 30, previous_finished=changed + 29, ready=True, restarts=1)
    first = ContainerRun(state="running", started=LOOK + 12, ready=True)
    report = full(
        view(
            pod("p", created=LOOK + 10, containers=both, runs=(again, first)),
            memory=history(("b", changed), ("a", LOOK)), created=changed - 20,
        )
    )  # fmt: skip
    assert {verdict.container: verdict.state for verdict in report.verdicts} == {
        "app": State.FRESH, "helper": State.STALE,
    }  # fmt: skip


def test_a_container_that_does_not_use_the_changed_key_is_fresh() -> None:
    """Consumption is per key."""
    changed = NOW - 500
    memory = history(("b", changed), ("a", LOOK))
    memory = replace(memory, keys={**memory.keys, "OTHER": (Entry(value="o", lo=LOOK, hi=LOOK),)})
    other, everything = Use("app-secrets", "env", ("OTHER",)), Use("app-secrets", "envFrom")
    shadowing = Use("app-secrets", "envFrom", without=("API_KEY",))
    report = full(
        view(
            pod("other", created=LOOK + 10, uses=(other,)),
            pod("all", created=LOOK + 10, uses=(everything,)),
            pod("shadowing", created=LOOK + 10, uses=(shadowing,)),
            memory=memory,
            created=changed - 20,
        )
    )
    assert states(report) == {"other": State.FRESH, "all": State.STALE, "shadowing": State.FRESH}


def test_while_the_secret_is_not_what_it_should_be_containers_await_it() -> None:
    """What they should hold is not known yet, so nothing is said of them."""
    behind = SourceMemory(state=SourceState(created=NOW - 10), event_at=NOW - 10, seen_at=NOW, witnessed=True)
    report = diagnose(view(pod("p", created=LOOK - 500), sources={SOURCE: behind}), POLICY, NOW)
    assert report.upstream.vault is State.STALE
    assert report.containers is State.AWAITING
    assert report.verdicts == ()
    gone = diagnose(view(pod("p", created=LOOK - 500), secret=None), POLICY, NOW)
    assert gone.containers is State.AWAITING


def test_an_excluded_or_pinned_chain_says_nothing_of_its_containers() -> None:
    """Nobody can say what they should hold."""
    old = pod("p", created=LOOK - 500)
    for fields, state in (
        ({"excluded": "it uses a generator"}, State.EXCLUDED),
        ({"refresh_policy": "CreatedOnce"}, State.PINNED),
    ):
        report = diagnose(view(old, es=external_secret(**fields)), POLICY, NOW)
        assert (report.containers, report.verdicts) == (state, ())


def test_a_chain_of_which_not_all_sources_can_be_named_is_not_pinned_by_those_that_are() -> None:
    """A search beside a fixed version brings newer values all the same: its containers are judged."""
    fixed = replace(USE, version="0123456789abcdef")
    changed = NOW - 500
    seen = view(
        pod("p", created=changed - 100), es=external_secret(uses=(fixed,), unsupported="spec.dataFrom[0].find: ..."),
        resolved=((fixed, SOURCE),), memory=history(("b", changed), ("a", LOOK)),
    )  # fmt: skip
    report = full(seen)
    assert [finding.cause for finding in report.upstream.findings] == ["unsupported"]
    assert states(report) == {"p": State.STALE}
    alone = full(replace(seen, es=external_secret(uses=(fixed,))))
    assert (alone.containers, alone.verdicts) == (State.PINNED, ())


OTHER = SourceKey(SOURCE.vault, "other")
OLD = SourceMemory(state=SourceState(created=LONG_AGO), event_at=LONG_AGO, seen_at=LOOK)
GONE = SourceMemory(state=SourceState(present=False), event_at=NOW - 500, seen_at=NOW - 500, witnessed=True)


def beside(other: SourceMemory, *, version: str = "", **fields: Any) -> ChainView:
    """A chain that is in order, and reads a second vault secret of which this is known."""
    use = SourceUse(store=STORE, name="other", version=version, secret_keys=("OTHER",), place="spec.data[1]")
    es = external_secret(uses=(USE, use), **fields)
    return view(es=es, sources={SOURCE: OLD, OTHER: other}, resolved=((USE, SOURCE), (use, OTHER)))


def test_a_vault_secret_that_is_gone_fails_no_sync_of_a_chain_that_passes_over_it() -> None:
    """Under deletionPolicy Delete or Merge its key goes, which is what the spec asks for; only Retain needs it."""
    kept = full(beside(GONE, deletion_policy="Retain"))
    assert [(finding.kind, finding.cause) for finding in kept.findings] == [(Kind.SYNC_FAILED, "not-found")]
    for policy in ("Delete", "Merge"):
        report = full(beside(GONE, deletion_policy=policy))
        assert (report.upstream.vault, report.findings) == (State.FRESH, ())
        seen = beside(GONE, deletion_policy=policy, ready=False, ready_reason="SecretSyncedError")
        assert causes.seen_by_us(seen) is None


def test_a_disabled_version_is_in_the_way_of_who_reads_it_alone() -> None:
    """Where every use names a version by its id, ESO syncs: nothing is held up, and a newer neighbour is found."""
    off = SourceMemory(state=SourceState(created=LOOK, enabled=False), event_at=LOOK, seen_at=LOOK, witnessed=True)
    assert full(beside(off)).upstream.vault is State.UNKNOWN
    fixed = beside(off, version="0123456789abcdef")
    assert full(fixed).upstream.vault is State.FRESH
    new = SourceMemory(state=SourceState(created=NOW - 10), event_at=NOW - 10, seen_at=NOW, witnessed=True)
    behind = full(replace(fixed, sources={**fixed.sources, SOURCE: new}))
    assert [finding.kind for finding in behind.upstream.findings] == [Kind.STALE, Kind.DISABLED]


def test_an_immutable_secret_is_not_stuck_for_a_version_that_nobody_reads() -> None:
    """It would be deleted for nothing: the newest version of what is read by a fixed one was never to come into it."""
    new = SourceMemory(state=SourceState(created=LOOK), event_at=LOOK, seen_at=LOOK, witnessed=True)
    assert [finding.kind for finding in full(beside(new, immutable=True)).findings] == [Kind.STUCK]
    assert full(beside(new, immutable=True, version="0123456789abcdef")).findings == ()


def test_a_container_on_a_node_that_is_not_ready_is_unknown() -> None:
    """Nobody hears from its kubelet: it may have restarted since."""
    report = full(view(pod("p", created=LOOK + 10), nodes_ready=frozenset({"node-2"})))
    assert states(report) == {"p": State.UNKNOWN}
    assert report.containers is State.UNKNOWN


def test_pods_that_cannot_be_read_are_unknown_and_never_drift() -> None:
    """A 403 on pods leaves links 1 and 2 judged."""
    report = diagnose(view(pods_trouble=Trouble(cause="forbidden", detail="pods: 403")), POLICY, NOW)
    assert report.containers is State.UNKNOWN
    assert [finding.kind for finding in report.findings] == [Kind.UNKNOWN]
    assert report.upstream.vault is State.FRESH


def test_of_a_secret_that_two_chains_write_each_judges_its_own_keys() -> None:
    """The other chain's key moved: that is for the other chain to say."""
    changed = NOW - 500
    memory = history(("a", LOOK))
    memory = replace(
        memory,
        keys={**memory.keys, "OTHER": (Entry(value="n", lo=changed, hi=changed), Entry(value="o", lo=LOOK, hi=LOOK))},
    )
    seen = view(
        pod("p", created=LOOK + 10, uses=(Use("app-secrets", "envFrom"),)),
        memory=memory,
        rivals=((ObjectKey("shop", "other"), frozenset({"OTHER"})),),
    )
    assert states(full(seen)) == {"p": State.FRESH}
    assert states(full(replace(seen, rivals=()))) == {"p": State.STALE}


def test_more_rivals_than_anybody_wants_are_a_conflict_by_their_number() -> None:
    """Of two that share no key there is nothing to say; of many, their keys are not looked at, and that is said."""

    def conflicts(count: int) -> list[str]:
        rivals = tuple((ObjectKey("shop", f"other-{n}"), frozenset({"OTHER"})) for n in range(count))
        found = full(view(rivals=rivals)).findings
        return [finding.evidence for finding in found if finding.kind is Kind.CONFLICT]

    assert conflicts(MANY_RIVALS) == []
    assert conflicts(MANY_RIVALS + 1) == [
        f"more than {MANY_RIVALS} other ExternalSecrets write Secret app-secrets; give each its own"
    ]


def test_a_pod_beside_an_old_reference_to_a_recreated_immutable_secret_is_not_called_fresh() -> None:
    """kubelet may have given it the former object; on a clean node it is fresh."""
    changed = NOW - 500
    cache = NodeCache(uid="s", at=changed, dirty=("node-1",))
    memory = replace(history(("b", changed), ("a", LOOK)), immutable=True, cache=cache)
    report = full(
        view(
            pod("beside", created=changed + 10),
            pod("alone", created=changed + 10, node="node-2"),
            memory=memory,
            created=changed - 20,
        )
    )
    assert states(report) == {"beside": State.SUSPECT, "alone": State.FRESH}
    assert [verdict.pod.name for verdict in report.verdicts if verdict.cached_on_node] == ["beside"]


def test_a_workload_is_told_of_by_its_worst_containers_and_how_many_they_are() -> None:
    """One finding, with the evidence of the first."""
    changed = NOW - 500
    old = [pod(name, created=LOOK + 10) for name in ("p", "q")]
    report = diagnose(
        view(*old, pod("r", created=changed - 1), memory=history(("b", changed), ("a", LOOK)), created=changed - 20),
        POLICY,
        NOW,
    )
    finding = workload_finding(report, BACKEND, list(report.verdicts), since=NOW - 5)
    assert finding is not None
    assert (finding.kind, finding.workload, finding.since) == (Kind.STALE_POD, BACKEND, NOW - 5)
    assert finding.evidence.startswith("p container app: started ")
    assert finding.evidence.endswith("(and 1 more)")
    assert finding.sources == (SOURCE,)
    suspects = [verdict for verdict in report.verdicts if verdict.state is State.SUSPECT]
    only = workload_finding(report, BACKEND, suspects, since=NOW)
    assert only is not None
    assert only.kind is Kind.SUSPECT
    assert workload_finding(report, BACKEND, [], since=NOW) is None


def test_settling_counts_from_the_newest_witnessed_event_or_data_change() -> None:
    """A version that was there when we first looked is no change; who starts right after that look is unsure, too."""
    assert full(view()).changed_at == LOOK
    changed = NOW - 500
    assert full(view(memory=history(("b", changed), ("a", LOOK)))).changed_at == changed
    witnessed = SourceMemory(state=SourceState(created=NOW - 100), event_at=NOW - 100, seen_at=NOW - 90, witnessed=True)
    assert full(view(sources={SOURCE: witnessed})).changed_at == NOW - 90
