"""Errors on stderr, one line each: what, where, what to do next."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from agent import advice
from agent.cluster.errors import ApiProblem, ConnectionProblem, Unreachable
from agent.leadership import WHOLE_SERVER, Leadership
from agent.ledger import LedgerConflict, LedgerProblem
from agent.model import Trouble
from agent.policy import PolicyError
from agent.report.words import escape
from agent.vault.connect_to import WrongAddress
from agent.vault.trouble import CredentialProblem

EXIT_ERROR = 1
API_SERVER = "the API server"
Complaint = tuple[str, str, str]
"""What, where, what to do next."""


def complain(what: str, where: str, next_step: str) -> int:
    """One error on stderr. Returns the exit code for it."""
    sys.stderr.write(f"secret-drift-agent: {said((what, where, next_step))}\n")
    return EXIT_ERROR


def said(complaint: Complaint) -> str:
    """The three in a line."""
    what, where, next_step = complaint
    told = f"{what}: {where.rstrip('.')}."
    return escape(f"{told} {next_step[:1].upper()}{next_step[1:].rstrip('.')}." if next_step else told)


def note(text: str) -> None:
    """Something on stderr that is no error, and that a reader of the answers must know."""
    sys.stderr.write(f"secret-drift-agent: note: {escape(text)}\n")


def of_start(error: Exception, agent_namespace: str) -> Complaint:
    """Why a process cannot begin its work."""
    match error:
        case ConnectionProblem():
            return error.what, error.where, error.next_step
        case CredentialProblem():
            next_step = "set the variables, or choose another --vault-credential"
            return "no identity for the vaults", str(error), next_step
        case WrongAddress():
            return "a wrong setting", str(error), "correct it"
        case Unreachable():
            return API_SERVER, error.detail, advice.step("unreachable", error.detail)
        case ApiProblem():
            return API_SERVER, str(error), advice.home_step(error.code, error.message, agent_namespace)
        case _:
            return API_SERVER, str(error), "see whether something stands between us and it"


def of_ledger(error: LedgerProblem, agent_namespace: str) -> Complaint:
    """Why the ledger could not be written."""
    if isinstance(error, LedgerConflict):
        return "the ledger", str(error), "end the other agent, or start again: it is read anew then"
    cause = error.__cause__
    if isinstance(cause, ApiProblem):
        return "the ledger", str(error), advice.home_step(cause.code, cause.message, agent_namespace)
    return "the ledger", str(error), advice.step("unreachable", str(cause))


def not_leading(leadership: Leadership) -> Complaint:
    """Why the Lease cannot be had."""
    trouble, error = leadership.trouble, leadership.error
    if trouble is None or error is None:
        return "the Lease", f"{leadership.holder} holds it now", "ask again"
    what, where, step = of_start(error, leadership.namespace)
    return (what, where, step) if trouble.cause in WHOLE_SERVER else ("the Lease", f"{trouble.cause}: {where}", step)


def tell_failure(error: Exception, agent_namespace: str) -> int:
    """Say why a process cannot begin its work; every mistake of a policy has a line of its own."""
    if isinstance(error, PolicyError):
        sys.stderr.write(f"{error}\n")
        return EXIT_ERROR
    return complain(*of_start(error, agent_namespace))


def of_troubles(troubles: Mapping[str, Trouble]) -> list[Complaint]:
    """A line for each cause: collections that one cause keeps from us in one place are named together."""
    found = []
    for subject, first in advice.together((name, trouble.cause) for name, trouble in sorted(troubles.items())):
        trouble = troubles[first]
        found.append(
            (subject, f"{trouble.cause}: {trouble.detail}", advice.step(trouble.cause, trouble.detail, subject))
        )
    return found


__all__ = ["complain", "not_leading", "note", "of_ledger", "of_start", "of_troubles", "said", "tell_failure"]
