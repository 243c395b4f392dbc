"""A Secret whose data somebody else than ESO wrote, consistently with ESO's own marks: what is said of it, and when."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from agent.diagnose import elsewhere
from agent.diagnose.chain import diagnose
from agent.diagnose.view import ChainReport, ChainView
from agent.memory import ChainMemory, Entry, SecretMemory, SourceMemory
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
    Use,
)
from agent.policy import Policy

POLICY = Policy()  # a good sync may explain a change for 10 s
LONG_AGO = 1_000_000.0
LOOK = 2_000_000.0
WROTE = LOOK + 1000
"""When somebody wrote the Secret."""
KEY = ObjectKey("shop", "app-secrets")
STORE = StoreKey("SecretStore", "shop", "vault")
SOURCE = SourceKey("prod-kv.vault.azure.net", "api-key")
USE = SourceUse(store=STORE, name="api-key", secret_keys=("API_KEY",), place="spec.data[0]")
ES = ExternalSecret(
    key=KEY, uid="es", resource_version="1", generation=1, created=LONG_AGO, stores=(STORE,),
    uses=(USE,), target=KEY.name, expected_keys=("API_KEY",), spec_changed=LONG_AGO, refresh_time=LOOK - 60, ready=True,
    ready_since=LONG_AGO, synced_generation=1,
)  # fmt: skip
SECRET = SecretView(
    key=KEY, uid="s", resource_version="9", created=LONG_AGO, touched=WROTE, prints={}, managed=True, hash_fits=True,
    foreign_writers=("velero",), foreign_wrote=WROTE,
)  # fmt: skip


def restored(*values: str, refreshed: float = LOOK - 60, moved: bool = True, **fields: Any) -> ChainView:
    """A Secret that held these values, newest first, and was restored at WROTE, which ``moved`` its data or did not.

    The oldest value is that of our first look; ESO brought what came later but the restored one.
    """
    times = (WROTE, LOOK + 100) if moved else (LOOK + 100,)
    changes = [Entry(value=value, lo=at, hi=at + 0.5) for value, at in zip(values, times, strict=False)]
    first = Entry(value=values[-1], lo=LOOK, hi=LOOK)
    memory = SecretMemory(
        uid="s", resource_version="9", touched=WROTE, first_look=LOOK, keys={"API_KEY": (*changes, first)}
    )
    use = Use(KEY.name, "env", ("API_KEY",))
    pod = Pod(
        key=ObjectKey("shop", "p"), uid="p", created=LOOK + 200, node="node-1", owner=None,
        phase="Running", ready=True, ready_since=None, deleting=False,
        containers=(ContainerSpec("app", "container", (use,)),),
        runs=(ContainerRun(state="running", started=LOOK + 201, ready=True),),
    )  # fmt: skip
    given: dict[str, Any] = {
        "es": replace(ES, refresh_time=refreshed),
        "stores": {STORE: SecretStore(key=STORE, provider="azurekv", host=SOURCE.vault, changed=LONG_AGO)},
        "sources": {SOURCE: SourceMemory(state=SourceState(created=LONG_AGO), event_at=LONG_AGO, seen_at=LONG_AGO)},
        "resolved": ((USE, SOURCE),),
        "secret": replace(SECRET, prints={"API_KEY": values[0]}),
        "secret_memory": memory,
        "pods": (pod,),
        "nodes_ready": frozenset({"node-1"}),
        **fields,
    }
    return ChainView(**given)


def kinds(report: ChainReport) -> list[Kind]:
    """What is found."""
    return [finding.kind for finding in report.findings]


def test_a_change_that_a_sync_may_still_explain_is_no_drift_and_no_measure_for_containers() -> None:
    """An old Secret is restored: who holds the newer value of ESO's own is not behind, at no moment."""
    view = restored("old", "new", "old")
    at_once = diagnose(view, POLICY, WROTE + 1)
    assert (kinds(at_once), at_once.upstream.secret) == ([], State.UNKNOWN)
    assert (at_once.containers, at_once.verdicts, at_once.wake_at) == (State.AWAITING, (), WROTE + 10)
    later = diagnose(view, POLICY, WROTE + 10)
    assert (kinds(later), later.containers, later.verdicts) == ([Kind.CHANGED_ELSEWHERE], State.AWAITING, ())
    assert later.findings[0].since == WROTE
    assert "by velero" in later.findings[0].evidence


def test_a_write_stamped_by_a_clock_a_little_ahead_of_ours_is_no_sync_of_esos() -> None:
    """Of several API servers one may be ahead: the old value that it was restored to makes no pod stale."""
    view = restored("old", "new", "old")
    memory = view.secret_memory
    assert memory is not None
    first, *rest = memory.keys["API_KEY"]
    seen = (replace(first, lo=WROTE - 1.6, hi=WROTE - 1.5), *rest)
    report = diagnose(replace(view, secret_memory=replace(memory, keys={"API_KEY": seen})), POLICY, WROTE + 10)
    assert (kinds(report), report.verdicts) == ([Kind.CHANGED_ELSEWHERE], ())


def test_what_was_found_lasts_until_it_is_healed() -> None:
    """Though it is written again and again, or our estimate of the time goes back a little."""
    found = ChainMemory(since={Kind.CHANGED_ELSEWHERE.value: WROTE + 10})
    assert kinds(diagnose(restored("old", "new", "old", memory=found), POLICY, WROTE + 9.9)) == [Kind.CHANGED_ELSEWHERE]


def test_a_write_that_left_the_data_as_they_were_is_nothing() -> None:
    """A backup restored with the current values, at once and later."""
    view = restored("new", "old", moved=False)
    for now in (WROTE + 1, WROTE + 100):
        report = diagnose(view, POLICY, now)
        assert (kinds(report), report.upstream.secret, report.containers) == ([], State.FRESH, State.FRESH)


def test_a_sync_that_began_later_has_put_it_right() -> None:
    """By ESO's own time, or by a force-sync of ours that was acknowledged: what is there now is what the vault has."""
    for view in (
        restored("back", "new", "old", refreshed=WROTE + 1),
        restored("back", "new", "old", memory=ChainMemory(covered_at=WROTE + 2)),
    ):
        assert elsewhere.undone(view)
        report = diagnose(view, POLICY, WROTE + 100)
        assert (kinds(report), report.upstream.secret, report.containers) == ([], State.FRESH, State.STALE)
    same_second = restored("back", "new", "old", refreshed=WROTE)
    assert not elsewhere.undone(same_second)
    assert kinds(diagnose(same_second, POLICY, WROTE + 100)) == [Kind.CHANGED_ELSEWHERE]


def test_who_runs_what_eso_has_just_put_back_is_not_held_against_what_was_there_before() -> None:
    """ESO tells of its sync, and the Secret that it wrote has not come to us: nothing is said until it has."""
    report = diagnose(restored("old", "new", "old", refreshed=WROTE + 1, secret_behind=True), POLICY, WROTE + 2)
    assert (kinds(report), report.upstream.secret, report.containers) == ([], State.UNKNOWN, State.AWAITING)
    assert (report.verdicts, report.wake_at) == ((), WROTE + 3)


def test_nothing_is_undone_where_nobody_changed_anything() -> None:
    """ESO wrote the data last; or another's fields hold what ESO wrote, too."""
    own = replace(SECRET, prints={"API_KEY": "new"}, foreign_writers=(), foreign_wrote=None, eso_wrote=WROTE)
    assert not elsewhere.undone(restored("new", "old", refreshed=WROTE + 1, secret=own))
    later = replace(SECRET, prints={"API_KEY": "new"}, eso_wrote=WROTE + 1)
    assert not elsewhere.undone(restored("new", "mid", "old", refreshed=WROTE + 1, secret=later))
    assert not elsewhere.undone(restored("new", "old", moved=False, refreshed=WROTE + 1))
