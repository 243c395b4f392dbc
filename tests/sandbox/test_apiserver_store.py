"""The store under random histories."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.sandbox.apiserver.kinds import SECRETS
from agent.sandbox.apiserver.patching import merge_patch
from agent.sandbox.apiserver.status import StatusError
from agent.sandbox.apiserver.store import Store, Stored

_NAMES = st.sampled_from(["a", "a-b", "b", "c"])
_STEPS = st.lists(st.tuples(st.sampled_from(["a", "a-b"]), _NAMES, st.booleans()), max_size=40)


def _write(store: Store, namespace: str, name: str, remove: bool) -> None:
    stored = store.get(SECRETS, namespace, name)
    if remove and stored:
        store.remove(SECRETS, stored)
    elif not remove:
        uid = stored.uid if stored else f"u{store.rv}"
        store.put(SECRETS, {"metadata": {"namespace": namespace, "name": name, "uid": uid}, "type": str(store.rv)})


def _shown(items: list[Stored]) -> list[tuple[str, int]]:
    return [(stored.key, stored.rv) for stored in items]


@settings(max_examples=60, deadline=None)
@given(steps=_STEPS)
def test_the_past_can_be_told_from_the_history(steps: list[tuple[str, str, bool]]) -> None:
    """Whatever was written, every earlier version lists as it was then, and replaying changes leads to what is now."""
    store = Store()
    past = {store.rv: _shown(store.scan(SECRETS))}
    for step in steps:
        _write(store, *step)
        past[store.rv] = _shown(store.scan(SECRETS))
    for version, listed in past.items():
        assert _shown(store.state_at(SECRETS, version)) == listed
    replayed: dict[str, int] = {}
    for change in store.changes_since(SECRETS, 0):
        replayed.pop(change.now.key, None)
        if change.type != "DELETED":
            replayed[change.now.key] = change.now.rv
    assert sorted(replayed.items()) == past[store.rv]


def test_the_oldest_history_makes_room() -> None:
    """A store keeps a bounded number of changes; what came before answers 410."""
    store = Store(keep_changes=3)
    for index in range(5):
        _write(store, "a", f"n{index}", False)
    assert len(list(store.changes_since(SECRETS, store.rv - 3))) == 3
    with pytest.raises(StatusError, match="too old resource version") as caught:
        store.changes_since(SECRETS, store.rv - 4)
    assert caught.value.code == 410


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=2),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(target=_JSON, patch=_JSON)
def test_a_merge_patch_applied_twice_is_the_same_as_once(target: object, patch: object) -> None:
    """Merge patches are idempotent and never change their inputs."""
    before = repr((target, patch))
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once
    assert repr((target, patch)) == before
