"""Makes agents from a command's arguments: what lives as long as the process is here, what lives for a term is made."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from agent.clients import connection, vault_maker
from agent.clock import Clock
from agent.complaints import note
from agent.events import Event
from agent.inforce import installed_policy
from agent.loop import Access, Agent, Settings
from agent.model import OFF_LIMITS, ObjectKey, WorkloadKey
from agent.policy import PolicyFile
from agent.report import log
from agent.report.answers import Answers
from agent.report.kube import KubeEvents
from agent.report.metrics import Metrics
from agent.report.notes import Ref, externalsecret_ref, workload_ref
from agent.report.standby import StandBy

THEMSELVES = ("run", "once")
"""They are the agent: without a policy of their own they observe, whatever another has."""


class Maker:
    """The policy, the connection to the API server and the identity for the vaults; and agents that use them."""

    def __init__(self, arguments: argparse.Namespace, clock: Clock, metrics: Metrics) -> None:
        """Asks for the installed policy at most. Raises PolicyError, ConnectionProblem, CredentialProblem,
        WrongAddress, and where it asks: ApiProblem, Unreachable, BadAnswer.
        """
        self._arguments, self._clock, self._metrics = arguments, clock, metrics
        self.policy = PolicyFile(arguments.policy)
        self.conn = connection(arguments, clock, metrics.api_request)
        if arguments.policy is None and arguments.command not in THEMSELVES:
            found = installed_policy(self.conn, arguments.agent_namespace)
            self.policy = found.policy
            note(found.word)
        self._make_vault = vault_maker(arguments, clock, metrics)
        self._events: KubeEvents | None = None

    def begin(self, access: Access, leading: Callable[[], bool] = lambda: True, me: str = "") -> Agent:
        """An agent that knows what the ledger knows. Raises ApiProblem, Unreachable, BadAnswer."""
        arguments = self._arguments
        settings = Settings(
            namespaces=tuple(dict.fromkeys(arguments.namespace)),
            agent_namespace=arguments.agent_namespace,
            access=access,
        )
        agent = Agent(settings, self.conn, self.policy, self._make_vault, self._clock, leading=leading, me=me)
        agent.subscribers += self._subscribers(agent, access)
        agent.context.tell_policy()
        agent.say_start()
        return agent

    def end(self) -> None:
        """Write the Events that wait."""
        if self._events is not None:
            self._events.close(2.0)
            self._events = None

    def close(self) -> None:
        """The process ends."""
        self.end()
        self.conn.close()

    def _subscribers(self, agent: Agent, access: Access) -> list[Callable[[Event], None]]:
        subscribers: list[Callable[[Event], None]] = [self._metrics]
        if access == "read":
            return [StandBy(self._metrics, log.Log())] if self._arguments.command == "run" else subscribers
        if self._arguments.command in THEMSELVES:
            subscribers.append(log.Log())
        subscribers.append(Answers(lambda: agent.engine.asked.following))
        writer = agent.context.writer
        assert writer is not None
        world = agent.context.world

        def ref(about: ObjectKey | WorkloadKey) -> Ref | None:
            namespace = world.namespaces.get(about.namespace)
            if namespace is not None and namespace.mode == OFF_LIMITS:
                return None  # admission would refuse the Event, too
            if isinstance(about, WorkloadKey):
                workload = world.workloads.get(about)
                return workload_ref(workload) if workload is not None else None
            es = world.external_secrets.get(about)
            return externalsecret_ref(es) if es is not None else None

        def writes() -> bool:
            policy = agent.context.policy
            return policy.mode == "heal" and policy.paused(agent.context.now) is None

        self.end()
        self._events = KubeEvents(writer, ref, self._clock, enabled=writes)
        subscribers.append(self._events)
        return subscribers
