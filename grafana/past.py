"""The rows of the dashboards that look back: what the agent did, and how long rotations take."""

from __future__ import annotations

from grafana import queries as ask
from grafana.panels import AMBER, BLUE, GREEN, RED, About, Ask, Builder, bars, heat, lines, number
from grafana.sections import Placed, Section
from k8s.monitoring.alerts import PROMISE


def _done(
    title: str, description: str, expr: str, *steps: tuple[float | None, str], alerts: tuple[str, ...] = ()
) -> Builder:
    return number(About(title, description, "none", alerts), Ask(expr), *(steps or ((None, BLUE),)), decimals=0)


def done_today() -> Section:
    """What was done and refused in 24 hours."""

    def acted(step: str, result: str = "done") -> str:
        return ask.counted("secret_drift_actions_total", "", ask.DAY, f'step="{step}",result="{result}"')

    failed = ask.counted("secret_drift_actions_total", "", ask.DAY, 'result="failed"')
    silent = ask.counted("secret_drift_syncs_total", "", ask.DAY, 'result="timed-out"')
    everywhere = ask.counted("secret_drift_rotations_total", "", ask.DAY)
    tiles = (
        _done("Rotations, 24 h", "New versions that came to every container, in time or late.", everywhere),
        _done("Force-syncs, 24 h", "ESO was asked to fetch what had changed in the vault.", acted("force-sync")),
        _done("Secrets recreated, 24 h", "Immutable Secrets, deleted for ESO to write anew.", acted("recreate")),
        _done("Pods recycled, 24 h", "Pods evicted, or Deployments restarted, for a new value.", acted("recycle")),
        _done("Steps that failed, 24 h", "Steps that were tried in vain.", failed, (None, GREEN), (1, AMBER)),
        _done(
            "Syncs not acknowledged, 24 h", "Force-syncs that ESO did not answer in time.", silent,
            (None, GREEN), (1, AMBER), alerts=("SecretDriftEsoDown",),
        ),
    )  # fmt: skip
    acts = ask.counted("secret_drift_actions_total", "step, result", "$__rate_interval")
    curve = lines(
        About("What the agent did", "Steps by their result, dry runs included.", "none"),
        [Ask(f"{acts} > 0", "{{step}}: {{result}}")],
        bars=True,
        stacked=True,
        none="Nothing was to be done in this time",
        colors={".*: failed": RED, "force-sync: done": BLUE, "recycle: done": GREEN, "recreate: done": AMBER},
    )
    why = bars(
        About(
            "Refusals by reason, 24 h",
            "What was due and not done; each is told anew hourly while it lasts.",
            "none",
            ("SecretDriftHealRefused",),
        ),
        Ask(
            f"sort_desc({ask.counted('secret_drift_refusals_total', 'step, reason', ask.DAY)} > 0)",
            "{{step}}: {{reason}}",
        ),
        none="Nothing was refused",
    )
    return Section(
        "What did the agent do today?",
        (
            *(Placed(tile, 4 * place, 0, 4, 4) for place, tile in enumerate(tiles)),
            Placed(curve, 0, 4, 14, 7), Placed(why, 14, 4, 10, 7),
        ),
    )  # fmt: skip


def how_long() -> Section:
    """Heat map, percentiles, service level and error budget."""
    burns = ("SecretDriftObjectiveBurnsFast", "SecretDriftObjectiveBurnsSlowly")
    spread = heat(
        About("From vault to the last container", "How long new versions took to be everywhere.", "s"),
        Ask(ask.counted("secret_drift_propagation_seconds_bucket", "le", "$__rate_interval", 'stage="total"')),
    )
    shares = lines(
        About(
            "How long, by stage",
            "Half and 95 % of the versions took no longer. Dashed: the objective.",
            "s",
            burns,
        ),
        [
            Ask(ask.took(0.5, "vault_to_secret", "1h"), "in the Secret, half"),
            Ask(ask.took(0.95, "vault_to_secret", "1h"), "in the Secret, 95 %"),
            Ask(ask.took(0.5, "total", "1h"), "everywhere, half"),
            Ask(ask.took(0.95, "total", "1h"), "everywhere, 95 %"),
            Ask(f"max(secret_drift_objective_seconds{{{ask.CLUSTER}}})", "objective"),
        ],
        limit="objective",
        log=True,
        none="No rotation in this time",
    )
    level = number(
        About("In time, 30 d", "Rotations that were everywhere within the objective.", "percentunit", burns),
        Ask(ask.service_level(ask.MONTH)),
        (None, RED), (1 - PROMISE, GREEN), none="no rotation", decimals=2,
    )  # fmt: skip
    left = number(
        About("Error budget left, 30 d", "1 % of rotations may be late.", "percentunit", burns),
        Ask(ask.budget_left(ask.MONTH)),
        (None, RED), (0.01, AMBER), (0.25, GREEN), none="no rotation", decimals=0,
    )  # fmt: skip
    late = number(
        About("Late rotations, 30 d", "Rotations that were not everywhere within the objective.", "none", burns),
        Ask(ask.counted("secret_drift_rotations_total", "", ask.MONTH, 'result="late"')),
        (None, GREEN), (1, AMBER), decimals=0,
    )  # fmt: skip
    burn = lines(
        About(
            "How fast the error budget burns",
            "1 uses it up in a month. Above 14.4 for an hour, or 6 for six hours, it pages.",
            "none",
            burns,
        ),
        [
            Ask(f"({ask.late_share('1h')}) / {PROMISE:g}", "1 h"),
            Ask(f"({ask.late_share('6h')}) / {PROMISE:g}", "6 h"),
            Ask("vector(14.4)", "pages at"),
        ],
        limit="pages at",
        none="No rotation in this time",
    )
    return Section(
        "How long do rotations take?",
        (
            Placed(spread, 0, 0, 12, 8), Placed(shares, 12, 0, 12, 8),
            Placed(level, 0, 8, 4, 6), Placed(left, 4, 8, 4, 6), Placed(late, 8, 8, 4, 6), Placed(burn, 12, 8, 12, 6),
        ),
    )  # fmt: skip
