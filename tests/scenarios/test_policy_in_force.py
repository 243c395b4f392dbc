"""A command that is typed at night judges by what the installed agent judges by, though nobody names its policy."""

from __future__ import annotations

import yaml
from support.doctoring import doctor
from support.policies import heal_policy
from support.scenario import Scenario
from support.worlds import at_rest

from agent.sandbox import builders as b
from agent.sandbox.client import Object
from agent.sandbox.world import AGENT_NAMESPACE

NS = "shop"
NAME = "secret-drift-agent-policy"
PLACE = f"ConfigMap {AGENT_NAMESPACE}/{NAME}"


def installed(text: str) -> Object:
    """The policy as the manifests install it."""
    meta = {"name": NAME, "namespace": AGENT_NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"policy.yaml": text}}


def _drifting(s: Scenario) -> None:
    at_rest(
        s,
        {"prod-kv/api-key": "value-one"},
        [
            b.secret_store("prod-kv", NS),
            b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}, refreshInterval="1h"),
        ],
        [b.deployment("backend", NS, 2, env={"API_KEY": ("app-secrets", "API_KEY")})],
        NS,
    )
    s.rotate("prod-kv", "api-key", "value-two")


def test_without_a_policy_of_their_own_commands_judge_by_the_installed_one() -> None:
    """`scan`, `explain` and `doctor` look at its vaults, and say on stderr by what they judge."""
    with Scenario() as s:
        _drifting(s)
        s.apply(installed(yaml.safe_dump(heal_policy())))

        scan = s.scan()
        assert (scan.code, "stale" in scan.out) == (2, True), scan.out
        assert f"secret-drift-agent: note: judged by the policy in {PLACE}\n" in scan.err
        explained = s.explain(f"{NS}/app-secrets")
        assert "policy mode: heal" in explained.out
        assert explained.code == 2
        line = doctor(s).line("policy", "file")
        assert (line["state"], line["said"].partition(":")[0]) == ("ok", PLACE)


def test_heal_without_a_leader_acts_by_the_installed_policy() -> None:
    """What a person asks for is bounded by what the agent would be."""
    with Scenario() as s:
        _drifting(s)
        s.apply(installed(yaml.safe_dump(heal_policy(mode="observe"))))
        assert s.launch("heal", f"{NS}/app-secrets").wait().code != 0
        assert s.writes() == []
        s.apply(installed(yaml.safe_dump(heal_policy())))
        asked = s.launch("heal", f"{NS}/app-secrets").wait()
        assert asked.code == 0, asked.out + asked.err
        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two")


def test_where_there_is_none_to_be_had_the_answers_say_what_they_are_worth() -> None:
    """No ConfigMap, and one without its key: judged by the package's policy, and a warning of `doctor`."""
    with Scenario() as s:
        _drifting(s)
        without = {**installed(""), "data": {"other": "x"}}
        for present, why in (([], "does not exist"), ([without], "has no policy.yaml")):
            s.apply(*present)
            told = s.scan().err
            assert f"no --policy was given, and {PLACE} {why}: judged by the policy of the package" in told
            line = doctor(s).line("policy", "file")
            assert line["state"] == "warning"
            assert f"{PLACE} {why}" in line["said"]


def test_mistakes_of_the_installed_policy_are_told_with_their_place() -> None:
    """Line and column in the ConfigMap's text, as `policy check` would say them; nothing is judged by a guess."""
    with Scenario() as s:
        s.apply(installed("apiVersion: secret-drift-agent/v1\nkind: HealPolicy\nmode: haul\n"))
        scan = s.scan()
        assert (scan.code, scan.out) == (1, "")
        assert f"{PLACE}, policy.yaml:3:7: mode: expected" in scan.err


def test_once_and_run_observe_where_they_are_given_none() -> None:
    """They are the agent: a policy that another one was given is not theirs."""
    with Scenario() as s:
        _drifting(s)
        s.apply(installed(yaml.safe_dump(heal_policy())))
        result = s.once()
        assert "judged by" not in result.err
        assert s.writes() == []
