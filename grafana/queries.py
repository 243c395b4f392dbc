"""The questions that the dashboards ask, in PromQL. They aggregate as the alerts do, so that both say the same.

Every answer is one per thing that it is about, whichever pod exported it: neither a second replica nor a restart
doubles or resets anything. Nothing is asked for but what the agent itself exports.
"""

from __future__ import annotations

from agent.pushgateway import JOB
from k8s.monitoring.alerts import PROMISE

CLUSTER = 'cluster=~"$cluster"'
PLACE = f'{CLUSTER},namespace=~"$namespace"'
VAULT = 'vault=~"(.*, )?$vault(, .*)?"'
"""A drift may name several vaults, or none."""
CHOSEN = 'vault_secret=~"$secret"'

CHAIN = "cluster, namespace, externalsecret, link, kind"
DRIFT = f"{CHAIN}, cause, vault, vault_secret, workload"
AGENT = "cluster, namespace"
RUN = "cluster, agent_namespace, group"
DAY, MONTH = "24h", "30d"

RUNBOOKS = {
    "stale/.*": "SecretDriftNotSynced",
    "spec-not-applied/.*": "SecretDriftSpecNotApplied",
    "missing-secret/not-back": "SecretDriftSecretNotBack",
    "missing-(secret|key)/.*": "SecretDriftSecretMissing",
    "changed-elsewhere/.*": "SecretDriftChangedElsewhere",
    "stuck(-needs-hand)?/.*": "SecretDriftSecretStuck",
    "conflict/.*": "SecretDriftConflict",
    "stale-pod/.*": "SecretDriftStaleContainers",
    "sync-failed/(access-denied|forbidden|forbidden-by-firewall|credential)": "SecretDriftVaultDenies",
    "sync-failed/(unreachable|server-error|host-not-found|bad-answer|deadline)": "SecretDriftVaultDown",
    "sync-failed/(not-found|key|property)": "SecretDriftVaultSecretNotFound",
    "sync-failed/disabled": "SecretDriftVaultSecretDisabled",
    "sync-failed/throttled": "SecretDriftVaultThrottles",
    "sync-failed/store": "SecretDriftStoreUnusable",
    "sync-failed/.*": "SecretDriftSyncFailing",
}
"""Kind and cause of a drift -> the alert that pages for it, whose runbook is wanted. The first that fits holds."""


def drifts(place: str = PLACE) -> str:
    """Each drift that there is now: how many findings share its labels."""
    return f"max by ({DRIFT}) (secret_drift_drift{{{place},{VAULT}}})"


def ages(place: str = PLACE) -> str:
    """Each drift with its age in seconds, the alert that pages for it, and the command that explains it."""
    age = f"time() - max by ({CHAIN}) (secret_drift_drift_since_timestamp_seconds{{{place}}})"
    told = f"({age}) * on ({CHAIN}) group_right () ({drifts(place)} > bool 0)"
    told = f'label_join({told}, "runbook", "/", "kind", "cause")'
    for fits, alert in RUNBOOKS.items():
        told = f'label_replace({told}, "runbook", "{alert}", "runbook", "{fits}")'
    return explained(told)


def explained(told: str) -> str:
    """With the command to copy as a label of its own; where no ExternalSecret is named, that of its namespace."""
    told = f'label_join({told}, "chain", "/", "namespace", "externalsecret")'
    told = f'label_replace({told}, "explain", "secret-drift-agent scan -n $1", "chain", "(.+)/")'
    return f'label_replace({told}, "explain", "secret-drift-agent explain $1", "chain", "(.+/.+)")'


def oldest(place: str = PLACE) -> str:
    """The age of the oldest drift, seconds."""
    return f"max(time() - max by ({CHAIN}) (secret_drift_drift_since_timestamp_seconds{{{place}}}))"


def troubles() -> str:
    """What could not be read or written at the last comparison."""
    what = f'{CLUSTER},cause!="not-looked-yet"'
    return f"max by (cluster, subject, cause) (secret_drift_trouble{{{what}}})"


def halted(place: str = PLACE) -> str:
    """Rollouts that are halted."""
    return f"max by (cluster, namespace, workload, reason, vault_secret, back_to) (secret_drift_halted{{{place}}})"


def refused(place: str = PLACE) -> str:
    """Steps that are due and refused."""
    by = "cluster, namespace, externalsecret, workload, step, reason"
    return f"max by ({by}) (secret_drift_refused{{{place}}})"


def steps(place: str = PLACE) -> str:
    """Steps taken so far on what drifts now."""
    return f"max by (cluster, namespace, externalsecret, workload, step) (secret_drift_steps{{{place}}})"


def stale(place: str = PLACE) -> str:
    """Containers that run an old value, by workload."""
    return f"max by (cluster, namespace, workload) (secret_drift_stale_containers{{{place}}})"


def stale_sources(place: str = PLACE) -> str:
    """Containers that run an old value, by workload and by the vault secret that is old in it."""
    sources = f"secret_drift_stale_source{{{place},{VAULT},{CHOSEN}}}"
    on = "cluster, namespace, workload"
    return f"{stale(place)} * on ({on}) group_right () max by ({on}, vault, vault_secret) ({sources})"


def counted(metric: str, by: str, over: str, more: str = "") -> str:
    """How much a counter has grown, over all processes that ever counted."""
    matchers = f"{CLUSTER},{more}" if more else CLUSTER
    grown = f"increase({metric}{{{matchers}}}[{over}])"
    return f"sum by ({by}) ({grown})" if by else f"sum({grown})"


def late_share(over: str) -> str:
    """The share of rotations that were late; nothing where there was none."""
    late = counted("secret_drift_rotations_total", "", over, 'result="late"')
    return f"{late} / ({counted('secret_drift_rotations_total', '', over)} > 0)"


def service_level(over: str) -> str:
    """The share of rotations that were in time."""
    return f"1 - {late_share(over)}"


def budget_left(over: str) -> str:
    """The share of the error budget that is left: 1 is all of it, 0 none."""
    return f"clamp_min(1 - ({late_share(over)}) / {PROMISE:g}, 0)"


def took(share: float, stage: str, over: str) -> str:
    """Seconds within which this share of the versions passed a stage."""
    buckets = counted("secret_drift_propagation_seconds_bucket", "le", over, f'stage="{stage}"')
    return f"histogram_quantile({share:g}, {buckets})"


_LEADERS = f'max by ({AGENT}) (secret_drift_leader{{{CLUSTER},job!="{JOB}"}})'

NOBODY_LEADS = f"count({_LEADERS} == 0)"
"""Installations whose every replica stands by."""
SOMEBODY_LEADS = f"count({_LEADERS} == 1)"
_SUCCESS = f"secret_drift_once_last_success_timestamp_seconds{{{CLUSTER}}}"
A_RUN_SUCCEEDED = f"count(time() - max by ({RUN}) ({_SUCCESS}) <= 3600)"
A_RUN_IS_MISSED = (
    f"count(time() - max by ({RUN}) ({_SUCCESS}) > 3600"
    f" or max by ({RUN}) (secret_drift_once_exit_code{{{CLUSTER}}} == 1 unless {_SUCCESS}))"
)
"""CronJobs that have not succeeded for an hour, or never, as the alert has it."""
COMPARED = (
    f'max by ({AGENT}) (secret_drift_last_cycle_timestamp_seconds{{{CLUSTER},job!="{JOB}"}}'
    f" and secret_drift_leader{{{CLUSTER}}} == 1)"
)
"""When the leader's last comparison ended."""
SOMEBODY_LOOKED = f"count(time() - max by (cluster) (secret_drift_last_cycle_timestamp_seconds{{{CLUSTER}}}) <= 3600)"

NO_AGENT = -1000
"""What the number says where nobody exports anything."""


def wrong(*, sees: str, blind: str = "", place: str = PLACE, ours: bool = True) -> str:
    """How many things are wrong now. Below zero: nobody would know (``blind`` counts those), or there is ``NO_AGENT``.

    A zero must mean that somebody has looked: so it is only told where ``sees`` says that somebody does. ``ours``:
    whether what the agent itself cannot read counts as well.
    """
    count = f"(sum({drifts(place)}) or vector(0))"
    if ours:
        count += f" + (count({troubles()}) or vector(0))"
    told = f"({count}) and on () ({sees} > 0) or vector({NO_AGENT})"
    return f"-1 * {blind} or {told}" if blind else told


def of_agent(metric: str) -> str:
    """A metric that every process has, of the agent's processes alone."""
    return f"{metric}{{{CLUSTER}}} and on (cluster, job, instance) secret_drift_build_info{{{CLUSTER}}}"


def rate(metric: str, by: str, more: str = "") -> str:
    """A counter's growth per second."""
    matchers = f"{CLUSTER},{more}" if more else CLUSTER
    return f"sum by ({by}) (rate({metric}{{{matchers}}}[$__rate_interval]))"


def throttled(metric: str, by: str) -> str:
    """Answers 429 per second; a zero where requests are made and none was."""
    refused_by_code = 'code="429"'
    return f"{rate(metric, by, refused_by_code)} or 0 * {rate(metric, by)}"


def quota() -> str:
    """The share of what the policy lets the agent ask of a vault that it does ask, as the alert has it."""
    limit = f"max by (cluster, vault) (secret_drift_vault_requests_per_second_limit{{{CLUSTER},{VAULT}}})"
    return f"{rate('secret_drift_vault_requests_total', 'cluster, vault', VAULT)} / {limit}"
