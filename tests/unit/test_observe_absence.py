"""Since when we know that a Secret was not there: since the last list after a gap, and no longer."""

from __future__ import annotations

from msgspec.structs import replace

from agent.cluster.reader import Listing
from agent.cluster.reflector import Changed, Confirmed, Listed, Scope
from agent.engine.observe import BOOKMARK_LATENCY, Observer
from agent.engine.world import World
from agent.memory import Memory, SecretMemory
from agent.model import ObjectKey, SecretView
from agent.policy import Policy

KEY = ObjectKey("shop", "app")
SECRETS = Scope("secrets")


def secret(created: float) -> SecretView:
    """As it was created."""
    return SecretView(
        key=KEY, uid="one", resource_version="7", created=created, touched=created, prints={"K": "a"}, managed=True
    )


def listed(observer: Observer, *items: SecretView, at: float, gap: bool = True) -> None:
    """A list, and the vaults' answers to it."""
    listing = Listing(items=list(items), resource_version="1", asked_at=at, answered_at=at + 0.2)
    observer.take(Listed(SECRETS, listing, gap=gap))
    observer.settle(Policy())


def remembered(observer: Observer) -> SecretMemory:
    """What is remembered of the Secret."""
    return observer.memory.secrets[KEY]


def test_a_secret_that_appears_was_absent_since_the_last_list_after_a_gap() -> None:
    """The hourly list is none: nothing was missed before it."""
    observer = Observer(World(), Memory(), on_malformed=lambda found: None)
    listed(observer, at=100.0)
    listed(observer, at=500.0)
    listed(observer, at=4000.0, gap=False)
    observer.take(Confirmed(SECRETS, 5000.0))
    observer.take(Changed(SECRETS, "ADDED", secret(5100.0), 5100.6))
    value, absent = remembered(observer).keys["K"]
    assert (value.lo, value.hi) == (5100.0, 5100.6)
    assert (absent.gone, absent.lo, remembered(observer).first_look) == (True, 500.0, 500.0)


def test_of_a_secret_that_appeared_in_a_gap_we_know_only_the_moment_before() -> None:
    """It was not there when the gap began."""
    observer = Observer(World(), Memory(), on_malformed=lambda found: None)
    listed(observer, at=100.0)
    observer.take(Confirmed(SECRETS, 900.0))
    listed(observer, secret(1000.0), at=2000.0)
    assert remembered(observer).first_look == 900.0 - BOOKMARK_LATENCY


def test_a_time_that_cannot_be_in_one_secret_says_nothing_of_when_another_was_written() -> None:
    """Whoever writes a Secret can write year 9999 into it; a key that went elsewhere went after our last list."""
    observer = Observer(World(), Memory(), on_malformed=lambda found: None)
    forged = replace(secret(100.0), key=ObjectKey("evil", "app"), uid="two")
    listed(observer, secret(100.0), forged, at=1000.0)
    observer.take(Changed(SECRETS, "MODIFIED", replace(forged, touched=253402300799.0, resource_version="8"), 1008.0))
    observer.take(Changed(SECRETS, "MODIFIED", replace(secret(100.0), prints={}, resource_version="9"), 1008.1))
    gone = remembered(observer).keys["K"][0]
    assert (gone.value, gone.lo, gone.hi) == ("", 1000.0, 1008.1)
