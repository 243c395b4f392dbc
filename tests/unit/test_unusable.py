"""Objects that are there and cannot be used: said once, unknown as long, and never taken for gone."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent import events as ev
from agent.cluster.decode import Malformed, decode_object
from agent.cluster.reader import Listing
from agent.cluster.reflector import Changed, Listed, Scope, Spoiled
from agent.engine.observe import Observer
from agent.engine.world import World
from agent.memory import ABSENT, Memory
from agent.model import ExternalSecret, Namespace, Node, ObjectKey, SecretStore, SecretView, SourceUse, StoreKey
from agent.policy import Policy
from agent.report.words import sentence, subject

KEY = ObjectKey("shop", "app-secrets")
SECRETS, NODES = Scope("secrets"), Scope("nodes")
BAD = Malformed("secrets", KEY, "type", "expected `str | null`, got `int`")
WORSE = Malformed("secrets", KEY, "data", "is no JSON")
NAMELESS = Malformed("secrets", None, "", "expected `object`, got `int`")
STORE = StoreKey("SecretStore", "shop", "vault")


def secret(version: str = "1") -> SecretView:
    """A Secret as it should be."""
    return SecretView(key=KEY, uid="u", resource_version=version, created=10, touched=10, prints={"K": "a"})


def listed(scope: Scope, *items: Any, malformed: tuple[Malformed, ...] = (), at: float = 100.0) -> Listed:
    """A list of these."""
    found = Listing(items=list(items), resource_version="1", asked_at=at, answered_at=at, malformed=malformed)
    return Listed(scope, found, gap=True)


class Watched:
    """An observer with what it told."""

    def __init__(self) -> None:
        self.told: list[Malformed] = []
        self.observer = Observer(World(), Memory(), on_malformed=self.told.append)
        self.world = self.observer.world

    def take(self, *messages: Any) -> None:
        """Messages, in order; lists of Secrets at once."""
        for message in messages:
            self.observer.take(message)
            self.observer.settle(Policy())


def test_it_is_told_once_for_each_way_in_which_it_is_wrong_and_again_after_it_was_mended() -> None:
    """A relist says nothing new; another mistake does, and so does the same after the object was in order."""
    seen = Watched()
    seen.take(listed(SECRETS, malformed=(BAD, NAMELESS)), listed(SECRETS, malformed=(BAD, NAMELESS)))
    seen.take(Spoiled(SECRETS, BAD, 101.0))
    assert seen.told == [BAD, NAMELESS]
    seen.take(Spoiled(SECRETS, WORSE, 102.0))
    assert seen.told == [BAD, NAMELESS, WORSE]
    seen.take(Changed(SECRETS, "MODIFIED", secret("2"), 103.0), Spoiled(SECRETS, WORSE, 104.0))
    assert seen.told == [BAD, NAMELESS, WORSE, WORSE]
    assert seen.world.unusable.told() == sorted(map(str, (NAMELESS, WORSE)))
    seen.take(listed(SECRETS, secret("3")))
    assert seen.world.unusable.told() == []


def test_what_cannot_be_used_any_more_is_forgotten_as_it_was_and_not_taken_for_deleted() -> None:
    """By watch and by list: the Secret is not known, yet its history does not say that its keys were away."""
    for spoiled in (Spoiled(SECRETS, BAD, 101.0), listed(SECRETS, malformed=(BAD,), at=101.0)):
        seen = Watched()
        seen.take(listed(SECRETS, secret()), spoiled)
        assert KEY not in seen.world.secrets
        assert seen.world.unusable.trouble("secrets", KEY) is not None
        assert [entry.value for entry in seen.observer.memory.secrets[KEY].keys["K"]] == ["a"]
        seen.take(Changed(SECRETS, "MODIFIED", secret("2"), 102.0))
        assert KEY in seen.world.secrets
        assert seen.world.unusable.trouble("secrets", KEY) is None


def test_what_is_deleted_while_it_cannot_be_used_is_gone() -> None:
    """The end of such an object is an end like any other."""
    seen = Watched()
    seen.take(listed(SECRETS, secret()), Spoiled(SECRETS, BAD, 101.0), Spoiled(SECRETS, BAD, 102.0, gone=True))
    assert seen.told == [BAD]
    assert seen.world.unusable.trouble("secrets", KEY) is None
    assert [entry.value for entry in seen.observer.memory.secrets[KEY].keys["K"]] == [ABSENT, "a"]


def test_a_list_of_one_namespace_says_nothing_of_the_others() -> None:
    """What cannot be used elsewhere stays so."""
    world, elsewhere = World(), BAD._replace(key=ObjectKey("other", "app-secrets"))
    assert world.unusable.listed("secrets", None, [BAD, elsewhere]) == [BAD, elsewhere]
    assert world.unusable.listed("secrets", "shop", []) == []
    assert world.unusable.told() == [str(elsewhere)]
    assert world.unusable.trouble_in("secrets", "shop") is None
    trouble = world.unusable.trouble_in("secrets", "other")
    assert trouble is not None
    assert trouble.detail == "Secret other/app-secrets cannot be used: type: expected `str | null`, got `int`"


def test_a_node_or_namespace_that_cannot_be_used_is_not_known() -> None:
    """So its containers are unknown, and whether its owner objects is not known; both are judged anew."""
    world = World()
    world.put("nodes", Node(name="node-1", ready=True))
    world.put("namespaces", Namespace(name="shop"))
    world.external_secrets[KEY] = decoded()
    for resource, name in (("nodes", "node-1"), ("namespaces", "shop")):
        world.dirty_chains.clear()
        world.unusable.found(Malformed(resource, ObjectKey("", name), "metadata.annotations", "is no JSON"))
        assert world.dirty_chains == {KEY}
    assert world.nodes.ready() == frozenset()
    assert world.namespaces == {}


def test_a_store_that_cannot_be_used_is_not_said_to_be_absent() -> None:
    """Its ExternalSecrets are told what is wrong with it."""
    world, use = World(), SourceUse(store=STORE, name="api-key")
    world.put("secretstores", SecretStore(key=STORE, provider="azurekv", host="prod-kv.vault.azure.net"))
    chain = ExternalSecret(
        key=KEY, uid="u", resource_version="1", generation=1, created=0, stores=(STORE,),
        uses=(use,), target="app-secrets",
    )  # fmt: skip
    assert not isinstance(world.sources_of(chain)[0][1], str)
    spoiled = Malformed("secretstores", ObjectKey("shop", "vault"), "spec", "is missing")
    world.unusable.found(spoiled)
    assert world.sources_of(chain)[0][1] == "SecretStore shop/vault cannot be used: spec: is missing"
    world.unusable.gone(spoiled)
    assert world.sources_of(chain)[0][1] == "SecretStore shop/vault does not exist"


def decoded(**spec: Any) -> ExternalSecret:
    """An ExternalSecret off the wire."""
    body: dict[str, Any] = {
        "metadata": {"name": KEY.name, "namespace": KEY.namespace, "uid": "u", "resourceVersion": "1",
                     "creationTimestamp": "2026-11-23T22:00:00Z"},
        "spec": {"data": [{"secretKey": "K", "remoteRef": {"key": "k"}}], **spec},
    }  # fmt: skip
    found = decode_object("externalsecrets", msgspec.json.encode(body))
    assert isinstance(found, ExternalSecret), found
    return found


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"refreshPolicy": "Sometimes"}, "spec.refreshPolicy is none of Periodic, OnChange, CreatedOnce"),
        ({"target": {"creationPolicy": "Borrow"}}, "spec.target.creationPolicy is none of"),
        ({"target": {"deletionPolicy": "Burn"}}, "spec.target.deletionPolicy is none of Retain, Delete, Merge"),
        ({"data": []}, "it reads nothing: it has neither data nor dataFrom"),
        ({"data": None, "dataFrom": [{"extract": {"key": "k"}}]}, ""),
        ({"refreshPolicy": "OnChange", "target": {"creationPolicy": "Merge", "deletionPolicy": "Merge"}}, ""),
    ],
)
def test_a_chain_whose_policies_are_not_known_or_that_reads_nothing_is_left_alone(
    spec: dict[str, Any], why: str
) -> None:
    """What ESO makes of a word that we do not know, we do not know either: nothing is written to it."""
    assert decoded(**spec).excluded.startswith(why)
    assert bool(decoded(**spec).excluded) is bool(why)


def test_it_is_told_by_kind_name_and_field() -> None:
    """Objects of the whole cluster without a namespace, those wrong as a whole without a field."""
    node = ev.Malformed(
        at=1, resource="nodes", key=ObjectKey("", "node-1"), field="status.conditions", message="is odd"
    )
    assert (subject(node), sentence(node)) == (
        "node-1", "this object of nodes cannot be used: status.conditions: is odd",
    )  # fmt: skip
    whole = ev.Malformed(at=1, resource="secrets", key=None, field="", message="is no JSON")
    assert (subject(whole), sentence(whole)) == ("", "this object of secrets cannot be used: is no JSON")
