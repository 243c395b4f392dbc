"""When a rotation is counted, and as what."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.diagnose import rotations
from agent.diagnose.view import ChainReport, Upstream
from agent.memory import Rotation, SourceMemory
from agent.model import ObjectKey, SourceState, State

BEGUN = 1_795_471_200.0
OBJECTIVE = 900.0
NAME = "prod-kv/db-password"


def report(vault: State = State.FRESH, secret: State = State.FRESH, containers: State = State.FRESH) -> ChainReport:
    """A chain whose links are in these states."""
    return ChainReport(
        chain=ObjectKey("shop", "db"), upstream=Upstream(vault=vault, secret=secret, findings=()),
        containers=containers, verdicts=(), findings=(), wake_at=None,
    )  # fmt: skip


def follow(*looks: tuple[float, ChainReport], begun: float = BEGUN) -> list[tuple[float, bool]]:
    """What is counted, and when, if a chain is judged at these times (seconds after the version's creation)."""
    open_ = {NAME: Rotation(begun=begun)}
    counted: list[tuple[float, bool]] = []
    for after, verdict in looks:
        step = rotations.advance(open_, verdict, begun + after, OBJECTIVE)
        open_ = step.open
        counted += [(after, ended.in_time) for ended in step.ended]
    return counted


def test_a_rotation_that_is_everywhere_in_time_is_counted_once_and_closed() -> None:
    """Once nothing has drifted for a while."""
    stale = report(containers=State.STALE)
    assert follow((5, report(State.STALE)), (8, stale), (40, report()), (50, report()), (70, report())) == [(50, True)]


def test_a_state_that_does_not_stand_does_not_count() -> None:
    """ESO tells of its sync before the Secret's watch does: for that moment nothing seems to drift."""
    looks = (5, report(State.STALE)), (8, report()), (9, report(containers=State.STALE)), (901, report(State.STALE))
    assert follow(*looks) == [(901, False)]


def test_lateness_is_counted_when_it_begins_and_never_again() -> None:
    """One that never ends must count, too; its end is no second rotation."""
    stale = report(containers=State.STALE)
    assert follow((5, stale), (899, stale), (902, stale), (2000, report()), (2020, report())) == [(902, False)]


def test_what_came_in_time_is_in_time_though_it_is_seen_late() -> None:
    """Nothing drifted any more before the objective, whatever the moment at which that has stood long enough."""
    assert follow((5, report(State.STALE)), (895, report()), (930, report())) == [(930, True)]


def test_what_cannot_be_judged_is_not_everywhere() -> None:
    """A vault that is down in the middle of a rotation does not make it a good one."""
    assert follow((5, report(State.UNKNOWN)), (905, report(State.UNKNOWN))) == [(905, False)]


def test_what_is_not_followed_is_not_counted() -> None:
    """Pinned and excluded chains are as their owner wants them."""
    assert follow((5, report(State.PINNED)), (905, report(State.STALE))) == []


def source(created: float, *, former: SourceMemory | None = None, **more: bool) -> SourceMemory:
    """A vault secret whose newest version was created then, and was before what ``former`` says."""
    state = SourceState(created=created, **{"present": True, "enabled": True, **more})
    return SourceMemory(state=state, event_at=created, seen_at=created, witnessed=former is not None, former=former)


def test_only_a_new_version_opens_a_rotation() -> None:
    """Not the first look, not one that is disabled or gone, and not the same version enabled again."""
    first = source(BEGUN)
    assert rotations.opened(None, first) is None
    assert rotations.opened(None, source(BEGUN + 5, former=first)) == Rotation(begun=BEGUN + 5)
    assert rotations.opened(None, source(BEGUN + 5, former=first, enabled=False)) is None
    assert rotations.opened(None, source(BEGUN, former=source(BEGUN, former=first, enabled=False))) is None


def test_a_version_that_is_replaced_on_its_way_passes_its_clock_on() -> None:
    """Unless it was counted: then the new one is a rotation of its own."""
    new = source(BEGUN + 60, former=source(BEGUN))
    assert rotations.opened(Rotation(begun=BEGUN, done=BEGUN + 50), new) == Rotation(begun=BEGUN)
    assert rotations.opened(Rotation(begun=BEGUN, late=True), new) == Rotation(begun=BEGUN + 60)


STATES = st.sampled_from([State.FRESH, State.ASSUMED, State.SUSPECT, State.STALE, State.AWAITING, State.UNKNOWN])


@given(st.lists(st.tuples(st.floats(0.1, 400), STATES), min_size=1, max_size=30))
def test_no_rotation_is_counted_twice(looks: list[tuple[float, State]]) -> None:
    """Whatever the chain goes through, and however often it is looked at."""
    at, told = 0.0, []
    for pause, state in looks:
        at += pause
        told.append((at, report(containers=state)))
    assert len(follow(*told)) <= 1


@given(st.lists(st.tuples(st.floats(0.1, 400), STATES), min_size=1, max_size=30))
def test_whoever_is_woken_when_it_asks_misses_nothing(looks: list[tuple[float, State]]) -> None:
    """With a look at each time that was asked for, one look later everything that ended is counted."""
    at, open_, counted = BEGUN, {NAME: Rotation(begun=BEGUN)}, 0
    state = State.STALE
    for pause, following in looks:
        ends = at + pause
        while True:
            step = rotations.advance(open_, report(containers=state), at, OBJECTIVE)
            open_, counted = step.open, counted + len(step.ended)
            if step.wake_at is None or step.wake_at > ends:
                break
            assert step.wake_at > at, "asked to be woken in the past"
            at = step.wake_at
        at, state = ends, following
    assert counted == 1 or at - BEGUN <= OBJECTIVE + 1 or open_[NAME].done
