"""The agent's own namespace: is it there, can it be read, can anything be made in it. Pure."""

from __future__ import annotations

import shlex

from agent.advice import quota_of, quota_step
from agent.doctor.facts import Ledger, Unseen
from agent.doctor.lines import Line, State
from agent.model import Trouble


def ledger_lines(ledger: Ledger) -> list[Line]:
    """One line where it cannot be, else what is in it and whether more can be."""
    if ledger.exists is False:
        command = f"kubectl create namespace {shlex.quote(ledger.namespace)}"
        said = f"namespace {ledger.namespace} does not exist"
        return [_line("namespace", "error", said, "create it, or name another by --agent-namespace", command)]
    return [_found_line(ledger), *_trial_lines(ledger)]


def _found_line(ledger: Ledger) -> Line:
    for what, found in (("the installation's key", ledger.key), ("the ledger", ledger.objects)):
        if isinstance(found, Trouble):
            return _line("contents", "error", f"{what} cannot be read in {ledger.namespace}: {found.detail}")
    if ledger.key and ledger.objects:
        said = f"key and ledger of this installation are in {ledger.namespace} ({ledger.objects} objects)"
        return _line("contents", "ok", said)
    if ledger.key:
        said = f"the installation's key is in {ledger.namespace}, and no ledger yet: the next run is a first look"
        return _line("contents", "note", said)
    if ledger.objects:
        said = (
            f"a ledger is in {ledger.namespace}, but not the key of its fingerprints: what was seen cannot be compared"
        )
        todo = "bring Secret secret-drift-agent-key back; else the next run begins anew, and restarts nothing for that"
        return _line("contents", "warning", said, todo)
    return _line("contents", "note", f"nothing in {ledger.namespace} yet: the next run is a first look")


def _trial_lines(ledger: Ledger) -> list[Line]:
    trial = ledger.trial
    if trial is None:
        return [_line("dry-run", "ok", f"a ConfigMap and a Secret can be made in {ledger.namespace}")]
    if isinstance(trial, Unseen):
        return [_line("dry-run", "not-checked", trial.why)]
    if quota := quota_of(trial.detail):
        known = ledger.key is True and not isinstance(ledger.objects, Trouble) and ledger.objects > 0
        said = f"quota {quota} in {ledger.namespace} allows no further object of the ledger"
        state: State = "warning" if known else "error"
        return [_line("dry-run", state, said, quota_step(ledger.namespace, quota))]
    todo = f"see what refuses new objects in {ledger.namespace}: an admission policy, a webhook"
    return [_line("dry-run", "error", f"no object of the ledger can be made: {trial.detail}", todo)]


def _line(name: str, state: State, said: str, todo: str = "", *commands: str) -> Line:
    return Line(area="ledger", name=name, state=state, said=said, todo=todo, commands=commands)
