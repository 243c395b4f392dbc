"""PushSecrets by the Secrets that they read, and which chains a change of one touches."""

from __future__ import annotations

from decode_builders import body, external_secret
from hypothesis import given
from hypothesis import strategies as st

from agent.cluster.decode import decode_object
from agent.engine.pushes import Pushes
from agent.engine.world import World
from agent.labels import Labels, Selector
from agent.model import ExternalSecret, ObjectKey, PushSource, SecretView

NAMES = ("app", "db")
SELECTORS = (None, Selector(labels=(("app", "app"),)), Selector())

sources = st.builds(
    PushSource,
    key=st.builds(ObjectKey, st.sampled_from(("shop", "other")), st.sampled_from(("one", "two", "three"))),
    secret=st.sampled_from(("", *NAMES)),
    selector=st.sampled_from(SELECTORS),
)


def secret(namespace: str, name: str) -> SecretView:
    """A Secret that is labelled with its own name."""
    return SecretView(
        key=ObjectKey(namespace, name), uid="u", resource_version="1", created=0.0, touched=0.0, prints={},
        labels=Labels(("app", name)),
    )  # fmt: skip


@given(st.lists(st.tuples(st.booleans(), sources), max_size=30))
def test_the_pushsecrets_that_read_a_secret_are_found_whatever_came(changes: list[tuple[bool, PushSource]]) -> None:
    """Asked by Secret, the index leads to all that select it, as if each had been looked at."""
    pushes = Pushes()
    for there, source in changes:
        if there:
            pushes.put(source)
        else:
            pushes.drop(source)
    for view in (secret(namespace, name) for namespace in ("shop", "other") for name in NAMES):
        found = {source.key for source in pushes.that_may_read(view.key) if source.pushes(view)}
        assert found == {source.key for source in pushes.values() if source.pushes(view)}


def test_a_pushsecret_that_has_only_synced_once_more_touches_no_chain() -> None:
    """Its every sync is a change of its status; what it reads, and so whom it concerns, is as it was."""
    world = World()
    es = decode_object("externalsecrets", body(external_secret()))
    assert isinstance(es, ExternalSecret)
    world.put("externalsecrets", es)
    by_name = PushSource(key=ObjectKey(es.key.namespace, "push"), secret=es.target)
    for source, touched in ((by_name, True), (by_name, False)):
        world.dirty_chains.clear()
        world.put("pushsecrets", source)
        assert bool(world.dirty_chains) is touched
    world.dirty_chains.clear()
    world.put("pushsecrets", PushSource(key=by_name.key, secret="another"))
    assert world.dirty_chains == {es.key}
    world.dirty_chains.clear()
    world.put("pushsecrets", PushSource(key=by_name.key, selector=Selector(labels=(("app", "app"),))))
    assert world.dirty_chains == {es.key}
    world.drop("pushsecrets", by_name)
    assert world.dirty_chains == {es.key}
