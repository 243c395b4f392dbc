"""The last row of the dashboards: is the agent itself well, as a Deployment and as a CronJob."""

from __future__ import annotations

from agent.pushgateway import JOB
from grafana import queries as ask
from grafana.panels import AMBER, BLUE, GREEN, GREY, RED, About, Ask, Builder, lines, number, states, words
from grafana.sections import Placed, Section

_QUESTION = "Is the agent itself well?"
_NOT_ONCE = f'{ask.CLUSTER},job!="{JOB}"'
_EXITS = {"0": ("all well", GREEN), "1": ("error", RED), "2": ("drift remains", AMBER)}


def _policy() -> Builder:
    return number(
        About(
            "Policy file",
            "Whether the policy file is the policy in force; a bad one leaves the former.",
            "none",
            ("SecretDriftPolicyInvalid",),
        ),
        Ask(f"min(secret_drift_policy_valid{{{ask.CLUSTER}}})"),
        (None, RED), (1, GREEN), mappings=[words({"0": ("not valid", RED), "1": ("valid", GREEN)})], none="unknown",
    )  # fmt: skip


def _mode() -> Builder:
    return number(
        About("Mode", "What the policy lets the agent do.", "none"),
        Ask(f"max by (mode) (secret_drift_policy_info{{{ask.CLUSTER}}})", "{{mode}}"),
        (None, BLUE), none="unknown", name=True,
    )  # fmt: skip


def _bounds() -> Builder:
    texts = {"1": ("admission", GREEN), "0": ("RBAC alone", AMBER), "-1": ("not known", GREY)}
    return number(
        About(
            "Writes are bounded by",
            "Whether admission policies bound each write of the agent, or its rights alone.",
            "none",
            ("SecretDriftWritesUnbounded",),
        ),
        Ask(f"min(secret_drift_writes_bounded{{{_NOT_ONCE}}})"),
        (None, GREY), mappings=[words(texts)], none="unknown",
    )  # fmt: skip


def _since_compared() -> Builder:
    return number(
        About(
            "Since the last comparison",
            "What the agent says of drifts is this old.",
            "s",
            ("SecretDriftCyclesOld",),
        ),
        Ask(f"time() - min({ask.COMPARED})"),
        (None, GREEN), (240, AMBER), (600, RED), none="never", decimals=0,
    )  # fmt: skip


def _links() -> Builder:
    links = f"max by ({ask.AGENT}, link, state) (secret_drift_links{{{ask.CLUSTER}}})"
    return lines(
        About(
            "Links of all chains, by state",
            "A link is one hop: vault to ExternalSecret, to Secret, to container. Unknown: it could not be judged.",
            "none",
            ("SecretDriftBlind",),
        ),
        [Ask(f"sum by (state) ({links}) > 0", "{{state}}")],
        stacked=True,
        colors={
            "fresh|assumed": GREEN, "stale": RED, "unknown": "purple", "suspect": AMBER, "awaiting-upstream": BLUE,
            "excluded|pinned": GREY,
        },
    )  # fmt: skip


def _requests() -> tuple[Builder, Builder, Builder]:
    api = lines(
        About(
            "Requests to the API server", "By answer; 0: no answer came.", "reqps", ("SecretDriftPermissionMissing",)
        ),
        [Ask(ask.rate("secret_drift_api_requests_total", "code"), "{{code}}")],
        stacked=True,
        colors={"2..": GREEN, "4..": AMBER, "5..|0": RED},
    )
    vaults = lines(
        About("Requests to vaults", "What the agent itself asks of each vault; it lists, and reads no value.", "reqps"),
        [Ask(ask.rate("secret_drift_vault_requests_total", "vault", ask.VAULT), "{{vault}}")],
    )
    throttled = lines(
        About(
            "Throttled",
            "Answers 429: the API server or a vault asks for fewer requests. Zero is good.",
            "reqps",
            ("SecretDriftVaultThrottles", "SecretDriftVaultQuotaNear"),
        ),
        [
            Ask(ask.throttled("secret_drift_vault_requests_total", "vault"), "vault {{vault}}"),
            Ask(ask.throttled("secret_drift_api_requests_total", "cluster"), "API server {{cluster}}"),
        ],
    )
    return api, vaults, throttled


def _quota() -> Builder:
    return lines(
        About(
            "Share of the vaults' request limits",
            "How much it asks of what the policy allows (requestsPerSecond). Above the dashed line it warns.",
            "percentunit",
            ("SecretDriftVaultQuotaNear",),
        ),
        [Ask(ask.quota(), "{{vault}}"), Ask("vector(0.9)", "warns at")],
        limit="warns at",
    )


def deployment() -> Section:
    """Leadership, comparisons, requests, throttling, memory."""
    leads = number(
        About("Leads", "The process that holds the Lease and acts.", "none", ("SecretDriftNobodyLeads",)),
        Ask(f"sum(max by ({ask.AGENT}) (secret_drift_leader{{{_NOT_ONCE}}}))"),
        (None, RED), (1, GREEN), mappings=[words({"0": ("nobody", RED), "1": ("one", GREEN)})], none="NO AGENT",
    )  # fmt: skip
    version = number(
        About("Version", "What is running.", "none", ("SecretDriftAgentGone",)),
        Ask(f"max by (version) (secret_drift_build_info{{{ask.CLUSTER}}})", "{{version}}"),
        (None, BLUE), none="NO AGENT", name=True,
    )  # fmt: skip
    seconds = "secret_drift_cycle_duration_seconds"
    mean = (
        f"sum(rate({seconds}_sum{{{ask.CLUSTER}}}[$__rate_interval]))"
        f" / sum(rate({seconds}_count{{{ask.CLUSTER}}}[$__rate_interval]))"
    )
    worst = f"histogram_quantile(0.99, sum by (le) (rate({seconds}_bucket{{{ask.CLUSTER}}}[$__rate_interval])))"
    cycles = lines(
        About(
            "Time of a comparison",
            "It should stay far below the interval, which is dashed.",
            "s",
            ("SecretDriftCyclesSlow", "SecretDriftCyclesOld"),
        ),
        [
            Ask(mean, "mean"),
            Ask(worst, "99 %"),
            Ask(f"max(secret_drift_interval_seconds{{{ask.CLUSTER}}})", "interval"),
        ],
        limit="interval",
        log=True,
    )
    memory = lines(
        About("Memory", "Resident memory of each process.", "bytes"),
        [Ask(ask.of_agent("process_resident_memory_bytes"), "{{pod}} {{instance}}")],
    )
    cpu = lines(
        About("CPU", "Cores that each process uses.", "short"),
        [Ask(
            "rate(process_cpu_seconds_total{" + ask.CLUSTER + "}[$__rate_interval])"
            f" and on (cluster, job, instance) secret_drift_build_info{{{ask.CLUSTER}}}",
            "{{pod}} {{instance}}",
        )],
    )  # fmt: skip
    leadership = states(
        About("Leadership", "Who held the Lease when. One at a time.", "none", ("SecretDriftNobodyLeads",)),
        [Ask(f"max by (cluster, pod, instance) (secret_drift_leader{{{_NOT_ONCE}}})", "{{pod}} {{instance}}")],
        {"1": ("leads", GREEN), "0": ("stands by", GREY)},
    )
    api, vaults, throttled = _requests()
    return Section(
        _QUESTION,
        (
            *(Placed(tile, 4 * place, 0, 4, 4) for place, tile in enumerate(
                (leads, _since_compared(), _policy(), _mode(), _bounds(), version)
            )),
            Placed(cycles, 0, 4, 8, 7), Placed(api, 8, 4, 8, 7), Placed(vaults, 16, 4, 8, 7),
            Placed(throttled, 0, 11, 8, 7), Placed(_links(), 8, 11, 8, 7), Placed(leadership, 16, 11, 8, 7),
            Placed(memory, 0, 18, 8, 6), Placed(cpu, 8, 18, 8, 6), Placed(_quota(), 16, 18, 8, 6),
        ),
    )  # fmt: skip


def cronjob() -> Section:
    """Its runs: when, how long, with which end."""

    def once(metric: str) -> str:
        return f"max by ({ask.RUN}) (secret_drift_once_{metric}{{{ask.CLUSTER}}})"

    missed, slow = ("SecretDriftOnceNotSucceeding",), ("SecretDriftOnceSlow",)
    name = "{{agent_namespace}} {{group}}"
    ended = number(
        About("Since the last run", "How long ago the last run ended, however it did.", "s", missed),
        Ask(f"time() - min({once('last_end_timestamp_seconds')})"),
        (None, GREEN), (1200, AMBER), (3600, RED), none="no run", decimals=0,
    )  # fmt: skip
    success = number(
        About("Since the last success", "After an hour it pages: what is known of drifts is that old.", "s", missed),
        Ask(f"time() - min({once('last_success_timestamp_seconds')})"),
        (None, GREEN), (1200, AMBER), (3600, RED), none="never", decimals=0,
    )  # fmt: skip
    code = number(
        About("How the last run ended", "2: drift remains for the next run. 1: it failed.", "none", missed),
        Ask(f"max({once('exit_code')})"),
        (None, GREY), mappings=[words(_EXITS)], none="no run",
    )  # fmt: skip
    took = number(
        About("Share of the deadline", "How much of its deadline the last run needed.", "percentunit", slow),
        Ask(f"max({once('duration_seconds')} / {once('deadline_seconds')})"),
        (None, GREEN), (0.5, AMBER), (0.8, RED), none="no run", decimals=1,
    )  # fmt: skip
    runs = lines(
        About("How long runs take", "Dashed: the deadline. What is not done by then waits for the next.", "s", slow),
        [Ask(once("duration_seconds"), name), Ask(f"min({once('deadline_seconds')})", "deadline")],
        limit="deadline",
        log=True,
    )  # fmt: skip
    ends = states(
        About("How runs ended", "Over time, by CronJob.", "none", missed), [Ask(once("exit_code"), name)], _EXITS
    )
    api, vaults, throttled = _requests()
    return Section(
        _QUESTION,
        (
            *(Placed(tile, 4 * place, 0, 4, 4) for place, tile in enumerate(
                (success, ended, code, took, _policy(), _mode())
            )),
            Placed(runs, 0, 4, 12, 7), Placed(ends, 12, 4, 12, 7),
            Placed(api, 0, 11, 8, 7), Placed(vaults, 8, 11, 8, 7), Placed(throttled, 16, 11, 8, 7),
        ),
    )  # fmt: skip
