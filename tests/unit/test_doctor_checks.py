"""What `doctor` makes of what it found: rights, versions and clocks, without a cluster."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.doctor.checks.needs import at_home, dangerous, healing, reading
from agent.doctor.checks.rights import asked, asked_instead, rights_line
from agent.doctor.checks.server import clock_lines, server_line
from agent.doctor.facts import Offset, Rights, Server
from agent.doctor.lines import Permission
from agent.model import Trouble
from agent.policy import Canary, LogCanary, Policy, RecycleRule, SyncRule

KNOWN = ("kube-system", "shop-a", "shop-b", "tools")
USER = "system:serviceaccount:secret-drift-agent:secret-drift-agent"


@pytest.mark.parametrize(
    ("version", "state"),
    [
        ("v1.21.14", "error"), ("v1.22.0", "warning"), ("v1.29.9", "warning"), ("v1.30.0", "ok"), ("v1.36.3", "ok"),
        ("v1.37.1+k3s1", "ok"), ("v1.38.0", "warning"), ("v2.0.0", "warning"), ("", "not-checked"),
    ],
)  # fmt: skip
def test_the_server_is_judged_by_its_version(version: str, state: str) -> None:
    """Too old to work at all, older or newer than what is supported, or none told."""
    assert server_line(Server(url="https://c", version=version, user="")).state == state


@pytest.mark.parametrize(
    ("least", "most", "state"),
    [(-0.4, 0.6, "ok"), (29.0, 30.0, "ok"), (29.5, 31.0, "ok"), (30.5, 31.5, "error"), (-32.0, -30.5, "error")],
)
def test_a_clock_is_wrong_only_where_it_is_so_for_sure(least: float, most: float, state: str) -> None:
    """What may still be within the margin is not beyond it."""
    (line,) = clock_lines(None, {"prod-kv": Offset(least, most)}, 30.0)
    assert line.state == state


def policies() -> st.SearchStrategy[Policy]:
    """Policies of every shape that the rights depend on."""
    names = st.sampled_from([("*",), ("shop-*",), ("shop-a",), ("nowhere",)])
    syncs = st.builds(
        SyncRule, namespaces=names, steps=st.sampled_from([(), ("force-sync",), ("force-sync", "recreate")])
    )
    canaries = st.sampled_from([Canary(), Canary(log=LogCanary(success="up"))])
    recycles = st.builds(RecycleRule, namespaces=names, canary=canaries)
    return st.builds(
        Policy, mode=st.sampled_from(["observe", "heal"]), sync=st.lists(syncs, max_size=2).map(tuple),
        recycle=st.lists(recycles, max_size=2).map(tuple),
    )  # fmt: skip


@given(policies(), st.sampled_from([(), ("shop-a",), ("tools",)]), st.sampled_from([None, KNOWN]))
def test_a_right_is_needed_where_a_rule_allows_its_step_and_nowhere_else(
    policy: Policy, namespaces: tuple[str, ...], known: tuple[str, ...] | None
) -> None:
    """Whatever the policy: no write is asked for in a namespace in which no rule of it allows the step."""
    needs = {need.name: need for need in healing(policy, namespaces, known)}
    if policy.mode == "observe":
        assert needs == {}
    for name, step in (("force-sync", "force-sync"), ("recreate", "recreate")):
        rules = {each: policy.sync_rule(each) for each in namespaces or known or ()}
        allowed = [each for each, rule in rules.items() if rule is not None and step in rule.steps]
        if namespaces or known:
            assert (name in needs) == (policy.mode == "heal" and bool(allowed))
        if name in needs and namespaces:
            assert needs[name].where == tuple(allowed)
        elif name in needs:
            assert (needs[name].where, needs[name].instead) == ((None,), tuple(allowed))
    assert ("read logs" in needs) <= ("recycle" in needs)
    idle = dangerous([*needs.values()])
    assert {right for need in needs.values() for right in need.rights}.isdisjoint(idle)


@given(st.sets(st.sampled_from(sorted({"get", "list", "watch"}))), st.sets(st.sampled_from(KNOWN)))
def test_what_is_proposed_is_what_is_missing(verbs: set[str], places: set[str]) -> None:
    """With what the commands grant, nothing is missing any more; and none of it was there before."""
    need = next(each for each in reading(("shop-a", "tools"), push=True) if each.name == "read Secrets")
    answers: dict[Permission, bool | Trouble] = {
        each: each.verb not in verbs or each.namespace not in places for each in asked(need)
    }
    line = rights_line(need, Rights(answers), USER)

    granted = set()
    for command in line.commands:
        words = command.split()
        if words[2] == "role":
            told = dict(word.removeprefix("--").split("=", 1) for word in words if word.startswith("--"))
            place = words[words.index("-n") + 1]
            granted |= {(verb, told["resource"], place) for verb in told["verb"].split(",")}
    assert granted == {(each.verb, each.resource, each.namespace) for each, allowed in answers.items() if not allowed}
    assert line.state == ("error" if granted else "ok")
    bindings = [command for command in line.commands if " rolebinding " in command]
    assert all(
        command.endswith(f"--serviceaccount={USER.removeprefix('system:serviceaccount:')}") for command in bindings
    )


def test_an_answer_that_did_not_come_is_not_taken_for_a_no() -> None:
    """An authorizer that fails is told as that; no right is proposed to be granted."""
    need = at_home("home")[0]
    failed = Trouble(cause="server-error", detail="500 InternalError")
    line = rights_line(need, Rights(dict(zip(asked(need), itertools.repeat(failed)))), USER)
    assert (line.state, line.commands) == ("not-checked", ())
    assert "500 InternalError" in line.said


def test_nothing_is_asked_for_twice_where_it_is_given_in_all_namespaces() -> None:
    """The namespaces of a rule are asked about only where the whole is denied."""
    policy = Policy(mode="heal", sync=(SyncRule(namespaces=("shop-*",), steps=("force-sync",)),))
    need = healing(policy, (), KNOWN)[0]
    everywhere = Permission("patch", "external-secrets.io", "externalsecrets", None)
    assert asked_instead(need, Rights({everywhere: True})) == []
    assert [each.namespace for each in asked_instead(need, Rights({everywhere: False}))] == ["shop-a", "shop-b"]
