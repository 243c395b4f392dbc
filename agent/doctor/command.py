"""The command ``doctor``: looks, lets ``checks`` judge, and tells.

Exit codes: 0 nothing is to be done (warnings allowed), 2 something is, 1 it could not look at all.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path
from typing import TextIO

import msgspec
from prometheus_client import CollectorRegistry

from agent.clients import connection, vault_maker
from agent.clock import Clock
from agent.cluster.connection import Connection
from agent.cluster.decode import BadAnswer
from agent.cluster.errors import ApiProblem, ConnectionProblem, Unreachable
from agent.complaints import tell_failure
from agent.doctor import telling, vaulting
from agent.doctor.checks import needs as needed
from agent.doctor.checks.admission import admission_line, held
from agent.doctor.checks.eso import eso_lines
from agent.doctor.checks.ledger import ledger_lines
from agent.doctor.checks.policy import policy_lines
from agent.doctor.checks.rights import asked, asked_instead, idle_line, rights_line
from agent.doctor.checks.server import clock_lines, namespace_lines, server_line
from agent.doctor.checks.vaults import identity_line, store_lines, to_look_at, vault_line
from agent.doctor.facts import Eso, Offset, PolicyFound, Rights, Vault
from agent.doctor.lines import Line, Permission, exit_code
from agent.doctor.looking import Look
from agent.inforce import installed_policy
from agent.policy import Policy, PolicyError, default, load
from agent.report import failures, log
from agent.report.metrics import Metrics
from agent.vault.connect_to import WrongAddress
from agent.vault.trouble import CredentialProblem


def doctor(arguments: argparse.Namespace, out: TextIO) -> int:
    """Look at everything and tell; returns the exit code."""
    log.configure(arguments.log_format, arguments.log_level)
    failures.speak_for_the_interpreter()
    clock = Clock()
    try:
        conn = connection(arguments, clock)
        with contextlib.closing(conn):
            found, policy = _policy(arguments.policy, conn, arguments.agent_namespace)
            lines = _Visit(arguments, conn, found, policy).lines()
    except (ConnectionProblem, WrongAddress, Unreachable, ApiProblem, BadAnswer) as error:
        return tell_failure(error, arguments.agent_namespace)
    now = clock.server_now() if clock.knows_server else None
    if arguments.output == "json":
        out.write(telling.document(lines, policy=found.file, mode=policy.mode, now=now).decode())
    else:
        out.write(telling.text(lines))
    return exit_code(lines)


def _policy(path: Path | None, conn: Connection, agent_namespace: str) -> tuple[PolicyFound, Policy]:
    """The policy in force, or what is wrong in its file and the default in its place."""
    file = str(path or "the installed policy")
    try:
        if path is not None:
            return PolicyFound(file=file), load(path)
        found = installed_policy(conn, agent_namespace)
        return PolicyFound(file=found.place, missing=found.missing), found.policy.current
    except PolicyError as error:
        return PolicyFound(file=file, problems=tuple(str(each) for each in error.problems)), default()


class _Visit:
    """One look at everything, in the order in which it is told."""

    def __init__(self, arguments: argparse.Namespace, conn: Connection, found: PolicyFound, policy: Policy) -> None:
        self._arguments, self._conn, self._found, self._policy = arguments, conn, found, policy
        self._namespaces: tuple[str, ...] = tuple(dict.fromkeys(arguments.namespace))
        self._home: str = arguments.agent_namespace
        self._look = Look(conn, self._namespaces)

    def lines(self) -> list[Line]:
        """Raises Unreachable, and ApiProblem where our credentials are not accepted."""
        look, policy = self._look, self._policy
        server = look.server()
        known = look.known_namespaces()
        eso = look.eso()
        served = isinstance(eso, Eso) and "v1" in eso.versions
        needs = self._needs(known, push=isinstance(eso, Eso) and eso.push)
        where = self._namespaces or (None,)
        idle = needed.dangerous(needs)
        rights = self._rights(needs, [Permission(*right, place) for right in idle for place in where])
        rights_lines = [rights_line(need, rights, server.user) for need in needs]
        rights_lines += [line for line in (idle_line(idle, where, rights),) if line is not None]
        heals = policy.mode == "heal"
        rights_lines.append(admission_line(look.admission(), held(needs, rights), heals=heals))
        if isinstance(eso, Eso) and served:
            eso = msgspec.structs.replace(eso, trial=look.sync_trial(policy, rights))
        vaults, vault_lines = self._vaults() if served else ([], [])
        clocks: dict[str, Offset] = {each.name: each.offset for each in vaults if each.offset is not None}
        return [
            server_line(server),
            *namespace_lines(self._namespaces, known),
            *clock_lines(look.machine_offset(), clocks, policy.margins.vault),
            *policy_lines(self._found, policy, known, self._conn.server_now()),
            *eso_lines(eso, heals=heals),
            *rights_lines,
            *ledger_lines(look.ledger(self._home, known, rights)),
            *vault_lines,
        ]

    def _needs(self, known: tuple[str, ...] | None, *, push: bool) -> list[needed.Need]:
        return [
            *needed.reading(self._namespaces, push=push),
            *needed.at_home(self._home),
            *needed.healing(self._policy, self._namespaces, known),
        ]

    def _rights(self, needs: list[needed.Need], others: list[Permission]) -> Rights:
        first = self._look.rights([*(each for need in needs for each in asked(need)), *others])
        more = [each for need in needs for each in asked_instead(need, first)]
        return Rights(first.answers | self._look.rights(more).answers) if more else first

    def _vaults(self) -> tuple[list[Vault], list[Line]]:
        policy = self._policy
        identity = vaulting.identity(self._arguments.vault_credential)
        stores = self._look.stores()
        hosts = to_look_at(stores, policy)
        lines = store_lines(stores, policy)
        try:
            make = vault_maker(self._arguments, self._conn.clock, Metrics(CollectorRegistry()))
        except CredentialProblem as error:
            return [], [identity_line(msgspec.structs.replace(identity, problem=str(error))), *lines]
        vaults = vaulting.look_at(hosts, policy, make, self._conn.clock)
        judged = [vault_line(vault, identity) for vault in vaults]
        return vaults, [identity_line(identity), *judged, *lines]
