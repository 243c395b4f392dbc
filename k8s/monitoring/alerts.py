"""All alerts, as data: the one source of the plain rules file, the PrometheusRule and the chart's.

Rules of the house. An alert is about one thing that a person can do something about, and says it in words that fit a
phone. Every expression aggregates over the processes that export it, by what it is about: a restart, another leader or
a second replica neither resolves an alert nor doubles it. What lasts is measured from when it began, which the agent
keeps in its ledger, not from when Prometheus first saw it: so that a restart of either costs nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from agent.pushgateway import JOB

PROMISE = 0.01
"""The share of rotations that may be late: the service level is 99 %."""

_CHAIN = "cluster, namespace, externalsecret, link, kind"
_MIN, _HOUR, _DAY = 60, 3600, 86400


class Alert(NamedTuple):
    """One alerting rule. ``hold``: Prometheus' ``for``; ``keep``: its ``keep_firing_for``, over a change of leader."""

    name: str
    severity: str  # critical: pages; warning: a ticket; info: to be looked at some day
    expr: str
    summary: str
    description: str
    hold: str = "0m"
    keep: str = ""


class Record(NamedTuple):
    """One recording rule."""

    name: str
    expr: str


def _drift(selector: str, lasts: int, *, cause: str = "", unless: str = "") -> str:
    """Drifts that have lasted longer than ``lasts`` seconds, with their age as the value. ``cause``: a matcher."""
    named = f"{selector},{cause}" if cause else selector
    age = f"time() - max by ({_CHAIN}) (secret_drift_drift_since_timestamp_seconds{{{selector}}})"
    now = f"max by ({_CHAIN}, cause, vault, vault_secret, workload) (secret_drift_drift{{{named}}})"
    expr = f"({age} > {lasts})\n* on ({_CHAIN}) group_right ()\n({now} > bool 0)"
    return f"(\n{expr}\n)\nunless on (cluster, namespace, workload)\n{unless}" if unless else expr


def _failing(causes: str, lasts: int) -> str:
    """How many ExternalSecrets of each vault ESO has failed to sync, for these causes, for longer than ``lasts``."""
    failing = _drift('kind="sync-failed"', lasts, cause=f'cause=~"{causes}"')
    return f"count by (cluster, vault, cause) (\n{failing}\n)"


def _list(query: str, labels: tuple[str, ...], by: str, item: str, before: str, otherwise: str = "") -> str:
    """A sentence that lists what a query answers, in the order of the label ``by``; nothing where it answers nothing.

    ``%s`` in the query: matchers for what the alert's own labels name.
    """
    asked = query % ",".join(f"{label}=%q" for label in labels)
    named = " ".join(f"$labels.{label}" for label in labels)
    listed = "{{ range $i, $each := . }}{{ if $i }}, {{ end }}" + item + "{{ end }}"
    rest = "{{ else }} " + otherwise if otherwise else ""
    answer = "{{ with printf `" + asked + "` " + named + ' | query | sortByLabel "' + by + '" }} '
    return answer + before + listed + "." + rest + "{{ end }}"


def _done(about: str) -> str:
    item = "{{ $each.Value }} x {{ $each.Labels.step }}"
    query = "sum by (step) (secret_drift_steps{%s})"
    return _list(query, ("namespace", about), "step", item, "Done so far: ", "No step taken since the agent started.")


def _refused(about: str) -> str:
    item = "{{ $each.Labels.step }} ({{ $each.Labels.reason }})"
    query = "sum by (step, reason) (secret_drift_refused{%s})"
    return _list(query, ("namespace", about), "reason", item, "Refused: ")


PHRASES = {
    "<object>": "{{ $labels.namespace }}/{{ $labels.externalsecret }}",
    "<workload>": "{{ $labels.namespace }}/{{ $labels.workload }}",
    "<refused>": "{{ $labels.step }} of {{ $labels.namespace }}/{{ $labels.externalsecret }}{{ $labels.workload }}",
    "<age>": "{{ $value | humanizeDuration }}",
    "<secrets>": "{{ with $labels.vault_secret }}{{ . }} of {{ end }}{{ with $labels.vault }}vault {{ . }}{{ end }}",
    "<count>": "{{ $value }} ExternalSecret{{ if gt $value 1.0 }}s{{ end }}",
    "<explain>": "secret-drift-agent explain {{ $labels.namespace }}/{{ $labels.externalsecret }}",
    "<chain-done>": _done("externalsecret") + _refused("externalsecret"),
    "<workload-done>": _done("workload") + _refused("workload"),
    "<steps>": _done("workload"),
    "<examples>": _list(
        "topk(3, max by (namespace, externalsecret) (secret_drift_drift{%s}))", ("vault", "cause"), "externalsecret",
        "{{ $each.Labels.namespace }}/{{ $each.Labels.externalsecret }}", "For example: ",
    ),
    "<behind>": _list(
        'count by (kind) (secret_drift_drift{%s,kind="sync-failed"})', ("vault",), "kind", "{{ $each.Value }}",
        "ExternalSecrets behind it that fail: ",
    ),
}  # fmt: skip
"""What the texts of several alerts have in common, in Prometheus' template language, by the mark that stands for it."""

_VAULT_CAUSES = "access-denied|forbidden|forbidden-by-firewall|credential"
_DOWN_CAUSES = "unreachable|server-error|host-not-found|bad-answer|deadline"
_NAMED_CAUSES = f"{_VAULT_CAUSES}|{_DOWN_CAUSES}|not-found|key|property|disabled|throttled|store"
"""Those with an alert of their own."""
_OUTSIDE_WINDOW = 'secret_drift_refused{step="recycle",reason="outside-window"}'
_NOT_BACK = 'secret_drift_drift{kind="missing-secret",cause="not-back"}'
_ESO_SILENT = (
    'sum by (cluster) (increase(secret_drift_syncs_total{result="timed-out"}[15m])) > 2\n'
    'unless sum by (cluster) (increase(secret_drift_syncs_total{result="acknowledged"}[15m])) > 0'
)
_ESO_REFUSES = 'secret_drift_trouble{subject=~"force-sync of .+",cause=~"server-error|unreachable"}'

_VAULT_DOWN = (
    'max by (cluster, vault) (label_replace(secret_drift_trouble{subject=~"vault .+",'
    f'cause=~"{_DOWN_CAUSES}"}}, "vault", "$1", "subject", "vault (.+)"))\n'
    f'or count by (cluster, vault) (secret_drift_drift{{kind="sync-failed",cause=~"{_DOWN_CAUSES}"}})'
)
_ESO_DOWN = (
    f"(\n{_ESO_SILENT}\n)\n"
    'or max by (cluster) (secret_drift_trouble{cause="no-eso"})\n'
    f"or count by (cluster) ({_ESO_REFUSES}) > 0"
)

DRIFT = (
    Alert(
        "SecretDriftNotSynced",
        "critical",
        _drift('kind="stale",link="vault"', 15 * _MIN),
        "<object> does not have the new version of <secrets>",
        "The vault has had a new version for <age>, and ESO has not fetched it.<chain-done> Look: <explain>",
        keep="5m",
    ),
    Alert(
        "SecretDriftSpecNotApplied",
        "warning",
        _drift('kind="spec-not-applied"', 15 * _MIN),
        "ESO has not applied the present spec of <object>",
        "The ExternalSecret was changed <age> ago, and no sync of that generation has succeeded.<chain-done>"
        " Look: <explain>",
        keep="5m",
    ),
    Alert(
        "SecretDriftSecretMissing",
        "critical",
        _drift('kind=~"missing-secret|missing-key"', 5 * _MIN, cause='cause!="not-back"'),
        "The Secret of <object>, or a key of it, is missing",
        "It has been so for <age>: pods that start now fail.<chain-done> Look: <explain>",
        keep="5m",
    ),
    Alert(
        "SecretDriftChangedElsewhere",
        "warning",
        _drift('kind="changed-elsewhere"', 15 * _MIN),
        "The Secret of <object> is not what ESO wrote",
        "Somebody else changed it <age> ago, and ESO has not undone it.<chain-done> Look: <explain>",
        keep="5m",
    ),
    Alert(
        "SecretDriftSecretStuck",
        "warning",
        _drift('kind=~"stuck|stuck-needs-hand"', 15 * _MIN),
        "The Secret of <object> cannot take the new value: it is immutable, or of another type",
        "It has been so for <age>. It must be deleted for ESO to write it anew; the agent does so where the policy"
        " allows recreate.<chain-done> Look: <explain>",
        keep="5m",
    ),
    Alert(
        "SecretDriftConflict",
        "warning",
        _drift('kind="conflict"', _HOUR),
        "<object> and another ExternalSecret claim the same keys of one Secret",
        "It has been so for <age>: whoever syncs last wins, and nothing is healed. Look: <explain>",
        keep="5m",
    ),
    Alert(
        "SecretDriftStaleContainers",
        "critical",
        _drift(
            'kind="stale-pod"',
            30 * _MIN,
            unless=f"max by (cluster, namespace, workload) ({_OUTSIDE_WINDOW})",
        ),
        "<workload> still runs an old version of <secrets>",
        "Its Secret has held the new value for <age>, and containers that started before run on.<workload-done>"
        " Look: <explain>",
        keep="5m",
    ),
    Alert(
        "SecretDriftTooMany",
        "critical",
        'sum by (cluster, namespace) (secret_drift_drift{externalsecret="(others)"}) > 0',
        "More drifts in {{ $labels.namespace }} than metrics name one by one",
        "{{ $value }} drifts beyond the named ones: one cause behind all of them is likely. Look: secret-drift-agent"
        " scan -n {{ $labels.namespace }}",
        hold="5m",
    ),
)

SYNC = (
    Alert(
        "SecretDriftVaultDown",
        "critical",
        _VAULT_DOWN,
        "Vault {{ $labels.vault }} cannot be reached",
        "Nothing can be synced from it, and nothing is healed behind it; running pods are not touched.<behind>"
        " Look: secret-drift-agent doctor",
        hold="5m",
        keep="5m",
    ),
    Alert(
        "SecretDriftVaultRecovering",
        "info",
        _VAULT_DOWN,
        "Vault {{ $labels.vault }} is, or was within half an hour, out of reach",
        "What lies behind it is healed a few at a time once it is back. Until then the alerts of those drifts are"
        " silenced by this one; what still drifts after that pages as usual.",
        hold="5m",
        keep="30m",
    ),
    Alert(
        "SecretDriftVaultDenies",
        "critical",
        _failing(_VAULT_CAUSES, 5 * _MIN),
        "Vault {{ $labels.vault }} denies ESO: <count> cannot sync",
        "{{ if eq $labels.cause \"forbidden-by-firewall\" }}The vault's firewall shuts ESO's network out: let it in."
        '{{ else if eq $labels.cause "credential" }}ESO\'s identity gets no token from Entra ID: look at its federated'
        " credential or client secret."
        "{{ else }}ESO's identity lacks the right to read secrets: grant it the role Key Vault Secrets User on the"
        " vault; the identity is named by kubectl describe externalsecret.{{ end }}<examples>",
        keep="5m",
    ),
    Alert(
        "SecretDriftVaultSecretNotFound",
        "warning",
        _drift('kind="sync-failed"', 10 * _MIN, cause='cause=~"not-found|key|property"'),
        "<object> asks for what is not there: {{ with $labels.vault_secret }}{{ . }}, {{ end }}{{ $labels.cause }}",
        'ESO has failed for <age>. {{ if eq $labels.cause "property" }}The vault secret has no such property:'
        ' correct remoteRef.property, or the secret\'s JSON.{{ else if eq $labels.cause "key" }}remoteRef.key is no'
        " name that a vault secret can have.{{ else }}<secrets> was never created, is misspelt, or is"
        " soft-deleted: recover or create it, or correct remoteRef.key.{{ end }} Look: <explain>",
        keep="5m",
    ),
    Alert(
        "SecretDriftVaultSecretDisabled",
        "warning",
        _drift('kind="sync-failed"', 10 * _MIN, cause='cause="disabled"'),
        "<object> cannot sync: the newest version of <secrets> is disabled",
        "ESO has failed for <age>; the Secret keeps its former value. Enable the version, or set a new one."
        " Look: <explain>",
        keep="5m",
    ),
    Alert(
        "SecretDriftVaultThrottles",
        "warning",
        _failing("throttled", 10 * _MIN),
        "Vault {{ $labels.vault }} throttles ESO: <count> cannot sync",
        "The agent has stopped asking ESO for syncs from this vault until the vault is at peace. If it lasts, fewer"
        " ExternalSecrets should refresh at once: raise refreshInterval.<examples>",
        keep="5m",
    ),
    Alert(
        "SecretDriftStoreUnusable",
        "warning",
        "count by (cluster, namespace) (\n" + _drift('kind="sync-failed"', 10 * _MIN, cause='cause="store"') + "\n)",
        "A SecretStore in {{ $labels.namespace }} cannot be used: <count> cannot sync",
        "It is missing, not ready, or not allowed in this namespace. Look: kubectl -n {{ $labels.namespace }} get"
        " secretstores,externalsecrets",
        keep="5m",
    ),
    Alert(
        "SecretDriftEsoDown",
        "critical",
        _ESO_DOWN,
        "External Secrets Operator does not work{{ with $labels.cluster }} in {{ . }}{{ end }}",
        "It answers no force-sync, its webhook refuses every change, or its kinds are not served: no rotation reaches"
        " any Secret. Look: kubectl get pods -A -l app.kubernetes.io/name=external-secrets; secret-drift-agent doctor",
        hold="5m",
        keep="5m",
    ),
    Alert(
        "SecretDriftEsoRecovering",
        "info",
        _ESO_DOWN,
        "External Secrets Operator is, or was within half an hour, out of order",
        "What waited for it is healed a few at a time once it works. Until then the alerts of those drifts are"
        " silenced by this one; what still drifts after that pages as usual.",
        hold="5m",
        keep="30m",
    ),
    Alert(
        "SecretDriftSyncFailing",
        "warning",
        _drift('kind="sync-failed"', 10 * _MIN, cause=f'cause!~"{_NAMED_CAUSES}"'),
        "ESO fails to sync <object> ({{ $labels.cause }})",
        "It has failed for <age>. Look: <explain>; ESO's own words: kubectl -n {{ $labels.namespace }} describe"
        " externalsecret {{ $labels.externalsecret }}",
        keep="5m",
    ),
)

_REFUSED_BY = "cluster, namespace, externalsecret, workload, step, reason"
_WINDOWS = "outside-window|sync-window"
"""These end by themselves."""
_STORM = "blast-radius"
"""One page for all workloads that it holds back, not a ticket for each."""
# last_over_time: the gap of a restart must not begin the hour anew.

HEAL = (
    Alert(
        "SecretDriftStorm",
        "critical",
        f'count by (cluster) (max by (cluster, namespace, workload) (secret_drift_refused{{reason="{_STORM}"}}))',
        "Too many workloads at once: {{ $value }} {{ if gt $value 1.0 }}are{{ else }}is{{ end }} held back",
        "More of them run, or are about to run, an old version for unrelated changes than limits.disruptivePercent"
        " allows: one cause that nobody knows of is likely, and nothing is recycled. Look: secret-drift-agent scan. If"
        " all of it is wanted: secret-drift-agent storm ack --for 2h",
        hold="2m",
        keep="5m",
    ),
    Alert(
        "SecretDriftHealRefused",
        "warning",
        f'max by ({_REFUSED_BY}) (last_over_time(secret_drift_refused{{reason!~"{_WINDOWS}|{_STORM}"}}[5m]))',
        "<refused> is refused: {{ $labels.reason }}",
        "It has been due for an hour, and the agent does not take it; the drift remains. What the reason means, and"
        " what ends it, is in the runbook. {{ if $labels.externalsecret }}Look: secret-drift-agent explain"
        " <object>{{ else }}Look: secret-drift-agent scan -n {{ $labels.namespace }}{{ end }}",
        hold="1h",
        keep="5m",
    ),
    Alert(
        "SecretDriftWindowTooFar",
        "warning",
        f'max by ({_REFUSED_BY}) (last_over_time(secret_drift_refused{{reason=~"{_WINDOWS}"}}[5m]))',
        "<refused> has waited for a window for more than a day",
        "Windows that open daily would have let it pass: look at the window's days and time zone, or recycle by hand."
        " Look: secret-drift-agent scan -n {{ $labels.namespace }}",
        hold="26h",
        keep="5m",
    ),
    Alert(
        "SecretDriftRolloutHalted",
        "critical",
        "max by (cluster, namespace, workload, reason, vault_secret, back_to) (secret_drift_halted)",
        "Recycling of <workload> is halted: {{ $labels.reason }}",
        '{{ if eq $labels.reason "canary-failed" }}The first pod with the new value of {{ $labels.vault_secret }}'
        " failed; the others still run the former one and are left alone."
        "{{ with $labels.back_to }} Version to go back to: {{ . }}.{{ end }} Set it again as a new version, or correct"
        ' the application; then it goes on by itself.{{ else if eq $labels.reason "canary-blocked" }}The new pod'
        " cannot be placed or its image cannot be pulled: not the secret's fault. Make room; it goes on by itself."
        "{{ else }}A node still serves the former immutable Secret: move every pod that uses it off that node."
        "{{ end }}<steps> Look: kubectl -n {{ $labels.namespace }} get events"
        " --field-selector involvedObject.name={{ $labels.workload }}",
        keep="5m",
    ),
    Alert(
        "SecretDriftSecretNotBack",
        "critical",
        f"max by (cluster, namespace, externalsecret, vault) ({_NOT_BACK})",
        "The Secret of <object> was deleted to be written anew, and is not back",
        "Pods that start now fail. No other Secret is recreated meanwhile. ESO read every value seconds before the"
        " delete: look at ESO first. Look: kubectl -n {{ $labels.namespace }} describe externalsecret"
        " {{ $labels.externalsecret }}; <explain>",
        keep="5m",
    ),
)

_LEADERS = f'secret_drift_last_cycle_timestamp_seconds{{job!="{JOB}"}} and secret_drift_leader == 1'
_SEEN = f'secret_drift_build_info{{job!="{JOB}"}}'
_NEVER = "secret_drift_once_exit_code == 1 unless secret_drift_once_last_success_timestamp_seconds"

AGENT = (
    Alert(
        "SecretDriftAgentGone",
        "critical",
        # Each place by itself: another cluster's agent, or what a CronJob has pushed once, says nothing of this one.
        "absent(last_over_time(secret_drift_build_info[1d]))\n"
        f"or max by (cluster, namespace) (last_over_time({_SEEN}[1d]))\n"
        f"unless on (cluster, namespace) max by (cluster, namespace) ({_SEEN})",
        "No secret-drift-agent is seen by Prometheus{{ with $labels.namespace }} in {{ . }}{{ end }}",
        "No process exports its metrics any more: drifts are neither found nor healed, and no other alert of it can"
        " fire. Look: kubectl -n {{ with $labels.namespace }}{{ . }}{{ else }}secret-drift-agent{{ end }} get"
        " pods,podmonitors,servicemonitors",
        hold="10m",
    ),
    Alert(
        "SecretDriftNobodyLeads",
        "critical",
        f'max by (cluster, namespace) (secret_drift_leader{{job!="{JOB}"}}) == 0',
        "No secret-drift-agent leads{{ with $labels.namespace }} in {{ . }}{{ end }}",
        "Every replica stands by: nothing is healed. Somebody else holds the Lease, or it cannot be written. Look:"
        " kubectl -n {{ $labels.namespace }} get lease secret-drift-agent -o yaml; the agent's log names the reason",
        hold="3m",
    ),
    Alert(
        "SecretDriftCyclesOld",
        "critical",
        f"time() - max by (cluster, namespace) ({_LEADERS})\n"
        "> on (cluster, namespace) 3 * max by (cluster, namespace) (secret_drift_interval_seconds) + 60",
        "secret-drift-agent has compared nothing for {{ $value | humanizeDuration }}",
        "Its leader is alive and its comparisons do not end: what it says of drifts is that old. Look: kubectl -n"
        " {{ $labels.namespace }} logs -l app.kubernetes.io/name=secret-drift-agent --tail=50",
        hold="2m",
    ),
    Alert(
        "SecretDriftCyclesSlow",
        "warning",
        "max by (cluster, namespace) (rate(secret_drift_cycle_duration_seconds_sum[15m])"
        " / (rate(secret_drift_cycle_duration_seconds_count[15m]) > 0))\n"
        "> on (cluster, namespace) max by (cluster, namespace) (secret_drift_interval_seconds)",
        "A comparison of secret-drift-agent takes {{ $value | humanizeDuration }}, longer than its interval",
        "It is noticed that much later that something drifts. Give it more CPU, raise the policy's interval, or split"
        " it by namespaces.",
        hold="15m",
    ),
    Alert(
        "SecretDriftPolicyInvalid",
        "warning",
        "min by (cluster, namespace) (secret_drift_policy_valid) == 0",
        "The policy file of secret-drift-agent is not valid",
        "The former policy stays in force until the process restarts; then it does not start. Every error, with line"
        " and column: secret-drift-agent policy check FILE",
        hold="2m",
    ),
    Alert(
        "SecretDriftPermissionMissing",
        "warning",
        "max by (cluster, subject, cause)"
        ' (secret_drift_trouble{cause=~"forbidden|unauthorized|access-denied|forbidden-by-firewall|credential"})',
        "secret-drift-agent may not reach {{ $labels.subject }} ({{ $labels.cause }})",
        "What it cannot read is unknown to it, and not healed. The missing right, and the command that grants it:"
        " secret-drift-agent doctor",
        hold="5m",
        keep="5m",
    ),
    Alert(
        "SecretDriftBlind",
        "warning",
        "max by (cluster, subject, cause) (secret_drift_trouble"
        '{subject!~"vault .+|force-sync of .+",'
        'cause!~"forbidden|unauthorized|access-denied|forbidden-by-firewall|credential|no-eso|not-looked-yet"})',
        "secret-drift-agent cannot work with {{ $labels.subject }} ({{ $labels.cause }})",
        "What depends on it is unknown, and not healed until it works again. Its log says what was answered; the rest:"
        " secret-drift-agent doctor",
        hold="10m",
        keep="5m",
    ),
    Alert(
        "SecretDriftVaultQuotaNear",
        "warning",
        "sum by (cluster, vault) (rate(secret_drift_vault_requests_total[10m]))\n"
        "/ max by (cluster, vault) (secret_drift_vault_requests_per_second_limit) > 0.9\n"
        'or sum by (cluster, vault) (rate(secret_drift_vault_requests_total{code="429"}[10m]))\n'
        "/ sum by (cluster, vault) (rate(secret_drift_vault_requests_total[10m])) > 0.01",
        "The request quota of vault {{ $labels.vault }} is nearly used up",
        "The agent asks as much as its policy allows (requestsPerSecond), or the vault answers 429. Raise the interval,"
        " or the limit if the vault has room: Azure allows 4,000 requests in 10 s for each vault, ESO's included.",
        hold="15m",
    ),
    Alert(
        "SecretDriftWritesUnbounded",
        "info",
        f'min by (cluster, namespace) (secret_drift_writes_bounded{{job!="{JOB}"}}) == 0',
        "An admission policy that bounds what secret-drift-agent may write is missing",
        "RBAC alone bounds that: it knows verbs and kinds, not annotations. `doctor` names the policy; it comes with"
        " the component that grants the right.",
        hold="1h",
    ),
    Alert(
        "SecretDriftOnceNotSucceeding",
        "critical",
        "time() - max by (cluster, agent_namespace, group) (secret_drift_once_last_success_timestamp_seconds) > 3600\n"
        f"or max by (cluster, agent_namespace, group) ({_NEVER})",
        "The CronJob of secret-drift-agent has {{ if gt $value 1.0 }}not succeeded for"
        " {{ $value | humanizeDuration }}{{ else }}never succeeded{{ end }}",
        "It does not start, fails, or cannot push its metrics: what it says of drifts is that old. Look: kubectl -n"
        " {{ $labels.agent_namespace }} get jobs; kubectl -n {{ $labels.agent_namespace }} logs -l"
        " app.kubernetes.io/name=secret-drift-agent --tail=50",
        hold="5m",
    ),
    Alert(
        "SecretDriftOnceSlow",
        "warning",
        "max by (cluster, agent_namespace, group) (secret_drift_once_duration_seconds)\n"
        "> 0.8 * max by (cluster, agent_namespace, group) (secret_drift_once_deadline_seconds)",
        "A run of secret-drift-agent takes {{ $value | humanizeDuration }}, near its deadline",
        "What is not done by then is left to the next run. Raise the deadline, with it the Job's activeDeadlineSeconds"
        " (the chart's value deadline sets both), and the schedule's gap; or run it as a Deployment, which follows by"
        " watches.",
        hold="30m",
    ),
)

_BURNS = ("5m", "30m", "1h", "6h", "3d")


def _ratio(window: str) -> str:
    late = f'sum by (cluster) (increase(secret_drift_rotations_total{{result="late"}}[{window}]))'
    return f"{late}\n/ (sum by (cluster) (increase(secret_drift_rotations_total[{window}])) > 0)"


def _late(window: str) -> str:
    return f"secret_drift:rotations_late:ratio_{window}"


RECORDS = tuple(Record(_late(window), _ratio(window)) for window in _BURNS)

_ENOUGH = 'sum by (cluster) (increase(secret_drift_rotations_total{result="late"}[1h])) > 4'
"""A single late rotation of the night is the page of its drift; the budget is for when it is the rule."""

SLO = (
    Alert(
        "SecretDriftObjectiveBurnsFast",
        "critical",
        f"(\n({_late('1h')} > {14.4 * PROMISE:g} and {_late('5m')} > {14.4 * PROMISE:g})\n"
        f"or ({_late('6h')} > {6 * PROMISE:g} and {_late('30m')} > {6 * PROMISE:g})\n)\n"
        f"and {_ENOUGH}",
        "{{ $value | humanizePercentage }} of rotations are late: the error budget burns fast",
        "99 % of rotations shall reach every container within the policy's propagationObjective. At this rate a month's"
        " budget is gone in days. One cause behind many is likely: secret-drift-agent scan",
        hold="2m",
        keep="5m",
    ),
    Alert(
        "SecretDriftObjectiveBurnsSlowly",
        "warning",
        f"{_late('3d')} > {PROMISE:g} and {_late('6h')} > {PROMISE:g}",
        "{{ $value | humanizePercentage }} of the rotations of three days were late",
        "99 % of rotations shall reach every container within the policy's propagationObjective. Which stage takes the"
        " time is in the dashboard, row 'How long do rotations take'.",
        hold="1h",
        keep="5m",
    ),
)

GROUPS: dict[str, tuple[Record | Alert, ...]] = {
    "secret-drift-drift": DRIFT,
    "secret-drift-sync": SYNC,
    "secret-drift-heal": HEAL,
    "secret-drift-agent": AGENT,
    "secret-drift-objective": (*RECORDS, *SLO),
}
"""Group -> its rules, in the order in which Prometheus evaluates them."""

ALERTS: tuple[Alert, ...] = tuple(rule for rules in GROUPS.values() for rule in rules if isinstance(rule, Alert))
