"""The words for what happened: one place, so that a log line, a Kubernetes Event and a table say the same. Pure.

Whatever comes from the cluster or a vault is hostile until escaped: every sentence that leaves here is one line of
printable characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import singledispatch

from agent import advice
from agent import events as ev
from agent.model import Finding, Kind, Refusal
from agent.report.kinds import KIND_WORDS, OVER_WORDS
from agent.times import ago, stamp

_LONGEST = 2000
_BREAKS = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escape(text: str, longest: int = _LONGEST) -> str:
    """One line of at most ``longest`` printable characters; every other character is shown as its escape.

    Line ends, terminal sequences, bidirectional overrides, invisible characters and lone surrogates are all not
    printable in Python's sense, so none of them survives.
    """
    if len(text) > longest:
        text = text[: longest - 1] + "…"
    if text.isprintable():
        return text
    shown = "".join(char if char.isprintable() else _escaped(char) for char in text)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def _escaped(char: str) -> str:
    code = ord(char)
    if char in _BREAKS:
        return _BREAKS[char]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shortened(text: str, most: int) -> str:
    """At most ``most`` bytes of UTF-8, cut between characters, an ellipsis in place of the rest."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= most:
        return data.decode()
    return data[: max(0, most - 3)].decode("utf-8", "ignore") + "…"


def span(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3 min 20 s``; tenths below ten seconds."""
    if 0 <= seconds < 9.95 and seconds != int(seconds):
        return f"{seconds:.1f} s"
    return ago(seconds)


def listed(items: Iterable[str], most: int = 8) -> str:
    """``a, b and 3 more``; each item escaped and bounded."""
    all_items = list(items)
    said = ", ".join(escape(item, 120) for item in all_items[:most])
    rest = len(all_items) - most
    return f"{said} and {rest} more" if rest > 0 else said


def counted(number: int, one: str, many: str = "") -> str:
    """``1 pod``, ``3 pods``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def finding_said(finding: Finding) -> str:
    """A finding, without the object's name: what it is and the evidence, and what a person can do about it."""
    named = KIND_WORDS[finding.kind]
    if finding.kind is Kind.SYNC_FAILED and finding.cause:
        named += f" ({finding.cause})"
    return escape(_joined(f"{named}: {finding.evidence}" if finding.evidence else named, finding.remedy))


def refusal_said(refusal: Refusal) -> str:
    """A refusal, without the object's name: which step, why, and until when where that is known."""
    said = f"{refusal.step} refused ({refusal.reason})"
    if refusal.detail:
        said += f": {refusal.detail}"
    if refusal.until is not None and stamp(refusal.until) not in refusal.detail:
        said += f"; until {stamp(refusal.until)}"
    return escape(said)


def subject(event: ev.Event) -> str:
    """The object an event is about, as an operator names it; empty for events about the agent itself."""
    for holder in (event, getattr(event, "finding", None), getattr(event, "refusal", None)):
        for field in ("workload", "chain", "secret", "key"):
            key = getattr(holder, field, None)
            if key is not None:
                return escape(f"{key.namespace}/{key.name}".removeprefix("/"), 512)
    return ""


def _joined(said: str, remedy: str) -> str:
    return f"{said.rstrip('.')}. What to do: {remedy}" if remedy else said


@singledispatch
def phrase(event: ev.Event) -> str:
    """One event in words, not escaped yet, without the name of its object. Every event type has its own below."""
    return type(event).__name__


def sentence(event: ev.Event) -> str:
    """One event in words an SRE reads without a manual: one printable line, without the name of its object."""
    return escape(phrase(event))


@phrase.register
def _(event: ev.CycleEnded) -> str:
    return (
        f"compared {counted(event.chains, 'chain')} in {span(event.seconds)}:"
        f" {counted(event.findings, 'finding')}, {counted(event.requests, 'request')}"
    )


@phrase.register
def _(event: ev.DriftFound) -> str:
    return finding_said(event.finding)


@phrase.register
def _(event: ev.DriftGone) -> str:
    kind = event.finding.kind
    after = f"after {span(event.lasted)}" if event.finding.since else ""
    if event.by is None and kind in OVER_WORDS:
        return f"over {after}: {OVER_WORDS[kind]}"
    now = f"; now: {KIND_WORDS[event.by]}" if event.by is not None else ""
    return f"found no longer{after and ', '}{after}: {KIND_WORDS[kind]}{now}"


@phrase.register
def _(event: ev.SyncRequested) -> str:
    return f"asked ESO to sync now (force-sync, attempt {event.attempt}, {event.reason}): {event.evidence}"


@phrase.register
def _(event: ev.Synced) -> str:
    moved = f"; changed: {listed(event.moved)}" if event.moved else ""
    return f"ESO acknowledged the force-sync after {span(event.seconds)}{moved}"


@phrase.register
def _(event: ev.SyncTimedOut) -> str:
    if event.failed:
        return f"ESO has tried the force-sync and failed ({event.failed}; attempt {event.attempt})"
    return (
        f"ESO has not acknowledged the force-sync within {span(event.seconds)} (attempt {event.attempt});"
        f" next try not before {stamp(event.next_at)}"
    )


@phrase.register
def _(event: ev.SecretDeleted) -> str:
    return f"deleted Secret {event.secret} for ESO to write it anew: {event.evidence}"


@phrase.register
def _(event: ev.SecretBack) -> str:
    return f"ESO wrote Secret {event.secret} anew {span(event.seconds)} after it was deleted"


@phrase.register
def _(event: ev.SecretNotBack) -> str:
    said = f"Secret {event.secret} is not back {span(event.seconds)} after it was deleted: pods that start now fail"
    return _joined(said, f"kubectl -n {event.chain.namespace} describe externalsecret {event.chain.name}")


@phrase.register
def _(event: ev.DataChanged) -> str:
    return f"the Secret's data changed: {listed(event.keys)}"


@phrase.register
def _(event: ev.Evicted) -> str:
    return f"evicted pod {event.pod.name} ({_STAGES.get(event.stage, event.stage)}): {event.evidence}"


@phrase.register
def _(event: ev.RolloutRestarted) -> str:
    return f"asked its controller to replace all pods (rollout restart): {event.evidence}"


@phrase.register
def _(event: ev.StagePassed) -> str:
    stage = _STAGES.get(event.stage, event.stage)
    return f"{stage} passed: {counted(event.pods, 'pod')} ready on the new value after {span(event.seconds)}"


@phrase.register
def _(event: ev.Halted) -> str:
    pod = f" (pod {event.pod})" if event.pod and event.pod not in event.detail else ""
    return _joined(f"recycling halted, {event.reason}{pod}: {event.detail}", event.remedy)


@phrase.register
def _(event: ev.HaltEnded) -> str:
    return f"the halt ({event.reason}) is over: {event.why}"


@phrase.register
def _(event: ev.Healed) -> str:
    recycled = counted(event.pods, "pod")
    return f"{recycled} recycled, the last is ready {span(event.seconds)} after the drift was seen"


@phrase.register
def _(event: ev.Propagated) -> str:
    where = "the Secret"
    if event.stage == "total":
        of = f" of {event.workload.kind} {event.workload.name}" if event.workload else ""
        where = f"every container{of} that may be recycled"
    return f"the newest version of {event.source} has come to {where} {span(event.seconds)} after it was created"


@phrase.register
def _(event: ev.RotationCounted) -> str:
    if event.in_time:
        return f"the newest version of {event.source} was everywhere within the objective, after {span(event.seconds)}"
    return f"the newest version of {event.source} is not everywhere {span(event.seconds)} after it was created: late"


@phrase.register
def _(event: ev.Refused) -> str:
    return refusal_said(event.refusal) + ("" if event.first else " (still)")


@phrase.register
def _(event: ev.RefusalEnded) -> str:
    return f"{event.refusal.step} is no longer refused ({event.refusal.reason})"


@phrase.register
def _(event: ev.Troubled) -> str:
    trouble = event.trouble
    remedy = advice.step(trouble.cause, trouble.detail, event.subject)
    return _joined(f"{event.subject}: {trouble.cause}: {trouble.detail}", remedy)


@phrase.register
def _(event: ev.StormAcknowledged) -> str:
    who, until = event.by or "a person", stamp(event.until)
    return f"{who} acknowledged the storm: the blast radius holds nothing back until {until}"


@phrase.register
def _(event: ev.Recovered) -> str:
    return f"{event.subject}: works again"


@phrase.register
def _(event: ev.Malformed) -> str:
    what = f"{event.field}: {event.message}" if event.field else event.message
    return f"this object of {event.resource} cannot be used: {what}"


@phrase.register
def _(event: ev.BoundsRead) -> str:
    if event.missing is None:
        return "whether admission policies bound our writes cannot be read"
    if not event.missing:
        return "admission policies bound our writes"
    return f"not in force: {', '.join(event.missing)}: RBAC alone bounds that; install them beside the rights"


@phrase.register
def _(event: ev.LeadershipChanged) -> str:
    if event.leading:
        return "this process holds the Lease and acts"
    if event.lapsed:
        return "standing by: this process could not renew its Lease in time, and acts again when it can"
    return f"standing by: {event.holder or 'nobody that is known'} holds the Lease"


@phrase.register
def _(event: ev.HolderChanged) -> str:
    return f"standing by: {event.holder} holds the Lease"


@phrase.register
def _(event: ev.PolicyChanged) -> str:
    if event.valid:
        return f"the policy in force is {event.digest}"
    return f"the policy file is not valid, the former policy stays in force: {_all(event.problems)}"


@phrase.register
def _(event: ev.StepDone) -> str:
    detail = f": {event.detail}" if event.detail else ""
    return f"{event.step} {_RESULTS.get(event.result, event.result)}{detail}"


def _all(problems: Sequence[str]) -> str:
    return "; ".join(problems) or "no reason is known"


_STAGES = {"broken": "pod stale and not ready", "canary": "canary", "batch": "batch"}
_RESULTS = {"done": "done", "failed": "failed", "dry-run": "not done: dry run"}
