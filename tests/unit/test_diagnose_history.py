"""The history of a key: what one look after another proves of the time in between, and what it leaves open."""

from __future__ import annotations

from typing import Any

from agent.diagnose import containers, history
from agent.diagnose.containers import Span
from agent.memory import ABSENT, UNOBSERVED, SecretMemory
from agent.model import ObjectKey, SecretView, State

CREATED = 1000.0
LOOK = 2000.0
"""Our first look; until LEFT we watched, and at BACK we looked again."""
LEFT, BACK = 3000.0, 4000.0


def secret(version: int, prints: dict[str, str], *, touched: float, **fields: Any) -> SecretView:
    """The Secret as one look shows it."""
    given = {"uid": "uid-1", "created": CREATED, **fields}
    return SecretView(
        key=ObjectKey("shop", "app-secrets"), resource_version=str(version), prints=prints, touched=touched, **given
    )


def looked() -> SecretMemory:
    """What is remembered after our first look."""
    return history.first_look(secret(1, {"A": "a"}, touched=CREATED), at=LOOK, absent_until=None)


def after_gap(memory: SecretMemory, view: SecretView) -> SecretMemory:
    """We had been away."""
    return history.after_gap(memory, view, confirmed=LEFT, seen=BACK, born=lambda key: 0.0)


def watched(memory: SecretMemory, view: SecretView, at: float) -> SecretMemory:
    """A write, seen half a second later at the latest."""
    return history.watched(memory, view, since=at - 1, seen=at + 0.5)


def state(memory: SecretMemory, key: str, at: float) -> State:
    """Of a container that uses the key and resolved it at this time."""
    return containers.judge(history.of(memory, key), memory.first_look, Span(at, at), before_us=State.SUSPECT)


def values(memory: SecretMemory, key: str) -> list[str]:
    """What the key held, newest first."""
    return [entry.value for entry in history.of(memory, key)]


def test_while_nobody_looked_a_key_can_have_come_and_gone_without_moving_a_time() -> None:
    """The entry of whoever wrote it went with it: only the resourceVersion tells that something was written."""
    memory = after_gap(looked(), secret(3, {"A": "a"}, touched=CREATED))
    memory = watched(memory, secret(4, {"A": "a", "X": "x"}, touched=BACK + 10), BACK + 10)
    memory = watched(memory, secret(5, {"A": "a"}, touched=BACK + 10), BACK + 20)
    assert values(memory, "X") == [ABSENT, "x", ABSENT, UNOBSERVED, ABSENT]
    assert [state(memory, "X", at) for at in (LOOK + 1, LEFT + 1, BACK + 1)] == [
        State.FRESH, State.SUSPECT, State.FRESH,
    ]  # fmt: skip


def test_a_key_that_was_never_seen_can_have_been_there_while_nobody_looked() -> None:
    """A container that asks for it by name and started then may have got it."""
    memory = after_gap(looked(), secret(3, {"A": "b"}, touched=LEFT + 500))
    assert [state(memory, "X", at) for at in (LOOK + 1, LEFT + 700, BACK + 1)] == [
        State.FRESH, State.SUSPECT, State.FRESH,
    ]  # fmt: skip


def test_a_key_that_is_there_did_not_change_while_no_time_moved() -> None:
    """Also where another key went away, or something came and went: who writes a key that is there moves a time."""
    memory = watched(looked(), secret(2, {"A": "a", "X": "x"}, touched=LOOK + 10), LOOK + 10)
    for prints in ({"A": "a"}, {"A": "a", "X": "x"}):
        seen = after_gap(memory, secret(4, prints, touched=LOOK + 10))
        assert values(seen, "A") == ["a"]
        assert state(seen, "A", LEFT + 1) is State.FRESH
    gone = after_gap(memory, secret(4, {"A": "a"}, touched=LOOK + 10))
    assert values(gone, "X") == [ABSENT, UNOBSERVED, "x", ABSENT]


def test_a_gap_in_which_nothing_was_written_leaves_no_trace() -> None:
    """An unmoved resourceVersion proves that, for every key there can be."""
    assert after_gap(looked(), secret(1, {"A": "a"}, touched=CREATED)) == looked()


def test_what_was_only_out_of_sight_may_have_held_anything_from_its_loss_to_its_return() -> None:
    """However often we looked in between and did not see it: it was there, without ESO's label."""
    memory = history.deleted(looked(), since=LOOK + 100, seen=LOOK + 101)
    memory = history.deleted(memory, since=LEFT, seen=BACK, gap=True)
    memory = watched(memory, secret(9, {"A": "a"}, touched=BACK + 100), BACK + 100)
    assert [state(memory, "A", at) for at in (LOOK + 50, LOOK + 500, LEFT + 1, BACK + 1, BACK + 102)] == [
        State.FRESH, State.SUSPECT, State.SUSPECT, State.SUSPECT, State.FRESH,
    ]  # fmt: skip
    assert state(memory, "X", BACK + 1) is State.SUSPECT


def test_a_secret_that_came_into_sight_after_its_creation_may_have_held_anything_in_between() -> None:
    """Another one was created in place of the one that we lost, and got ESO's label, and so our eyes, later."""
    lost = history.deleted(looked(), since=LOOK + 100, seen=LOOK + 101)
    away = history.deleted(lost, since=LEFT, seen=BACK, gap=True)
    created = LEFT + 500
    view = secret(9, {"A": "b"}, touched=BACK + 100, uid="uid-2", created=created)
    memory = watched(
        watched(away, view, BACK + 100), secret(10, {"A": "c"}, touched=BACK + 200, uid="uid-2"), BACK + 200
    )
    assert [state(memory, "A", at) for at in (LOOK + 500, BACK + 1, BACK + 150, BACK + 202)] == [
        State.STALE, State.SUSPECT, State.STALE, State.FRESH,
    ]  # fmt: skip


def test_a_secret_that_is_seen_as_it_was_created_was_absent_until_then() -> None:
    """Its times are those of its creation: nothing of it was out of sight."""
    lost = history.deleted(looked(), since=LOOK + 100, seen=LOOK + 101)
    view = secret(9, {"A": "a"}, touched=LOOK + 200, uid="uid-2", created=LOOK + 200)
    memory = watched(lost, view, LOOK + 200)
    assert values(memory, "A") == ["a", ABSENT, "a"]
    assert [state(memory, "A", at) for at in (LOOK + 50, LOOK + 150, LOOK + 202)] == [
        State.FRESH, State.STALE, State.FRESH,
    ]  # fmt: skip


def test_a_secret_that_came_while_we_were_away_and_was_written_since_may_have_held_something_else() -> None:
    """As soon as its last write is of a later second than its creation."""
    view = secret(9, {"A": "a"}, touched=LEFT + 101, created=LEFT + 100)
    memory = history.first_look(view, at=BACK, absent_until=LEFT, absent_since=LOOK)
    assert values(memory, "A") == ["a", UNOBSERVED, ABSENT]
    assert state(memory, "X", LEFT + 300) is State.SUSPECT
    assert state(memory, "X", LEFT - 1) is State.FRESH


def test_that_a_secret_was_not_there_is_known_only_since_we_look() -> None:
    """It can have been deleted right before, and be put back with what it held: that is no proof against anybody."""
    view = secret(9, {"A": "a"}, touched=LEFT, created=LEFT)
    memory = history.first_look(view, at=LEFT + 0.5, absent_until=LEFT, absent_since=LOOK)
    assert [state(memory, "A", at) for at in (LOOK - 1, LOOK + 1, LEFT + 2)] == [
        State.SUSPECT, State.STALE, State.FRESH,
    ]  # fmt: skip
    rotated = watched(memory, secret(10, {"A": "b"}, touched=LEFT + 100), LEFT + 100)
    assert state(rotated, "A", LOOK - 1) is State.STALE
