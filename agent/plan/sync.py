"""The upper rungs of the ladder: force-sync, and recreate. Pure.

One drift of links 1 and 2 is chosen, its step found, and every gate asked. A gate is a function that takes the case and
answers None or a refusal; one that cannot be evaluated refuses.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import msgspec

from agent.diagnose.view import ChainReport, ChainView
from agent.memory import ChainMemory, Tries
from agent.model import Finding, Kind, Link, Refusal, Step
from agent.plan import syncwindows
from agent.plan.decisions import ForceSync, Idle, Recreate, Refuse, SyncDecision, Wait
from agent.plan.optout import opted_out
from agent.policy import Policy
from agent.times import stamp

ORDER = (
    Kind.SYNC_FAILED, Kind.SPEC_NOT_APPLIED, Kind.STALE, Kind.MISSING_SECRET, Kind.MISSING_KEY,
    Kind.CHANGED_ELSEWHERE, Kind.STUCK,
)  # fmt: skip
"""The drift that decides, first match; what is not here has no step of ours."""

ACKNOWLEDGED_RECENTLY = 60.0
"""Seconds for which an acknowledged force-sync proves that ESO can read everything, before a delete."""

DOUBLED = 40
"""Times that the wait between attempts doubles at most: from a tenth of a second to thousands of years."""


class SyncCase(msgspec.Struct, frozen=True, kw_only=True):
    """One chain, as the plan sees it."""

    view: ChainView
    report: ChainReport
    policy: Policy
    now: float
    namespace_mode: str = ""
    namespace_deleting: bool = False
    in_flight: int = 0  # force-syncs not acknowledged, in the whole cluster
    slots: int = sys.maxsize  # as many as ESO answers in time; the policy's limit holds besides
    other_recreate: str = ""  # a Secret that was deleted and is not back: no other is deleted meanwhile
    throttled_until: float = 0.0


def decide(case: SyncCase) -> SyncDecision:
    """The step that is due for links 1 and 2 of a chain now."""
    finding = deciding(case.view.memory, case.report)
    if finding is None:
        return Idle()
    step = _step(case, finding)
    if isinstance(step, Idle | Wait):
        return step
    for gate in GATES:
        if refusal := gate(case, finding, step):
            return Refuse(refusal=refusal)
    if step is Step.RECREATE and _proved_readable(case):
        return _recreate(case, finding)
    if step is Step.RECREATE and (refusal := gate_attempts(case, finding, Step.FORCE_SYNC)):
        return Refuse(refusal=refusal)  # the proof that ESO can read everything is a force-sync
    if case.in_flight >= min(case.slots, case.policy.limits.syncs_in_flight):
        return Wait(until=0.0, why="as many force-syncs as allowed are not acknowledged yet")
    return ForceSync(
        chain=case.view.es.key,
        reason=finding.kind.value if finding.kind is not Kind.SYNC_FAILED else "cause-gone",
        evidence=finding.evidence,
        seen=identities(case.view),
        tries_key=tries_key(case.view),
    )


def refusals(case: SyncCase) -> tuple[Refusal, ...]:
    """All gates that refuse the step which is due, not the first alone; for whoever asks why nothing is done."""
    finding = deciding(case.view.memory, case.report)
    step = _step(case, finding) if finding is not None else None
    if finding is None or not isinstance(step, Step):
        return ()
    return tuple(refusal for gate in GATES if (refusal := gate(case, finding, step)) is not None)


def deciding(memory: ChainMemory, report: ChainReport) -> Finding | None:
    """The drift that something is to be done about; None: there is none, or a step is under way."""
    if memory.sync is not None or (memory.recreate and memory.recreate.state in ("reserved", "deleted")):
        return None
    return next((f for kind in ORDER for f in report.findings if f.kind is kind and f.link is not Link.CONTAINER), None)


def identities(view: ChainView) -> dict[str, str]:
    """What our last vault answers showed, per source."""
    return {str(key): source.state.identity for key, source in view.sources.items()}


def tries_key(view: ChainView) -> str:
    """Attempts are counted anew when a source version or the spec changes."""
    seen = ",".join(f"{key}={identity}" for key, identity in sorted(identities(view).items()))
    return f"{view.es.uid}/{view.es.generation}/{seen}"


def _step(case: SyncCase, finding: Finding) -> Step | Idle | Wait:
    timing, es, now = case.policy.timing, case.view.es, case.now
    found = case.view.memory.since.get(finding.kind.value, now)
    found = max(found, es.ready_since or 0.0)  # while ESO failed, it had no chance to do it by itself
    match finding.kind:
        case Kind.SYNC_FAILED:
            return Step.FORCE_SYNC if _cause_is_gone(case) else Idle()
        case Kind.SPEC_NOT_APPLIED | Kind.MISSING_SECRET | Kind.MISSING_KEY:
            due = found + timing.missing_persistence
            return Step.FORCE_SYNC if now >= due else Wait(until=due, why="ESO does this by itself")
        case Kind.CHANGED_ELSEWHERE:
            due = found + timing.changed_elsewhere_persistence
            return Step.FORCE_SYNC if now >= due else Wait(until=due, why="ESO undoes most changes by itself")
        case Kind.STUCK:
            return Step.RECREATE
    rule = case.policy.sync_rule(es.key.namespace)
    if rule and rule.patience and es.refresh_time is not None and es.refresh_policy == "Periodic":
        due = es.refresh_time + es.refresh_interval
        if now < due <= now + rule.patience:
            return Wait(until=due, why="ESO's own refresh is due within patience")
    return Step.FORCE_SYNC


def _cause_is_gone(case: SyncCase) -> bool:
    """Our own look at the vault shows that what made the sync fail is repaired, and we have not tried since."""
    view = case.view
    if view.memory.cause not in ("not-found", "disabled", "access-denied", "throttled") or view.blind:
        return False
    if view.memory.cause == "access-denied":
        return False  # our identity's access proves nothing about ESO's
    healthy = all(source.state.present and source.state.enabled for source in view.sources.values())
    repaired = any(source.witnessed and source.seen_at >= view.memory.failed_since for source in view.sources.values())
    return healthy and repaired and bool(view.sources) and view.memory.probe != tries_key(view)


def _proved_readable(case: SyncCase) -> bool:
    memory = case.view.memory
    current = all(memory.covered.get(str(key)) == s.state.identity for key, s in case.view.sources.items())
    return current and case.now - memory.covered_at < ACKNOWLEDGED_RECENTLY


def _recreate(case: SyncCase, finding: Finding) -> SyncDecision:
    secret, es = case.view.secret, case.view.es
    if secret is None:
        return Idle()
    return Recreate(
        chain=es.key,
        secret=secret.key,
        uid=secret.uid,
        resource_version=secret.resource_version,
        evidence=finding.evidence,
    )


# ---------------------------------------------------------------------------------------------------------- gates

Gate = Callable[[SyncCase, Finding, Step], Refusal | None]


def _refusal(case: SyncCase, step: Step, reason: str, detail: str, until: float | None = None) -> Refusal:
    return Refusal(step=step, reason=reason, detail=detail, until=until, chain=case.view.es.key)


def gate_mode(case: SyncCase, finding: Finding, step: Step) -> Refusal | None:
    """The policy heals here, and allows this step."""
    namespace = case.view.es.key.namespace
    rule = case.policy.sync_rule(namespace)
    if case.policy.mode != "heal":
        return _refusal(case, step, "observe-mode", "the policy's mode is observe")
    if rule is None:
        return _refusal(case, step, "no-rule", f"no rule of sync matches namespace {namespace}")
    if step.value not in rule.steps:
        return _refusal(
            case, step, "step-not-allowed", f"the rule for namespace {namespace} does not allow {step.value}"
        )
    return None


def gate_pause(case: SyncCase, finding: Finding, step: Step) -> Refusal | None:
    """Nobody has paused the agent."""
    pause = case.policy.paused(case.now)
    return _refusal(case, step, "paused", f"paused: {pause.reason}", pause.until) if pause else None


def gate_opt_out(case: SyncCase, finding: Finding, step: Step) -> Refusal | None:
    """No owner objects: of the ExternalSecret, of the namespace, of a vault secret."""
    es = case.view.es
    why = opted_out([(f"ExternalSecret {es.key}", es.mode), (f"namespace {es.key.namespace}", case.namespace_mode)])
    tagged = [str(key) for key, source in case.view.sources.items() if source.state.ignored]
    if not why and tagged:
        why = f"vault secret {', '.join(tagged)} carries the tag secret-drift-agent=ignore"
    return _refusal(case, step, "opted-out", why) if why else None


def gate_deleting(case: SyncCase, finding: Finding, step: Step) -> Refusal | None:
    """The namespace is not going away."""
    if case.namespace_deleting:
        return _refusal(case, step, "deleting", f"namespace {case.view.es.key.namespace} is being deleted")
    return None


def gate_sync_windows(case: SyncCase, finding: Finding, step: Step) -> Refusal | None:
    """The ExternalSecret's own sync windows allow a sync now. A force-sync would bypass them, so we ask."""
    denied = syncwindows.denied(case.view.es.sync_windows, case.now)
    if denied is None:
        return None
    return _refusal(case, step, "sync-window", denied.why, denied.until)


def gate_vault(case: SyncCase, finding: Finding, step: Step) -> Refusal | None:
    """The sync can succeed: nothing it reads is known to be disabled or gone, and the vault is not throttling."""
    view = case.view
    for key, source in view.sources.items():
        if not source.state.present:
            fails = view.es.deletion_policy == "Retain"
            then = "would fail" if fails else "would take what it fed out of the Secret, or the Secret itself away"
            return _refusal(case, step, "source-gone", f"{key} is not in the vault: the sync {then}")
    if off := view.disabled:
        detail = f"the newest version of {off[0]} is disabled: the sync would fail"
        return _refusal(case, step, "source-disabled", detail)
    if case.throttled_until > case.now:
        detail = "the vault is throttling; a sync would add to it"
        return _refusal(case, step, "vault-throttled", detail, case.throttled_until)
    return None


def gate_store(case: SyncCase, finding: Finding, step: Step) -> Refusal | None:
    """Its stores are followed, and the policy lets their vaults be looked at: what may not be judged is not touched."""
    wrong = next((blind for blind in case.view.blind if blind.cause in ("store", "vault-not-listed")), None)
    return _refusal(case, step, wrong.cause, wrong.detail) if wrong is not None else None


def gate_attempts(case: SyncCase, finding: Finding, step: Step) -> Refusal | None:
    """Not tried too often, nor too recently, for these versions and this spec."""
    tries = case.view.memory.tries
    if step is not Step.FORCE_SYNC or tries is None or tries.key != tries_key(case.view):
        return None
    if tries.count >= case.policy.limits.attempts:
        detail = f"given up after {tries.count} attempts; tried again when a source version or the spec changes"
        if finding.kind is Kind.CHANGED_ELSEWHERE:
            detail += ": whatever else writes the Secret undoes ESO's sync each time, and has to stop"
        return _refusal(case, step, "attempts", detail)
    if case.now < tries.next_at:
        return _refusal(
            case, step, "backoff", f"attempt {tries.count} failed; next at {stamp(tries.next_at)}", tries.next_at
        )
    return None


def gate_recreate(case: SyncCase, finding: Finding, step: Step) -> Refusal | None:
    """A Secret may be deleted only if ESO brings it back for sure, and nothing but ESO's data is lost."""
    if step is not Step.RECREATE:
        return None
    es, secret = case.view.es, case.view.secret
    checks = (
        (secret is None or secret.deleting, "no-secret", "the Secret is not there"),
        (not es.immutable, "not-immutable", "target.immutable is not set: a force-sync is enough"),
        (
            es.creation_policy != "Owner",
            "not-owner",
            f"creationPolicy is {es.creation_policy}, ESO may not bring it back",
        ),
        (
            secret is not None and secret.owner_uid != es.uid,
            "not-owner",
            "the Secret is not controlled by this ExternalSecret",
        ),
        (secret is not None and secret.finalizers, "finalizers", "the Secret has finalizers"),
        (bool(secret and secret.foreign_writers), "foreign-data", "another writer owns data of the Secret"),
        (bool(case.view.rivals), "shared", "another ExternalSecret writes the same Secret"),
        (bool(case.view.blind), "vault-unknown", "not every vault it reads could be looked at"),
        (bool(case.other_recreate), "recreate-pending", f"{case.other_recreate} was deleted and is not back"),
    )
    return next((_refusal(case, step, reason, detail) for wrong, reason, detail in checks if wrong), None)


GATES: tuple[Gate, ...] = (
    gate_mode, gate_pause, gate_opt_out, gate_deleting, gate_sync_windows, gate_store, gate_vault, gate_attempts,
    gate_recreate,
)  # fmt: skip


def tried(
    tries: Tries | None, key: str, policy: Policy, now: float, *, longest: float | None = None, reason: str = ""
) -> Tries:
    """One more attempt, and when the next may be. It is forgotten when the drift is gone, not when a sync succeeds:
    a sync can be acknowledged for ever and change nothing.

    What was changed elsewhere is well for a moment with each attempt, however often it is changed again: that is kept.
    """
    count = 1 if tries is None or tries.key != key else tries.count + 1
    grown = policy.timing.retry_backoff * 2.0 ** min(count - 1, DOUBLED)
    pause = min(grown, policy.timing.retry_backoff_max, longest or float("inf"))
    kept = policy.timing.retry_backoff_max if reason == Kind.CHANGED_ELSEWHERE.value else 0.0
    return Tries(key=key, count=count, next_at=now + pause, kept_until=now + kept)
