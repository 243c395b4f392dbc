"""What a vault says of its newest versions by itself: disabled, not valid yet, expired or about to. Pure."""

from __future__ import annotations

from agent.diagnose.found import finding
from agent.diagnose.remedies import REMEDIES
from agent.diagnose.sources import newest_enabled
from agent.diagnose.view import ChainView
from agent.model import Finding, Kind, Link
from agent.policy import Policy
from agent.times import ago, stamp


def notes(view: ChainView, policy: Policy, now: float) -> list[Finding]:
    """Reported beside whatever else is found; none of it is drift."""
    found = []
    for key, source in view.sources.items():
        state = source.state
        if not state.present:
            continue
        if not state.enabled:
            enabled = newest_enabled(source)
            rest = f"the newest enabled one is of {stamp(enabled.created)}" if enabled else "no enabled one is known"
            text = f"the newest version of {key}, of {stamp(state.created)}, is disabled; {rest}"
            since = source.event_at if source.witnessed else source.seen_at  # how long it has been so is not told
            remedy = REMEDIES["disabled"]
            found.append(finding(view, Link.VAULT, Kind.DISABLED, since, text, sources=(key,), remedy=remedy))
        elif state.not_before is not None and state.not_before > now:
            text = f"{key} is not valid before {stamp(state.not_before)}"
            found.append(finding(view, Link.VAULT, Kind.NOT_YET_VALID, state.created, text, sources=(key,)))
        elif state.expires is not None and state.expires <= now:
            text = f"{key} expired {stamp(state.expires)} ({ago(now - state.expires)} ago)"
            found.append(finding(view, Link.VAULT, Kind.EXPIRED, state.expires, text, sources=(key,)))
        elif state.expires is not None and state.expires - now < policy.report.expiry_horizon:
            text = f"{key} expires {stamp(state.expires)} (in {ago(state.expires - now)})"
            since = max(state.created, state.expires - policy.report.expiry_horizon)
            found.append(finding(view, Link.VAULT, Kind.EXPIRING, since, text, sources=(key,)))
    return found
