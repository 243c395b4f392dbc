"""Every number that decisions rest on, as a field with its unit, its meaning and its default."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from .fields import Count, Duration, Section, Span, mistake


class Limits(Section):
    """Caps on what is under way at one time, and on how often a thing is tried."""

    workloads_at_once: Count = Field(
        default=5, description="Workloads being recycled at one time, in the whole cluster."
    )
    workloads_at_once_per_namespace: Count | None = Field(
        default=None, description="The same within one namespace; absent: only the cluster's cap holds."
    )
    disruptive_percent: Annotated[int, Field(ge=0, le=100)] = Field(
        default=30,
        description="Blast radius: percent of all workloads that consume judged Secrets which may be stale or about to "
        "be, before nothing disruptive is done any more; those that are never recycled do not count. 0 forbids every "
        "recycle.",
    )
    disruptive_floor: Count = Field(
        default=10, description="Workloads that the blast radius is at least measured against, for small clusters."
    )
    attempts: Count = Field(
        default=3,
        description="Tries of one step on one object for one cause, and recycles of one workload for the same versions "
        "in the vault, before it is given up.",
    )
    syncs_in_flight: Count = Field(
        default=5, description="Force-syncs not yet acknowledged at one time, in the whole cluster."
    )


class Margins(Section):
    """How far two clocks may be apart: times closer than this prove nothing about order."""

    vault: Duration = Field(default=30.0, description="Between Key Vault's clock and that of ESO or the API server.")
    node: Duration = Field(default=5.0, description="Between a node's clock and the API server's.")
    kubelet_lag: Duration = Field(
        default=2.0,
        description="How long before the pod's creation or the previous run's end kubelet may have fetched the Secret.",
    )


class Report(Section):
    """When something is worth a line though nothing is to be healed."""

    expiry_horizon: Duration = Field(
        default=30 * 86400.0, description="A vault secret that expires within this time is reported."
    )
    propagation_objective: Span = Field(
        default=15 * 60.0, description="Goal for the time from a new vault version to the last fresh container."
    )


class Timing(Section):
    """All other times and factors of the evidence rules, the ladder and the gates."""

    sync_timeout: Span = Field(
        default=30.0, description="A force-sync not acknowledged in this time counts as a failed attempt (lower bound)."
    )
    sync_timeout_medians: Annotated[float, Field(ge=1, le=100)] = Field(
        default=3.0,
        description="The same bound as a multiple of ESO's recent median time to acknowledge; the larger holds.",
    )
    missing_persistence: Duration = Field(
        default=10.0, description="How long a missing Secret or key, or an edit of the spec, is left to ESO itself."
    )
    changed_elsewhere_cover: Duration = Field(
        default=10.0, description="How long after a change of a Secret's data a good sync of ESO may still explain it."
    )
    changed_elsewhere_persistence: Duration = Field(
        default=2.0,
        description="How long a change made elsewhere must last before it is healed: ESO undoes most by itself.",
    )
    recreate_back: Span = Field(
        default=30.0, description="A recreated Secret not back in this time is a page, and stops every other recreate."
    )
    sub_path_lag: Duration = Field(
        default=120.0,
        description="The same for subPath mounts, which kubelet fills from a copy of its own: see margins.kubeletLag.",
    )
    crash_loop_window: Duration = Field(
        default=600.0, description="A run that ended within this time, and no readiness since, make a crash loop."
    )
    broken_chain_horizon: Duration = Field(
        default=86400.0,
        description="A chain that began to drift, or got its newest version, within this time holds up the recycle "
        "of its workload; an older one is recycled beside.",
    )
    settle_cap: Annotated[float, Field(ge=1, le=1000)] = Field(
        default=10.0, description="Settling ends after this many times `settle`, even if changes keep coming."
    )
    evidence_max_age: Span = Field(
        default=5.0, description="No disruptive step rests on anything read longer ago than this."
    )
    retry_backoff: Span = Field(default=30.0, description="Wait after the first failed attempt; it doubles with each.")
    retry_backoff_max: Span = Field(
        default=3600.0,
        description="Longest wait between attempts; for a force-sync also no longer than refreshInterval.",
    )
    refusal_repeat: Span = Field(
        default=3600.0, description="A refusal that does not change is said again after this time, not in every cycle."
    )
    blast_radius_calm: Span = Field(
        default=900.0, description="After the blast radius was exceeded: how long the ratio must stay below the limit."
    )
    health_intervals: Annotated[int, Field(ge=2, le=100)] = Field(
        default=3, description="Intervals without a finished comparison after which the agent calls itself unhealthy."
    )

    @model_validator(mode="after")
    def _backoff_grows(self) -> Self:
        if self.retry_backoff_max < self.retry_backoff:
            raise mistake("expected at least retryBackoff", field="retryBackoffMax")
        return self


class Reading(Section):
    """How the cluster and the vaults are read."""

    relist_interval: Span = Field(default=3600.0, description="Everything watched is listed anew after this time.")
    list_page_size: Annotated[int, Field(ge=10, le=5000)] = Field(
        default=500, description="Objects asked of the API server in one page of a list."
    )
    vault_version_pages: Annotated[int, Field(ge=0, le=1000)] = Field(
        default=8,
        description="Pages of a vault secret's version list (25 versions each) read at most to name a version; one of "
        "a secret with more is known by the time its version was created.",
    )
