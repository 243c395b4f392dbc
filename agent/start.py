"""Puts one process together from its arguments: connection, policy, vaults, subscribers; and takes it apart again."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

import structlog
from prometheus_client import CollectorRegistry, ProcessCollector

from agent import garbage
from agent.answering import in_markdown, name_versions, next_steps, planned_refusals, read_budgets
from agent.clock import Clock
from agent.cluster.decode import BadAnswer
from agent.cluster.errors import ApiProblem, ConnectionProblem, Unreachable, trouble_of
from agent.complaints import complain, not_leading, note, of_ledger, of_start, of_troubles, said, tell_failure
from agent.engine.troubles import API_SERVER, OF_THE_SERVER
from agent.leadership import Leadership, identity
from agent.ledger import LedgerProblem
from agent.ledger.requests import Kind, Request
from agent.loop import Access, Agent, Stopped
from agent.making import Maker
from agent.model import Finding, ObjectKey, Refusal
from agent.plan.reasons import REASONS
from agent.policy import PolicyError
from agent.report import failures, log, scan
from agent.report.metrics import Metrics
from agent.report.table import findings_table
from agent.report.words import escape
from agent.terms import Terms
from agent.vault.connect_to import WrongAddress
from agent.vault.trouble import CredentialProblem

if TYPE_CHECKING:
    from agent.asking import Asking
    from agent.pushing import Outcome

EXIT_OK, EXIT_ERROR, EXIT_DRIFT = 0, 1, 2
STOPPED = "stopped", "before the comparison was complete, so nothing can be said", "run again"


class Started:
    """A process that is ready to work; ``maker`` is None if it cannot be, which has been said on stderr."""

    def __init__(self, arguments: argparse.Namespace, clock: Clock, registry: CollectorRegistry) -> None:
        self.arguments, self.clock, self.registry = arguments, clock, registry
        self.metrics = Metrics(registry, refusals=REASONS)
        self.maker: Maker | None = None
        self.agent: Agent | None = None
        self._stops: list[Callable[[], None]] = []
        self._stopped = False

    def stop(self) -> None:
        """From any thread, or a signal: finish the step in hand and end."""
        self._stopped = True
        for stop in self._stops:
            stop()

    def when_stopped(self, stop: Callable[[], None]) -> None:
        """Call this then; at once where that has been asked already. It may be called twice."""
        self._stops.append(stop)
        if self._stopped:
            stop()

    def run(self, host: str, port: int) -> int:
        """Follow, and heal while the Lease is held, until stopped; serve metrics and probes."""
        from agent.secured import BadFile, Certificate, Token
        from agent.server import Health, Server  # a tenth of a second and of the memory, for this command alone

        maker, given = self._maker(), self.arguments
        now = maker.policy.current
        health = Health(now.interval, self.clock.monotonic, now.timing.health_intervals)
        try:
            certificate = Certificate(given.tls_cert, given.tls_key) if given.tls_cert is not None else None
            token = Token(given.metrics_token_file) if given.metrics_token_file is not None else None
            server = Server(self.registry, health, host, port, certificate=certificate, token=token)
            bound = server.start()
        except BadFile as error:
            return complain(f"{error.what} cannot be used", f"{error.where}: {error.why}", "correct the file")
        except OSError as error:
            return complain("cannot listen", f"{host}:{port}", f"{error.strerror}; choose another --port")
        structlog.get_logger().info(f"listening on {host}:{bound}", port=bound)

        def ended(monotonic: float) -> None:
            now = maker.policy.current
            health.interval, health.intervals = now.interval, now.timing.health_intervals
            health.cycle_ended(monotonic)

        ProcessCollector(registry=self.registry)
        leadership = self._leadership()
        self.metrics.lead_by(lambda: leadership.leading)

        def begin(access: Access) -> Agent:
            return maker.begin(access, lambda: leadership.leading, leadership.me)

        terms = Terms(begin, leadership, Failing(self.arguments.agent_namespace))
        self.when_stopped(terms.stop)
        try:
            terms.run(ended)
        finally:
            server.stop()
        return EXIT_OK

    def once(self, deadline: float, out: TextIO) -> int:
        """One comparison and its healing under the Lease; the table of what remains goes to ``out``.

        A Pushgateway, where there is one, is told how it ended; that changes nothing of the exit code.
        """
        from agent.pushgateway import Address  # what only this command needs
        from agent.pushing import Pushing

        given = self.arguments
        address = given.push_gateway and Address(
            given.push_gateway, given.agent_namespace, given.push_group, given.push_gateway_ca,
            given.push_gateway_token_file,
        )  # fmt: skip
        pushing = Pushing(address or None, self.clock, self.registry, deadline)
        ends = self.clock.monotonic() + deadline - pushing.reserved
        outcome: Outcome = "failed"
        code = EXIT_ERROR
        try:
            if self.maker is not None:
                outcome, code = self._once(ends, out)
                self.maker.end()  # Events first: they cannot wait for a gateway
        finally:
            pushing.ended(outcome, code)
        return code

    def _once(self, ends: float, out: TextIO) -> tuple[Outcome, int]:
        leadership = self._leadership()
        try:
            if not leadership.acquire(ends):
                if leadership.trouble is not None:
                    return "failed", complain(*not_leading(leadership))
                note(f"{leadership.holder} holds the Lease and acts: nothing is left to be done here")
                return "standing-by", EXIT_OK
            self.metrics.lead_by(lambda: True)  # as is told when the run is over
            agent = self.agent = self._maker().begin("heal", lambda: leadership.leading)
            self.when_stopped(agent.stop)
            agent.once(ends - self.clock.monotonic())
            code = self._result(agent, "table", out, agent.context.refusals())
            return "failed" if code == EXIT_ERROR else "complete", code
        except Stopped:
            return "failed", complain(*STOPPED)
        except LedgerProblem as error:
            return "failed", complain(*of_ledger(error, self.arguments.agent_namespace))
        finally:
            leadership.stop()

    def _leadership(self) -> Leadership:
        return Leadership(self._maker().conn, self.arguments.agent_namespace, identity())

    def _maker(self) -> Maker:
        if self.maker is None:
            raise RuntimeError("used without its settings")
        return self.maker

    def ask(self, kind: Kind, namespace: str, name: str, deadline: float, out: TextIO, *, dry_run: bool) -> int:
        """Let the leader do it, or do it under the Lease; the lines of the answer go to ``out``."""
        from agent.asking import who

        asking, at = self._asking(out), self._maker().conn.server_now()
        request = Request(kind=kind, namespace=namespace, name=name, at=at, by=who(), dry_run=dry_run)
        try:
            return asking.ask(request, deadline)
        except Stopped:
            return complain(*STOPPED)
        except LedgerProblem as error:
            return complain(*of_ledger(error, self.arguments.agent_namespace))

    def acknowledge(self, seconds: float, out: TextIO) -> int:
        """Say that the storm is wanted for so long; the answer goes to ``out``."""
        from agent.asking import who

        asking, at = self._asking(out), self._maker().conn.server_now()
        return asking.acknowledge(Request(kind="storm-ack", at=at, by=who(), seconds=seconds))

    def _asking(self, out: TextIO) -> Asking:
        from agent.asking import Asking  # what only these commands need

        asking = Asking(self._maker(), self.arguments.agent_namespace, self.clock, out)
        self.when_stopped(asking.stop)
        return asking

    def scan(self, output: str, out: TextIO) -> int:
        """One comparison, nothing written."""
        agent = self.agent = self._maker().begin("read")
        agent.scan()
        for text in agent.reservations():
            note(text)
        return self._result(agent, output, out, planned_refusals(agent))

    def explain(self, namespace: str, name: str, output: str, out: TextIO) -> int:
        """One chain."""
        agent = self.agent = self._maker().begin("read")
        agent.scan()
        from agent.report import explain  # what only this command needs

        key, notes = ObjectKey(namespace, name), agent.reservations()
        name_versions(agent, key)
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
        if output == "table" and not findings and agent.engine.troubles:
            out.write("nothing found, but not everything could be looked at: see the errors\n")
            return self._code(agent, findings)
        if output == "json":
            out.write(scan.scan_json(findings, refusals, now).decode())
        elif output == "markdown":
            out.write(in_markdown(agent, findings, refusals))
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
        for complaint in of_troubles(agent.engine.troubles):
            complain(*complaint)
        for name in agent.absent_namespaces():
            note(f"namespace {name} does not exist (any more): nothing was compared there")
        for line in agent.engine.malformed_now():
            complain("cannot be used", line, "")

    def _agent(self) -> Agent:
        if self.agent is None:
            raise RuntimeError("used without an agent")
        return self.agent


class Failing:
    """Says why a start fails: each reason once in a row, however often it is tried, and at last that it works."""

    def __init__(self, agent_namespace: str) -> None:
        self._agent_namespace = agent_namespace
        self._said = ""

    def __call__(self, error: Exception | None) -> None:
        """``error`` None: it works."""
        logger = structlog.get_logger()
        if error is None:
            if self._said:
                logger.info(f"{API_SERVER}: works again", subject=API_SERVER)
            self._said = ""
            return
        line, cause = said(of_start(error, self._agent_namespace)), trouble_of(error).cause
        reason = cause if cause in OF_THE_SERVER else line
        if reason != self._said:
            logger.error(f"{line} This is tried again until it works", subject=API_SERVER, cause=cause)
        self._said = reason


@contextlib.contextmanager
def running(arguments: argparse.Namespace) -> Iterator[Started]:
    """Everything a command needs, from its arguments; undone at the end."""
    log.configure(arguments.log_format, arguments.log_level)
    failures.speak_for_the_interpreter()
    started = Started(arguments, Clock(), CollectorRegistry())
    try:
        started.maker = Maker(arguments, started.clock, started.metrics)
    except (
        PolicyError, ConnectionProblem, CredentialProblem, WrongAddress, ApiProblem, BadAnswer, Unreachable,
    ) as error:  # fmt: skip
        tell_failure(error, arguments.agent_namespace)
    garbage.resume()  # `cli` made it rest, before the first import
    try:
        yield started
    except (ApiProblem, BadAnswer, Unreachable) as error:
        tell_failure(error, arguments.agent_namespace)
        raise SystemExit(EXIT_ERROR) from None
    finally:
        if started.agent is not None:
            started.agent.close()
        if started.maker is not None:
            started.maker.close()
