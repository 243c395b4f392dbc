"""A Secret is read ahead of its watch: the read counts at once, and proves nothing of what it hides."""

from __future__ import annotations

from agent.cluster.reader import Listing
from agent.cluster.reflector import Changed, Listed, Scope
from agent.engine.observe import Observer
from agent.engine.world import World
from agent.memory import UNOBSERVED, Memory
from agent.model import ObjectKey, SecretView
from agent.policy import Policy

KEY = ObjectKey("shop", "app")
SECRETS = Scope("secrets")
LOOK = 1000.0


def secret(version: int, value: str, *, touched: float, other: str = "o") -> SecretView:
    """One state of it."""
    return SecretView(
        key=KEY, uid="uid", resource_version=str(version), created=10.0, touched=touched,
        prints={"K": value, "OTHER": other},
    )  # fmt: skip


def listed(observer: Observer, view: SecretView, at: float) -> None:
    """A list after a gap."""
    message = Listed(SECRETS, Listing(items=[view], resource_version="1", asked_at=at, answered_at=at + 0.1), gap=True)
    observer.take(message)
    observer.settle(Policy())


def looking() -> Observer:
    """An observer that has looked, and watches."""
    observer = Observer(World(), Memory(), on_malformed=lambda found: None)
    listed(observer, secret(1, "a", touched=10), LOOK)
    return observer


def values(observer: Observer, key: str = "K") -> list[str]:
    """What the key held, newest first."""
    return [entry.value for entry in observer.memory.secrets[KEY].keys[key]]


def test_what_a_read_hides_is_unobserved_until_the_watch_tells_it() -> None:
    """More than one write can lie between two states, whoever asks, and whichever process asks next."""
    observer = looking()
    observer.secret_read(secret(3, "c", touched=LOOK + 100), at=LOOK + 100.5)
    assert values(observer) == ["c", UNOBSERVED, "a"]
    observer.take(Changed(SECRETS, "MODIFIED", secret(2, "b", touched=LOOK + 90), LOOK + 101))
    observer.take(Changed(SECRETS, "MODIFIED", secret(3, "c", touched=LOOK + 100), LOOK + 101))
    assert values(observer) == ["c", "b", "a"]
    assert values(observer, "OTHER") == ["o"]


def test_what_the_watch_had_told_before_it_broke_off_stays_in_the_history() -> None:
    """Of three writes the read hid two, and the watch brought one of these."""
    observer, read = looking(), secret(4, "d", touched=LOOK + 100)
    observer.secret_read(read, at=LOOK + 100.5)
    observer.take(Changed(SECRETS, "MODIFIED", secret(2, "b", touched=LOOK + 90), LOOK + 101))
    assert values(observer) == ["d", UNOBSERVED, "b", "a"]
    listed(observer, read, LOOK + 200)
    assert values(observer) == ["d", UNOBSERVED, "b", "a"]


def test_a_write_that_comes_late_was_done_before_a_later_state_was_read() -> None:
    """However late the watch is."""
    observer = looking()
    for version in (2, 3):  # within one second: the second write moves no time
        observer.secret_read(secret(version, f"v{version}", touched=LOOK + 90), at=LOOK + 90.3 + version / 10)
    for version in (2, 3):
        late = secret(version, f"v{version}", touched=LOOK + 90)
        observer.take(Changed(SECRETS, "MODIFIED", late, LOOK + 99))
    newest, former, _ = observer.memory.secrets[KEY].keys["K"]
    assert (newest.hi, former.hi) == (LOOK + 90.6, LOOK + 90.5)


def test_only_keys_that_hold_another_value_are_told_as_changed() -> None:
    """Once: not those that a gap makes uncertain, and not again when the watch brings what was read."""
    observer, read = looking(), secret(3, "c", touched=LOOK + 100)
    observer.secret_read(read, at=LOOK + 100.5)
    observer.take(Changed(SECRETS, "MODIFIED", secret(2, "c", touched=LOOK + 90, other="n"), LOOK + 101))
    observer.take(Changed(SECRETS, "MODIFIED", read, LOOK + 101))
    assert observer.changed_data == [(KEY, ("K",))]
