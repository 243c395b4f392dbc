"""Which events an owner reads in ``kubectl describe``, on which object, under which type and reason. Pure.

Reasons are stable: alerts and scripts may name them. What only the agent's operator can act on (its own troubles, its
policy, counters) is no note.
"""

from __future__ import annotations

import hashlib
import re
from functools import singledispatch
from typing import Literal, NamedTuple

from agent import events as ev
from agent.model import ExternalSecret, Finding, Kind, ObjectKey, Workload, WorkloadKey
from agent.report.words import escape, sentence, shortened

LONGEST_MESSAGE = 1024
"""Bytes. The API server refuses longer messages of Events."""

About = ObjectKey | WorkloadKey
Type = Literal["Normal", "Warning"]


class Ref(NamedTuple):
    """The object an Event is about (``involvedObject``)."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str


class Note(NamedTuple):
    """One Event to record. Notes of one object with the same ``reason`` and ``key`` are one Event with a count."""

    about: tuple[About, ...]  # an ObjectKey is an ExternalSecret
    type: Type
    reason: str
    key: str
    urgent: bool = False  # goes before all others, and past the bound of its namespace


def externalsecret_ref(externalsecret: ExternalSecret) -> Ref:
    """The reference to an ExternalSecret."""
    return Ref("external-secrets.io/v1", "ExternalSecret", *externalsecret.key, externalsecret.uid)


def workload_ref(workload: Workload) -> Ref:
    """The reference to a workload; a bare pod belongs to the core group."""
    key = workload.key
    return Ref("v1" if key.kind == "Pod" else "apps/v1", key.kind, key.namespace, key.name, workload.uid)


def message(event: ev.Event, about: About, note: Note) -> str:
    """The event in words for the owner of ``about``; the other object it concerns, if any, is named first."""
    others = [key for key in note.about if key != about]
    if isinstance(about, ObjectKey):  # told on several ExternalSecrets, it concerns one workload
        others = [key for key in others if isinstance(key, WorkloadKey)]
    other = others[0] if len(others) == 1 else None
    said = sentence(event)
    if other is not None:
        kind = other.kind if isinstance(other, WorkloadKey) else "ExternalSecret"
        said = f"{escape(f'{kind} {other.name}', 300)}: {said}"
    return shortened(said, LONGEST_MESSAGE)


def name_of(regarding: Ref, note: Note) -> str:
    """The Event's own name: the same for the same thing on the same object, also after a restart of the agent.

    kubectl orders Events by the second in which they were last seen, and those of one second (up to a dozen) as the API
    server lists them, which is by name. So a name begins with the place in the story.
    """
    text = "\0".join((regarding.uid, note.reason, note.key))
    digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]
    name = regarding.name[:200].rstrip(".-")
    return f"{name if _NAME.fullmatch(name) else 'object'}.{place_of(note):02d}{digest}"


def place_of(note: Note) -> int:
    """Where in a story of one second it belongs; behind all others if it has no place."""
    named = f"{note.reason}:{note.key.partition(':')[0]}"
    found = named if named in STORY else note.reason
    return STORY.index(found) if found in STORY else len(STORY)


_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")

_FOUND: dict[Kind, tuple[Type, str]] = {
    Kind.SUSPECT: ("Normal", "DriftSuspected"),
    Kind.UNKNOWN: ("Warning", "NotJudged"),
    Kind.DISABLED: ("Warning", "VersionDisabled"),
    Kind.EXPIRING: ("Warning", "VaultSecretExpiring"),
    Kind.EXPIRED: ("Warning", "VaultSecretExpired"),
    Kind.NOT_YET_VALID: ("Warning", "VaultSecretNotYetValid"),
}
STORY = (
    "Malformed", "NotJudged", "VersionDisabled", "VaultSecretExpiring", "VaultSecretExpired", "VaultSecretNotYetValid",
    "DriftSuspected", "DriftDetected", "HealRefused", "ForceSynced", "SyncTimedOut", "SyncFailed", "SyncAcknowledged",
    "DriftGone",
    "DriftDetected:stuck", "SecretRecreating", "SecretNotBack", "SecretRecreated", "DriftGone:stuck",
    "DriftDetected:stale-pod", "HealRefused:recycle", "RolloutRestarted", "RestartPassed",
    "PodEvicted:broken", "BrokenPodsReplaced", "PodEvicted:canary", "CanaryPassed", "PodEvicted:batch", "BatchPassed",
    "CanaryFailed", "RolloutHalted", "HaltEnded", "DriftGone:stale-pod", "Recycled", "Propagated",
)  # fmt: skip
"""Reasons in the order of a heal, where need be with the first word of the key."""

_SILENT = frozenset({Kind.PINNED, Kind.EXCLUDED})
"""As their owner wrote them: no news to the owner, and there may be thousands."""

_PASSED = {
    "canary": "CanaryPassed", "batch": "BatchPassed", "broken": "BrokenPodsReplaced", "restart": "RestartPassed",
}  # fmt: skip
_INTENDED = frozenset({"campaign", "observe-mode", "no-rule", "opted-out", "paused", "other-restarter"})
"""Refusals that somebody wanted, or that pass with the heal of another workload."""


@singledispatch
def note_of(event: ev.Event) -> Note | None:
    """What to record of an event; None: nothing. Every event type is registered below, one way or the other."""
    return None


@note_of.register
def _(
    event: ev.CycleEnded
    | ev.DataChanged
    | ev.RefusalEnded
    | ev.RotationCounted
    | ev.StormAcknowledged
    | ev.Troubled
    | ev.Recovered
    | ev.BoundsRead
    | ev.LeadershipChanged
    | ev.HolderChanged
    | ev.PolicyChanged
    | ev.StepDone,
) -> Note | None:
    return None


@note_of.register
def _(event: ev.DriftFound) -> Note | None:
    kind = event.finding.kind
    if kind in _SILENT:
        return None
    type_, reason = _FOUND.get(kind, ("Warning", "DriftDetected"))
    return Note(_about(event.finding), type_, reason, _key(event.finding))


@note_of.register
def _(event: ev.DriftGone) -> Note | None:
    """What is found in its place has a note of its own, or is nothing that anybody waits to see healed."""
    if not event.finding.is_drift or event.by is not None:
        return None
    return Note(_about(event.finding), "Normal", "DriftGone", _key(event.finding))


@note_of.register
def _(event: ev.SyncRequested) -> Note:
    return Note((event.chain,), "Normal", "ForceSynced", event.reason)


@note_of.register
def _(event: ev.Synced) -> Note:
    return Note((event.chain,), "Normal", "SyncAcknowledged", "")


@note_of.register
def _(event: ev.SyncTimedOut) -> Note:
    return Note((event.chain,), "Warning", "SyncFailed" if event.failed else "SyncTimedOut", "")


@note_of.register
def _(event: ev.SecretDeleted) -> Note:
    return Note((event.chain,), "Normal", "SecretRecreating", str(event.secret))


@note_of.register
def _(event: ev.SecretBack) -> Note:
    return Note((event.chain,), "Normal", "SecretRecreated", str(event.secret))


@note_of.register
def _(event: ev.SecretNotBack) -> Note:
    return Note((event.chain,), "Warning", "SecretNotBack", str(event.secret), urgent=True)


@note_of.register
def _(event: ev.Evicted) -> Note:
    return Note((event.workload,), "Normal", "PodEvicted", event.stage)


@note_of.register
def _(event: ev.RolloutRestarted) -> Note:
    return Note((event.workload,), "Normal", "RolloutRestarted", "")


@note_of.register
def _(event: ev.StagePassed) -> Note:
    return Note((event.workload,), "Normal", _PASSED.get(event.stage, "StagePassed"), event.stage)


@note_of.register
def _(event: ev.Halted) -> Note:
    """On the ExternalSecrets too: who has set a bad value looks there."""
    reason = "CanaryFailed" if event.reason == "canary-failed" else "RolloutHalted"
    return Note((event.workload, *event.chains), "Warning", reason, f"{event.reason}:{event.workload}", urgent=True)


@note_of.register
def _(event: ev.HaltEnded) -> Note:
    """As urgent as its beginning: a halt that is over must not look as if it were not."""
    chains = event.chains
    return Note((event.workload, *chains), "Normal", "HaltEnded", f"{event.reason}:{event.workload}", urgent=True)


@note_of.register
def _(event: ev.Healed) -> Note:
    return Note((event.workload,), "Normal", "Recycled", "")


@note_of.register
def _(event: ev.Propagated) -> Note | None:
    """The first stage is what SyncAcknowledged says; on the workload itself the last is what Recycled says."""
    if event.stage != "total":
        return None
    return Note((event.chain,), "Normal", "Propagated", f"{event.source}:{event.workload or ''}")


@note_of.register
def _(event: ev.Refused) -> Note | None:
    """A refusal whose end is known, or that is intended, needs nobody; any other is a warning."""
    refusal = event.refusal
    about = tuple(key for key in (refusal.chain, refusal.workload) if key is not None)
    type_: Type = "Warning" if refusal.until is None and refusal.reason not in _INTENDED else "Normal"
    return Note(about, type_, "HealRefused", f"{refusal.step.value}:{refusal.reason}") if about else None


@note_of.register
def _(event: ev.Malformed) -> Note | None:
    if event.key is None or event.resource != "externalsecrets":
        return None
    return Note((event.key,), "Warning", "Malformed", event.field)


def _about(finding: Finding) -> tuple[About, ...]:
    return (finding.chain,) if finding.workload is None else (finding.chain, finding.workload)


def _key(finding: Finding) -> str:
    return f"{finding.kind.value}:{finding.cause}:{finding.workload or ''}"
