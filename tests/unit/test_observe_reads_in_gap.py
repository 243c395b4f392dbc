"""A Secret that is read by itself while its watch is broken: the read does not hide what came and went unseen."""

from __future__ import annotations

from agent.cluster.reader import Listing
from agent.cluster.reflector import Changed, Listed, Scope
from agent.engine.observe import Observer
from agent.engine.world import World
from agent.memory import ABSENT, UNOBSERVED, Memory
from agent.model import ObjectKey, SecretView
from agent.policy import Policy

KEY = ObjectKey("shop", "app")
SECRETS = Scope("secrets")
LOOKED = 100.0


def secret(value: str, version: int, *, touched: float) -> SecretView:
    """The Secret as one write left it."""
    return SecretView(
        key=KEY, uid="one", resource_version=str(version), created=10, touched=touched, prints={"K": value}
    )


def listed(observer: Observer, *items: SecretView, at: float) -> None:
    """A list after a gap, and the vaults' answers to it."""
    listing = Listing(items=list(items), resource_version="1", asked_at=at, answered_at=at + 0.2)
    observer.take(Listed(SECRETS, listing, gap=True))
    observer.settle(Policy())


def watching() -> Observer:
    """An observer that saw value A, and whose watch breaks then."""
    observer = Observer(World(), Memory(), on_malformed=lambda found: None)
    listed(observer, secret("A", 1, touched=10), at=LOOKED)
    return observer


def values(observer: Observer) -> list[str]:
    """What the key held, newest first."""
    return [entry.value for entry in observer.memory.secrets[KEY].keys["K"]]


def test_a_value_that_came_back_in_the_gap_was_not_there_all_the_time() -> None:
    """A, B, A: the second A is read, then listed. In between it may have held anything."""
    observer = watching()
    observer.secret_read(secret("A", 7, touched=150), at=150.5)
    listed(observer, secret("A", 7, touched=150), at=200.0)
    assert values(observer) == ["A", UNOBSERVED, "A"]
    newest, unseen, _ = observer.memory.secrets[KEY].keys["K"]
    assert (unseen.lo, newest.hi) == (LOOKED, 151.0)


def test_what_was_read_later_than_the_list_stands_beside_it() -> None:
    """The list is taken in after the read, but was made before it; what the watch brings in between finds its place."""
    observer = watching()
    observer.secret_read(secret("D", 9, touched=160), at=160.5)
    listed(observer, secret("B", 6, touched=140), at=150.0)
    assert values(observer) == ["D", UNOBSERVED, "B", UNOBSERVED, "A"]
    observer.take(Changed(SECRETS, "MODIFIED", secret("C", 8, touched=155), 161.0))
    observer.take(Changed(SECRETS, "MODIFIED", secret("D", 9, touched=160), 161.1))
    assert values(observer) == ["D", "C", "B", UNOBSERVED, "A"]


def test_a_secret_that_was_read_and_is_gone_in_the_list_held_anything_in_between() -> None:
    """The gap is one, from the last word of the watch to the list."""
    observer = watching()
    observer.secret_read(secret("B", 7, touched=150), at=150.5)
    listed(observer, at=200.0)
    assert values(observer) == [ABSENT, UNOBSERVED, "A"]


def test_without_a_gap_what_was_read_is_kept() -> None:
    """The hourly list is of the very version that the watch has reached: the watch goes on to bring the rest."""
    observer = watching()
    observer.secret_read(secret("B", 7, touched=150), at=150.5)
    listing = Listing(items=[secret("A", 1, touched=10)], resource_version="1", asked_at=151, answered_at=151)
    observer.take(Listed(SECRETS, listing, gap=False))
    observer.settle(Policy())
    assert values(observer) == ["B", UNOBSERVED, "A"]
    observer.take(Changed(SECRETS, "MODIFIED", secret("B", 7, touched=150), 151.5))
    assert values(observer) == ["B", "A"]
