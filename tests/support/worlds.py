"""Worlds at rest, in which nothing is left to be found: where most scenarios begin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from support.processes import AgentProcess
from support.scenario import Scenario

from agent.sandbox.client import EXTERNAL_SECRETS, Object

WEEK = 7 * 86400.0


def at_rest(
    s: Scenario, sources: Mapping[str, str], chains: Sequence[Object], workloads: Sequence[Object], namespace: str
) -> None:
    """Versions of a week ago (``vault/name`` -> value), synced by ESO; pods that started a minute later, long ago.

    So a first look finds the containers' values `assumed`, and nothing to report.
    """
    born = s.sandbox.clock.now() - WEEK
    for source, value in sources.items():
        vault, _, name = source.partition("/")
        s.rotate(vault, name, value, created=born)
    s.apply(*chains)
    for obj in chains:
        if obj["kind"] == "ExternalSecret":
            s.external_secret_ready(namespace, obj["metadata"]["name"])
    s.pass_time(60)
    s.apply(*workloads)
    for obj in workloads:
        s.ready(namespace, obj["metadata"]["name"], kind=obj["kind"])
    s.pass_time(600)


def one_more(s: Scenario, deployment: Object) -> str:
    """Apply a Deployment with one replica more than it has; returns the name of the pod that came."""
    namespace, name = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
    before = {str(pod["metadata"]["name"]) for pod in s.pods(namespace, name)}
    s.apply(deployment)
    s.ready(namespace, name)
    (new,) = {str(pod["metadata"]["name"]) for pod in s.pods(namespace, name)} - before
    return new


def watching(s: Scenario, **environment: str) -> AgentProcess:
    """An agent that has looked at everything once."""
    agent = s.start_agent(fresh=False, **environment)
    s.cycles(agent, 1)
    return agent


def refresh(s: Scenario, namespace: str, name: str) -> None:
    """Have ESO sync once more, as a person would: by an annotation, which no backoff holds up."""
    patch = {"metadata": {"annotations": {"refresh": str(s.sandbox.clock.now())}}}
    s.run(s.sandbox.admin.merge_patch(EXTERNAL_SECRETS, namespace, name, patch))


def next_second(s: Scenario) -> None:
    """Let the world's whole second end: vaults tell when a version was created in whole seconds only."""
    began = int(s.sandbox.clock.now())
    s.wait(lambda: int(s.sandbox.clock.now()) > began, 5, "the next second")
