"""The three dashboards: of the Deployment, of the CronJob, and of one team's namespace."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard as made
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.models import dashboard

from grafana import agents, past, sections
from grafana import queries as ask
from grafana.panels import BLUE, RED, SOURCE
from grafana.sections import Section

TAG = "secret-drift-agent"


def _choice(name: str, label: str, query: str, description: str) -> made.QueryVariable:
    """Several, or all: ``.*``, which also fits where the label is absent, as in a single cluster."""
    return (
        made.QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(SOURCE)
        .query({"query": query, "refId": f"variable-{name}", "qryType": 5})
        .definition(query)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(dashboard.VariableOption(selected=True, text=["All"], value=["$__all"]))
        .refresh(dashboard.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dashboard.VariableSort.ALPHABETICAL_ASC)
    )


def _typed(name: str, label: str, value: str, description: str) -> made.TextBoxVariable:
    chosen = dashboard.VariableOption(selected=True, text=value, value=value)
    return made.TextBoxVariable(name).label(label).description(description).default_value(value).current(chosen)


SOURCES = made.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
CLUSTERS = _choice(
    "cluster", "Cluster", "label_values(secret_drift_build_info, cluster)",
    "By the label cluster; all where it is absent."
)  # fmt: skip
NAMESPACES = _choice(
    "namespace", "Namespace", f"label_values(secret_drift_drift{{{ask.CLUSTER}}}, namespace)",
    "Namespaces in which something drifted in this time.",
)  # fmt: skip
VAULTS = _choice(
    "vault", "Vault", f"label_values(secret_drift_vault_requests_total{{{ask.CLUSTER}}}, vault)",
    "Vaults that are looked at."
)  # fmt: skip
SECRETS = _choice(
    "secret", "Vault secret", f"label_values(secret_drift_stale_source{{{ask.PLACE}}}, vault_secret)",
    "Vault secrets of which an old version ran somewhere in this time.",
)  # fmt: skip
TEAM = _typed("namespace", "Namespace", ".*", "Yours, or a pattern such as payments-.*; bookmark the page with it.")


def _annotation(name: str, color: str, expr: str, title: str, text: str) -> made.AnnotationQuery:
    return (
        made.AnnotationQuery()
        .name(name)
        .datasource(SOURCE)
        .enable(True)
        .icon_color(color)
        .target(Dataquery().datasource(SOURCE).expr(expr).interval("1m").ref_id("Anno").range())
        .title_format(title)
        .text_format(text)
    )


_HEALED = ask.counted("secret_drift_actions_total", "cluster, step", "1m", 'result="done"')
HEALS = _annotation("Heals", BLUE, f"{_HEALED} > 0", "{{step}}", "done {{cluster}}")
HALTS = _annotation(
    "Halts", RED, ask.halted(), "{{namespace}}/{{workload}} halted: {{reason}}", "{{vault_secret}}, back to {{back_to}}"
)


def _dashboard(
    uid: str,
    runbooks: str,
    title: str,
    description: str,
    chosen: Sequence[made.QueryVariable | made.TextBoxVariable],
    noted: Sequence[made.AnnotationQuery],
    answered: Sequence[Section],
) -> dashboard.Dashboard:
    built = (
        made.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG])
        .time("now-6h", "now")
        .refresh("1m")
        .timezone("browser")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .readonly()
        .with_variable(SOURCES)
        .link(
            made.DashboardLink("Secret drift")
            .type(dashboard.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .include_vars(True)
            .keep_time(True)
        )
    )
    built.link(
        made.DashboardLink("Runbooks").type(dashboard.DashboardLinkType.LINK).url("${runbooks:raw}").target_blank(True)
    )
    books = _typed("runbooks", "Runbooks", runbooks, "Where the folder k8s/monitoring/runbooks is to be read.")
    for variable in (*chosen, books):
        built.with_variable(variable)
    for annotation in noted:
        built.annotation(annotation)
    top = 0
    for number, section in enumerate(answered, 1):
        row = made.Row(section.question).id(number).grid_pos(dashboard.GridPos(h=1, w=24, x=0, y=top))
        built.with_row(row)
        top += 1
        for panel, x, y, w, h in section.panels:
            built.with_panel(panel.grid_pos(dashboard.GridPos(h=h, w=w, x=x, y=top + y)))
        top += max(placed.y + placed.h for placed in section.panels)
    return built.build()


def deployment(runbooks: str) -> dashboard.Dashboard:
    """Of an agent that runs all the time."""
    return _dashboard(
        "secret-drift",
        runbooks,
        "Secret drift",
        "Which secrets were rotated in Azure Key Vault and still run with an old value, and what is done about it.",
        (CLUSTERS, NAMESPACES, VAULTS, SECRETS),
        (HEALS, HALTS),
        (
            sections.wrong_now(ask.wrong(sees=ask.SOMEBODY_LEADS, blind=ask.NOBODY_LEADS), "NOBODY LEADS"),
            sections.where_and_why(),
            past.done_today(),
            past.how_long(),
            sections.which_workloads(),
            agents.deployment(),
        ),
    )


def cronjob(runbooks: str) -> dashboard.Dashboard:
    """Of an agent that runs now and then, and pushes what it saw."""
    return _dashboard(
        "secret-drift-cronjob",
        runbooks,
        "Secret drift (CronJob)",
        "As of the last run: which secrets were rotated in Azure Key Vault and still run with an old value.",
        (CLUSTERS, NAMESPACES, VAULTS, SECRETS),
        (HEALS, HALTS),
        (
            sections.wrong_now(ask.wrong(sees=ask.A_RUN_SUCCEEDED, blind=ask.A_RUN_IS_MISSED), "NO RUN SUCCEEDS"),
            sections.where_and_why(),
            past.done_today(),
            past.how_long(),
            sections.which_workloads(),
            agents.cronjob(),
        ),
    )


def team(runbooks: str) -> dashboard.Dashboard:
    """Of one team's namespace, whichever shape the agent has."""
    return _dashboard(
        "secret-drift-team",
        runbooks,
        "Secret drift of a team",
        "One namespace: what of it runs with an old value of a secret, why it is not healed yet, and what to do.",
        (CLUSTERS, TEAM, VAULTS, SECRETS),
        (HALTS,),
        (
            sections.wrong_now(ask.wrong(sees=ask.SOMEBODY_LOOKED, ours=False), "", of_team=True),
            sections.where_and_why(of_team=True),
            sections.which_workloads(of_team=True),
        ),
    )


DASHBOARDS = {
    "secret-drift": deployment,
    "secret-drift-cronjob": cronjob,
    "secret-drift-team": team,
}
"""File, without its ending -> what makes it, given where the runbooks are."""
