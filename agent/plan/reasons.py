"""Every reason for which a step may be refused: so that each is counted from zero, and the first one is an increase."""

from __future__ import annotations

from collections.abc import Mapping

from agent.model import Step

_SYNC = (
    "attempts", "backoff", "deleting", "no-rule", "observe-mode", "opted-out", "paused", "source-disabled",
    "source-gone", "step-not-allowed", "store", "sync-window", "vault-not-listed", "vault-throttled",
)  # fmt: skip

REASONS: Mapping[Step, tuple[str, ...]] = {
    Step.FORCE_SYNC: _SYNC,
    Step.RECREATE: (
        *_SYNC, "finalizers", "foreign-data", "no-secret", "not-immutable", "not-owner", "recreate-pending", "shared",
        "vault-unknown",
    ),
    Step.RECYCLE: (
        "api-unreachable", "attempts", "bare-pod", "below-baseline", "blast-radius", "campaign", "deleting",
        "eviction-failed", "mid-rollout", "missing-key", "no-rule", "not-all-ready", "observe-mode", "operator-owned",
        "opted-out", "other-restarter", "outside-window", "owner-unknown", "partition", "paused",
        "pod-disruption-budget", "pod-failing", "restart-failed", "rollout-paused", "secret-unread",
        "single-replica", "terminating", "unknown", "unsupported-owner", "upstream",
    ),
}  # fmt: skip
