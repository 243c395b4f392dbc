"""Puts one process together from its arguments: connection, policy, vaults, subscribers; and takes it apart again."""

from __future__ import annotations

import argparse
import contextlib
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TextIO

import structlog
from prometheus_client import CollectorRegistry

from agent import __version__, garbage
from agent.clock import Clock
from agent.cluster.connection import connect
from agent.cluster.decode import BadAnswer
from agent.cluster.errors import ApiProblem, ConnectionProblem, Unreachable
from agent.cluster.reader import budgets
from agent.events import Event, PolicyChanged
from agent.ledger import LedgerProblem
from agent.loop import Agent, Settings, Stopped
from agent.model import Budget, Finding, ObjectKey, Refusal, WorkloadKey
from agent.plan.decisions import Refuse
from agent.policy import PolicyError, PolicyFile
from agent.report import failures, log, scan
from agent.report.kube import KubeEvents
from agent.report.metrics import Metrics
from agent.report.notes import Ref, externalsecret_ref, workload_ref
from agent.report.scan import Subject, subject_of
from agent.report.table import findings_table
from agent.report.words import escape
from agent.vault.client import VaultClient
from agent.vault.connect_to import WrongAddress
from agent.vault.credentials import credential, open_session
from agent.vault.trouble import CredentialProblem

EXIT_OK, EXIT_ERROR, EXIT_DRIFT = 0, 1, 2


class Started:
    """A process that is ready to work; ``agent`` is None if it could not be made, which has been said on stderr."""

    def __init__(self, clock: Clock, metrics: Metrics, registry: CollectorRegistry) -> None:
        self.clock, self.metrics, self.registry = clock, metrics, registry
        self.agent: Agent | None = None
        self.events: KubeEvents | None = None

    def run(self, host: str, port: int) -> int:
        """Follow and heal until stopped; serve metrics and probes."""
        from agent.server import Health, Server  # a tenth of a second and of the memory, for this command alone

        agent = self._agent()
        health = Health(agent.context.policy.interval, self.clock.monotonic)
        server = Server(self.registry, health, host, port)
        try:
            bound = server.start()
        except OSError as error:
            return complain("cannot listen", f"{host}:{port}", f"{error.strerror}; choose another --port")
        structlog.get_logger().info(f"listening on {host}:{bound}", port=bound)

        def ended(monotonic: float) -> None:
            health.interval = agent.context.policy.interval
            health.cycle_ended(monotonic)

        try:
            agent.run(ended)
        except LedgerProblem as error:
            return complain(
                "the ledger", str(error), "end the other agent, or wait: this one starts again and reads it anew"
            )
        finally:
            server.stop()
        return EXIT_OK

    def once(self, deadline: float, out: TextIO) -> int:
        """One comparison and its healing; the table of what remains goes to ``out``."""
        agent = self._agent()
        try:
            agent.once(deadline)
        except Stopped:
            return complain("stopped", "before the comparison was complete, so nothing can be said", "run again")
        except LedgerProblem as error:
            return complain("the ledger", str(error), "end the other agent, or run again")
        return self._result(agent, "table", out, agent.context.refusals())

    def scan(self, output: str, out: TextIO) -> int:
        """One comparison, nothing written."""
        agent = self._agent()
        agent.scan()
        for text in agent.reservations():
            note(text)
        return self._result(agent, output, out, planned_refusals(agent))

    def explain(self, namespace: str, name: str, output: str, out: TextIO) -> int:
        """One chain."""
        agent = self._agent()
        agent.scan()
        from agent.report import explain  # what only this command needs

        key, notes = ObjectKey(namespace, name), agent.reservations()
        found = read_budgets(agent, namespace, notes)
        told = explain.gather(agent.engine, key, notes=notes, budgets=found, remembered=agent.remembered)
        if told is None:
            return self._not_there(key)
        for text in told.notes:
            note(text)
        out.write(explain.tree(told) if output == "tree" else explain.as_json(told).decode())
        return self._code(agent, told.findings)

    def _not_there(self, key: ObjectKey) -> int:
        """An ExternalSecret that was asked for is not known: it cannot be read, or used, or there is none."""
        self._say_troubles(self._agent())
        world = self._agent().context.world
        if world.trouble("externalsecrets", key.namespace) is not None:
            return complain("ExternalSecrets cannot be read", f"namespace {key.namespace}", "nothing can be said of it")
        if (trouble := world.unusable.trouble("externalsecrets", key)) is not None:
            return complain("nothing can be said of it", trouble.detail, "correct the object")
        where = f"ExternalSecret {escape(str(key))}"
        return complain("there is no such object", where, f"see kubectl -n {escape(key.namespace)} get externalsecrets")

    def _result(self, agent: Agent, output: str, out: TextIO, refusals: list[Refusal]) -> int:
        findings, now = agent.engine.all_findings(), agent.context.now
        if output == "json":
            out.write(scan.scan_json(findings, refusals, now).decode())
        else:
            out.write(findings_table(findings, refusals, now, next_steps=next_steps(agent, findings)))
        return self._code(agent, findings)

    def _code(self, agent: Agent, findings: Sequence[Finding]) -> int:
        self._say_troubles(agent)
        halted = agent.engine.workloads.halted()
        for workload, halt in halted.items():
            complain(f"{workload.kind} {workload} is halted", f"{halt.reason}: {halt.detail}", halt.remedy)
        if halted or any(finding.is_drift for finding in findings):
            return EXIT_DRIFT
        return EXIT_ERROR if agent.engine.troubles else EXIT_OK

    def _say_troubles(self, agent: Agent) -> None:
        for subject, trouble in sorted(agent.engine.troubles.items()):
            complain(subject, f"{trouble.cause}: {trouble.detail}", NEXT_STEPS.get(trouble.cause, ""))
        for line in agent.engine.malformed_now():
            complain("cannot be used", line, "")

    def _agent(self) -> Agent:
        if self.agent is None:
            raise RuntimeError("used without an agent")
        return self.agent


NEXT_STEPS = {
    "forbidden": "grant this identity the right, or narrow the command by --namespace",
    "unauthorized": "renew the credentials of the kubeconfig",
    "unreachable": "check the network, or choose another --context",
    "not-found": "check that External Secrets Operator is installed",
    "access-denied": "grant this identity Key Vault Reader on the vault, or see --vault-credential",
    "credential": "see --vault-credential",
    "throttled": "try again in a minute",
}
"""What to do where something could not be read, by cause."""


def read_budgets(agent: Agent, namespace: str, notes: list[str]) -> list[Budget]:
    """The PodDisruptionBudgets of a namespace; without the right to read them, a note that says so."""
    try:
        return budgets(agent.conn, namespace)
    except (ApiProblem, Unreachable, BadAnswer) as error:
        notes.append(f"PodDisruptionBudgets could not be read ({error}): whether one forbids an eviction is not told")
        return []


def planned_refusals(agent: Agent) -> list[Refusal]:
    """What would be refused now; every gate of the real run is asked."""
    found: list[Refusal] = []
    for chain in agent.engine.chains.reports:
        decision = agent.engine.chains.decision(chain)
        if isinstance(decision, Refuse):
            found.append(decision.refusal)
    for workload in agent.engine.workloads.stale_containers():
        pair = agent.engine.workloads.decision(workload)
        if pair is not None and isinstance(pair[1], Refuse):
            found.append(pair[1].refusal)
    return found


def next_steps(agent: Agent, findings: Sequence[Finding]) -> dict[Subject, str]:
    """What is, or would be, done about each finding, in a line."""
    from agent.report.explain_steps import in_short, sync_step, workload_step

    engine = agent.engine
    said: dict[Subject, str] = {}
    for finding in findings:
        view, report = engine.chains.view(finding.chain), engine.chains.reports.get(finding.chain)
        about = subject_of(finding)
        if view is None or report is None or about is None or about in said:
            continue
        if finding.workload is not None:
            said[about] = in_short(workload_step(engine.workloads.decision(finding.workload), report))
        else:
            said[about] = in_short(sync_step(view, report, engine.chains.decision(finding.chain), ()))
    return said


@contextlib.contextmanager
def running(arguments: argparse.Namespace, *, access: Literal["read", "heal"]) -> Iterator[Started]:
    """Everything a command needs, from its arguments; undone at the end."""
    log.configure(arguments.log_format, arguments.log_level)
    failures.speak_for_the_interpreter()
    clock, registry = Clock(), CollectorRegistry()
    metrics = Metrics(registry)
    started = Started(clock, metrics, registry)
    try:
        started.agent = _make(arguments, access, clock, metrics, started)
    except PolicyError as error:
        sys.stderr.write(f"{error}\n")
    except ConnectionProblem as error:
        complain(error.what, error.where, error.next_step)
    except CredentialProblem as error:
        complain("no identity for the vaults", str(error), "set the variables, or choose another --vault-credential")
    except WrongAddress as error:
        complain("a wrong setting", str(error), "correct it")
    except Unreachable as error:
        complain("the API server", str(error), NEXT_STEPS["unreachable"])
    except (ApiProblem, BadAnswer) as error:
        complain("the API server", str(error), f"let this identity read its ledger in {arguments.agent_namespace}")
    garbage.resume()  # `cli` made it rest, before the first import
    try:
        yield started
    except (ApiProblem, Unreachable, BadAnswer) as error:
        complain("the API server", str(error), "try again")
        started.agent = None
        raise SystemExit(EXIT_ERROR) from None
    finally:
        if started.events is not None:
            started.events.close(2.0)
        if started.agent is not None:
            started.agent.close()


def _make(
    arguments: argparse.Namespace, access: Literal["read", "heal"], clock: Clock, metrics: Metrics, started: Started
) -> Agent:
    policy = PolicyFile(arguments.policy)
    conn = connect(
        arguments.kubeconfig, arguments.context, clock=clock, on_request=metrics.api_request,
        user_agent=f"secret-drift-agent/{__version__} (python {platform.python_version()})",
    )  # fmt: skip
    settings = Settings(
        namespaces=tuple(dict.fromkeys(arguments.namespace)), agent_namespace=arguments.agent_namespace, access=access
    )
    agent = Agent(settings, conn, policy, vault_maker(arguments, clock, metrics), clock)
    agent.subscribers += _subscribers(agent, metrics, started, access)
    agent.context.tell(PolicyChanged, valid=True, digest=policy.current.digest)
    agent.say_start()
    return agent


def _subscribers(agent: Agent, metrics: Metrics, started: Started, access: str) -> list[Callable[[Event], None]]:
    subscribers: list[Callable[[Event], None]] = [metrics]
    if access == "read":
        return subscribers
    subscribers.append(log.Log())
    writer = agent.context.writer
    assert writer is not None
    world = agent.context.world

    def ref(about: ObjectKey | WorkloadKey) -> Ref | None:
        if isinstance(about, WorkloadKey):
            workload = world.workloads.get(about)
            return workload_ref(workload) if workload is not None else None
        es = world.external_secrets.get(about)
        return externalsecret_ref(es) if es is not None else None

    def writes() -> bool:
        policy = agent.context.policy
        return policy.mode == "heal" and policy.paused(agent.context.now) is None

    started.events = KubeEvents(writer, ref, enabled=writes)
    subscribers.append(started.events)
    return subscribers


def vault_maker(arguments: argparse.Namespace, clock: Clock, metrics: Metrics) -> Callable[[str, float], VaultClient]:
    """Makes the client of one vault; all share one session and one identity. Raises CredentialProblem, WrongAddress."""
    http = open_session()
    identity = credential(arguments.vault_credential, http)
    # Names of other secrets are for whoever sits at the terminal, not for the log of a pipeline.
    nearest = arguments.command == "explain" and arguments.output == "tree" and sys.stdout.isatty()

    def make(host: str, requests_per_second: float) -> VaultClient:
        return VaultClient(
            host, identity, session=http, clock=clock, requests_per_second=requests_per_second,
            on_request=metrics.vault_request, nearest=nearest,
        )  # fmt: skip

    return make


def complain(what: str, where: str, next_step: str) -> int:
    """One error on stderr: what, where, what to do next. Returns the exit code for it."""
    said = f"{what}: {where.rstrip('.')}." + (
        f" {next_step[:1].upper()}{next_step[1:].rstrip('.')}." if next_step else ""
    )
    sys.stderr.write(f"secret-drift-agent: {escape(said)}\n")
    return EXIT_ERROR


def note(text: str) -> None:
    """Something on stderr that is no error, and that a reader of the answers must know."""
    sys.stderr.write(f"secret-drift-agent: note: {escape(text)}\n")
