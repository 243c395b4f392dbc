"""The comparison of rights with requests finds what is planted: it must not pass because it looks at nothing."""

from __future__ import annotations

from support.rights import ALWAYS, COMPONENTS, MODES, Asked, Rule, World, judge, needed, rules

HOME = "secret-drift-agent"
LOOK = Asked("list", "", "pods", "", "", 200)


def _uses(component: str) -> set[Asked]:
    """A request for each rule of a component."""
    return {
        Asked(rule.verb, rule.group, rule.resource, HOME if rule.at_home else "shop", rule.name or "any", 200)
        for rule in rules(component)
    }


def _world(test: str, installed: frozenset[str], *asked: Asked) -> World:
    return World(test, installed, frozenset(asked))


def _whole() -> list[World]:
    """Worlds of both modes in which each rule is used."""
    used = {name: _uses(name) for name in COMPONENTS}
    observing = {*used["base"], *used["observe"]}
    healing = observing.union(*used.values())
    return [_world("test_looks", ALWAYS, *observing), _world("test_heals", MODES["heal"], *healing)]


def test_where_each_rule_is_used_and_nothing_refused_nothing_is_wrong() -> None:
    """Every right of every part of the manifests is asked for in each mode."""
    assert judge(_whole(), whole=True).wrong == []


def test_a_rule_that_nothing_asks_for_is_named_once_all_scenarios_were_run() -> None:
    """Only a whole run can say so; a part of it says nothing of it."""
    looks, heals = _whole()
    without = World(heals.test, heals.installed, frozenset(each for each in heals.asked if each.verb != "delete"))
    assert judge([looks, without], whole=True).wrong == [
        "mode heal: recreate grants what nothing asks for: delete secrets"
    ]
    assert judge([looks, without], whole=False).wrong == []


def test_what_is_asked_of_the_agents_own_secrets_uses_no_right_to_those_of_others() -> None:
    """The ledger's Role allows it: a right everywhere would be one too many."""
    looks, heals = _whole()
    get = Asked("get", "", "secrets", "shop", "any", 200)
    only_at_home = World(looks.test, looks.installed, frozenset(each for each in looks.asked if each != get))
    assert judge([only_at_home, heals], whole=True).wrong == [
        "mode observe: observe grants what nothing asks for: get secrets"
    ]


def test_a_refused_request_is_named_with_its_test_and_does_not_count_as_use() -> None:
    """Whether or not all scenarios were run."""
    refused = Asked("list", "policy", "poddisruptionbudgets", "shop", "", 403)
    assert judge([_world("test_explains", ALWAYS, LOOK, refused)], whole=False).wrong == [
        "mode observe: test_explains: refused: list poddisruptionbudgets shop"
    ]


def test_a_refusal_on_purpose_is_excused_in_its_test_alone() -> None:
    """An API server that has just started knows no rights yet; anywhere else a refusal is one too many."""
    refused = Asked("list", "", "pods", "shop", "", 403)
    worlds = [_world(name, MODES["heal"], refused) for name in ("test_s30_the_api_server_is_away_for_long", "test_s01")]
    assert judge(worlds, whole=False).wrong == ["mode heal: test_s01: refused: list pods shop"]


def test_in_mode_observe_nothing_is_written_but_ledger_lease_and_events() -> None:
    """What another mode may do, and what is only a question about rights, is told apart from it."""
    annotated = Asked("patch", "external-secrets.io", "externalsecrets", "shop", "app-secrets", 200)
    allowed = (
        Asked("update", "", "secrets", HOME, "secret-drift-agent-history-0", 200),
        Asked("update", "coordination.k8s.io", "leases", HOME, HOME, 200),
        Asked("create", "", "events", "shop", "", 201),
        Asked("create", "authorization.k8s.io", "selfsubjectaccessreviews", "", "", 201),
    )
    assert judge([_world("test_looks", ALWAYS, *allowed, annotated)], whole=False).wrong == [
        "mode observe: test_looks: written: patch externalsecrets shop/app-secrets"
    ]
    assert judge([_world("test_heals", MODES["heal"], annotated)], whole=False).wrong == []


def test_a_policy_calls_for_the_components_of_its_mode_and_steps() -> None:
    """What cannot be read, and what only observes, gets no right to write."""
    heal = "mode: heal\nsync: [{namespaces: ['*'], steps: [%s]}]\n"
    assert needed("mode: observe\n") == ALWAYS
    assert needed("{") == needed("mode: maybe\n") == needed("[]") == ALWAYS
    assert needed(heal % "force-sync") == {"base", "observe", "heal", "restart"}
    assert needed(heal % "force-sync, recreate") == set(COMPONENTS)


def test_a_rule_covers_its_own_name_and_place() -> None:
    """A name is that one object; a Role is of one namespace; a ClusterRole is of all."""
    lease = Rule("get", "coordination.k8s.io", "leases", HOME, at_home=True)
    asked = Asked("get", "coordination.k8s.io", "leases", HOME, HOME, 200)
    assert lease.covers(asked)
    assert not lease.covers(asked._replace(name="other"))
    assert not lease.covers(asked._replace(namespace="shop"))
    assert Rule("list", "", "pods").covers(LOOK)
    assert World.read(_whole()[0].plain()) == _whole()[0]
