"""Workloads that have begun take turns: no more at once than allowed, and one tries a new version before the others."""

from __future__ import annotations

from support.scenario import Scenario
from support.told import stages
from support.worlds import at_rest, watching

from agent.sandbox import builders as b
from agent.sandbox.actors.kubelet import Settings
from agent.sandbox.client import Object
from agent.sandbox.world import Options

NS = "shop"
MODE = "secret-drift-agent/mode"


def _chain(name: str, source: str) -> Object:
    return b.external_secret(name, NS, {"KEY": source})


def test_a_workload_whose_refusal_ends_waits_for_the_one_that_took_its_slot() -> None:
    """One at once: its owner held `a` back in mid-heal, `b` began; when `a` may go again, `b`'s canary is let pass."""
    with Scenario(Options(node_settings=Settings(ready=2.0))) as s:
        a, other = (b.deployment(name, NS, 3, env={"KEY": (name, "KEY")}) for name in ("a", "b"))
        chains = [b.secret_store("prod-kv", NS), _chain("a", "a"), _chain("b", "b")]
        at_rest(s, {"prod-kv/a": "1", "prod-kv/b": "1"}, chains, [a, other], NS)
        s.policy(limits={"workloadsAtOnce": 1})
        agent = watching(s)

        def mode(word: str) -> Object:
            return {**a, "metadata": {**a["metadata"], "annotations": {MODE: word}}}

        s.rotate("prod-kv", "a", "2")
        s.wait(lambda: s.evicted(NS), why="the canary of a")
        s.apply(mode("ignore"))
        agent.until(reason="opted-out", workload="a")
        s.rotate("prod-kv", "b", "2")
        s.wait(lambda: any(name.startswith("b-") for name in s.evicted(NS)), why="the canary of b")
        s.apply(mode(""))
        s.wait(lambda: len([name for name in s.evicted(NS) if name.startswith("a-")]) > 1, 60, why="a goes on")
        assert stages(agent, "b")[:1] == [("canary", 1)]


def test_a_bad_version_that_comes_in_mid_heal_is_tried_by_one_workload() -> None:
    """Two are under way with a good version when a bad one follows: one canary fails, and the other is never taken."""
    with Scenario(Options(node_settings=Settings(ready=1.0))) as s:
        app = {"env": "KEY", "backend": "db"}
        apps = [b.deployment(name, NS, 6, app=app, env={"KEY": ("app", "KEY")}) for name in ("a", "b")]
        at_rest(s, {"prod-kv/db": "good"}, [b.secret_store("prod-kv", NS), _chain("app", "db")], apps, NS)
        s.policy()
        agent = watching(s)
        s.rotate("prod-kv", "db", "better")
        s.wait(lambda: stages(agent, "a") and stages(agent, "b"), 60, why="both are under way")
        s.call(s.sandbox.backends.reject, "db", "bad")
        s.rotate("prod-kv", "db", "bad")
        s.wait(lambda: agent.lines(reason="canary-failed"), 60, why="a canary has failed")
        s.cycles(agent, 20)
        assert len({line["workload"] for line in agent.lines(reason="canary-failed")}) == 1
