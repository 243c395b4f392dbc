"""A Secret, or a key of it, that is not there for a while: what its history tells, and what a container can get."""

from __future__ import annotations

import pytest

from agent.diagnose import containers, history
from agent.diagnose.containers import Need, Span
from agent.memory import ABSENT, UNOBSERVED, SecretMemory
from agent.model import ObjectKey, SecretView, State, Use

KEY = ObjectKey("shop", "app-secrets")
LOOK = 1_000.0


def secret(uid: str, version: int, created: float, touched: float | None = None, **prints: str) -> SecretView:
    """A Secret with these keys, last written at ``touched``."""
    return SecretView(
        key=KEY, uid=uid, resource_version=str(version), created=created, prints=prints,
        touched=created if touched is None else touched,
    )  # fmt: skip


def deleted_and_back(back: SecretView) -> SecretMemory:
    """Keys A and B since before we look; the Secret is deleted at 2000, and seen again at 3000."""
    memory = history.first_look(secret("one", 1, 10.0, A="a", B="b"), at=LOOK, absent_until=None)
    memory = history.deleted(memory, since=1_999.0, seen=2_000.0)
    return history.watched(memory, back, since=2_000.0, seen=3_000.5)


def judged(memory: SecretMemory, key: str, need: Need, *, since: float, until: float = 3_001.0) -> State:
    """Of a container that resolved between these times."""
    at = Span(since, until)
    return containers.judge(memory.keys[key], memory.first_look, at, before_us=State.ASSUMED, need=need)


@pytest.mark.parametrize(
    ("use", "need"),
    [
        (Use("s", "env", ("A",)), "key"),
        (Use("s", "env", ("A",), optional=True), "nothing"),
        (Use("s", "envFrom"), "secret"),
        (Use("s", "envFrom", optional=True), "nothing"),
        (Use("s", "volume"), "secret"),
        (Use("s", "subPath", ("A",)), "secret"),
    ],
)
def test_what_a_container_waits_for(use: Use, need: Need) -> None:
    """A variable of its own needs the key, all else the Secret alone, and what is optional needs nothing."""
    assert containers.needs(use) == need


def test_who_waited_for_the_secret_got_what_it_came_back_with() -> None:
    """A pod created while there was no Secret cannot have started before there was one, unless it need not wait."""
    same = deleted_and_back(secret("two", 9, 3_000.0, A="a", B="b"))
    assert [judged(same, "A", need, since=2_500.0) for need in ("key", "secret", "nothing")] == [
        State.FRESH, State.FRESH, State.SUSPECT,
    ]  # fmt: skip
    assert judged(same, "A", "key", since=1_500.0) is State.FRESH, "created before the delete: the same value before"
    other = deleted_and_back(secret("two", 9, 3_000.0, A="new", B="b"))
    assert judged(other, "A", "key", since=2_500.0) is State.FRESH
    assert judged(other, "A", "key", since=1_500.0) is State.SUSPECT, "it may have started before the delete"


def test_a_key_that_did_not_come_back_keeps_nobody_waiting_but_who_names_it() -> None:
    """The Secret is there without it from then on: who takes all keys starts without this one."""
    memory = deleted_and_back(secret("two", 9, 3_000.0, A="a"))
    newest, before, _ = memory.keys["B"]
    assert (newest.value, newest.gone, before.value, before.gone) == (ABSENT, False, ABSENT, True)
    assert judged(memory, "B", "secret", since=2_500.0) is State.FRESH
    assert judged(memory, "B", "key", since=2_500.0) is State.SUSPECT, "it cannot have started at all"


def test_the_absence_before_a_secrets_first_appearance_is_waited_out_too() -> None:
    """An application that is installed together with its ExternalSecret starts on what ESO wrote first."""
    memory = history.first_look(secret("one", 1, 3_000.0, A="a"), at=3_000.5, absent_until=2_000.0)
    assert [judged(memory, "A", need, since=2_500.0) for need in ("key", "secret", "nothing")] == [
        State.FRESH, State.FRESH, State.SUSPECT,
    ]  # fmt: skip


def test_what_was_in_a_secret_before_it_came_into_our_sight_is_not_known() -> None:
    """Somebody made it by hand, without ESO's label, and ESO adopted it later: a container may have got his value."""
    memory = deleted_and_back(secret("two", 9, 2_700.0, 3_000.0, A="a", B="b"))
    assert [entry.value for entry in memory.keys["A"]] == ["a", UNOBSERVED, ABSENT, "a"]
    assert judged(memory, "A", "key", since=2_500.0) is State.SUSPECT
    assert judged(memory, "A", "key", since=3_000.8) is State.FRESH


def test_a_secret_that_was_only_out_of_sight_was_never_absent() -> None:
    """The same object is back, with ESO's label: meanwhile it held something."""
    memory = deleted_and_back(secret("one", 9, 10.0, 3_000.0, A="a", B="b"))
    assert [(entry.value, entry.gone) for entry in memory.keys["A"]] == [
        ("a", False), (UNOBSERVED, False), ("a", False),
    ]  # fmt: skip
