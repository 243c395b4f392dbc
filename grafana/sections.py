"""The rows of the dashboards, in the order of a person's questions: what is wrong, where and why, what was done."""

from __future__ import annotations

from typing import NamedTuple

from agent.report.kinds import KIND_WORDS
from grafana import queries as ask
from grafana.panels import (
    AMBER,
    BLUE,
    GREEN,
    GREY,
    RED,
    RUNBOOK,
    About,
    Ask,
    Builder,
    Column,
    between,
    lines,
    number,
    rows,
    words,
)

DRIFT_ALERTS = tuple(dict.fromkeys(ask.RUNBOOKS.values()))
KINDS = {kind.value: text for kind, text in KIND_WORDS.items()}
SEEN = ((None, GREEN), (1, RED))
"""None is green, one is red."""


class Placed(NamedTuple):
    """A panel and where it is: columns of 24, from the left, and lines, from the top of its row."""

    panel: Builder
    x: int
    y: int
    w: int
    h: int


class Section(NamedTuple):
    """One row of a dashboard: the question that it answers, and its panels."""

    question: str
    panels: tuple[Placed, ...]


def wrong_now(count: str, blind: str, *, of_team: bool = False) -> Section:
    """``count``: the query of the one number; ``blind``: what it says where nobody would know."""
    mappings = (
        words({str(ask.NO_AGENT): ("NO AGENT", RED), "0": ("nothing", GREEN)}),
        between(ask.NO_AGENT + 1, -1, blind, RED),
    )
    beyond = "" if of_team else " and what the agent cannot read or write"
    one = number(
        About(
            "Is anything wrong now?",
            f"Drifts that there are now{beyond}. A zero is only told while the agent sees the world.",
            "none",
            ("SecretDriftAgentGone",) if of_team else ("SecretDriftAgentGone", "SecretDriftNobodyLeads"),
        ),
        Ask(count),
        (None, RED), (0, GREEN), (1, RED), mappings=mappings, none="NO AGENT", big=True,
    )  # fmt: skip
    oldest = number(
        About("Oldest drift", "How long the oldest of the present drifts has lasted.", "dtdurations"),
        Ask(ask.oldest()), (None, GREY), (300, AMBER), (1800, RED), none="none", decimals=0,
    )  # fmt: skip
    containers = number(
        About(
            "Containers on an old value",
            "Running containers that hold an old version of a secret.",
            "none",
            ("SecretDriftStaleContainers",),
        ),
        Ask(f"sum({ask.stale()})"), *SEEN,
    )  # fmt: skip
    refused = number(
        About(
            "Steps refused now",
            "Steps that are due and not taken; the next row says why.",
            "none",
            ("SecretDriftHealRefused",),
        ),
        Ask(f"count({ask.refused()})"), (None, GREEN), (1, AMBER),
    )  # fmt: skip
    halted = number(
        About(
            "Rollouts halted now",
            "Workloads whose new pods fail with the new value; the other pods are left alone.",
            "none",
            ("SecretDriftRolloutHalted",),
        ),
        Ask(f"count({ask.halted()})"), *SEEN,
    )  # fmt: skip
    curve = lines(
        About("Drifts by kind", "How many drifts there were of each kind.", "none", ("SecretDriftTooMany",)),
        [Ask(f"sum by (kind) ({ask.drifts()})", "{{kind}}")],
        stacked=True,
        none="No drift in this time: that is good",
    )
    return Section(
        "Is anything wrong now?",
        (
            Placed(one, 0, 0, 6, 8),
            Placed(oldest, 6, 0, 4, 4), Placed(containers, 10, 0, 4, 4),
            Placed(halted, 6, 4, 4, 4), Placed(refused, 10, 4, 4, 4),
            Placed(curve, 14, 0, 10, 8),
        ),
    )  # fmt: skip


CLUSTER = Column("cluster", "Cluster", 75)
NAMESPACE = Column("namespace", "Namespace", 100)
EXTERNALSECRET = Column("externalsecret", "ExternalSecret", 125)
WORKLOAD = Column("workload", "Workload", 115)


def where_and_why(*, of_team: bool = False) -> Section:
    """The drifts one by one, what is refused or halted, what was tried, and what the agent cannot see."""
    table = rows(
        About(
            "What drifts, where, since when",
            "A line for each drift, the oldest first. Copy the command for its whole chain and what would be done.",
            "none",
            DRIFT_ALERTS,
        ),
        Ask(f"sort_desc({ask.ages()})"),
        [
            Column("Value", "Age", 75, "dtdurations", color=AMBER),
            CLUSTER, NAMESPACE, EXTERNALSECRET, WORKLOAD,
            Column("kind", "What", 225, words=KINDS),
            Column("cause", "Cause", 105),
            Column("vault_secret", "Vault secret", 165), Column("vault", "Vault", 95),
            Column("runbook", "Runbook", 195, link=RUNBOOK % "${__value.raw}"),
            Column("explain", "Explain: copy and run"),
        ],
        none="Nothing drifts: that is good",
    )  # fmt: skip
    refused = rows(
        About(
            "Why not healed yet: refused",
            "Steps that are due and not taken. What each reason means, and what ends it, is in the runbook.",
            "none",
            ("SecretDriftHealRefused", "SecretDriftWindowTooFar"),
        ),
        Ask(ask.explained(ask.refused())),
        [
            CLUSTER, NAMESPACE, EXTERNALSECRET, WORKLOAD,
            Column("step", "Step", 100), Column("reason", "Refused because", 180, color=AMBER),
            Column("explain", "Explain: copy and run"),
        ],
        none="Nothing is refused: that is good",
    )  # fmt: skip
    halted = rows(
        About(
            "Why not healed yet: halted",
            "The first pod with the new value failed, or cannot be placed. Set the former version again as a new one,"
            " or correct the application; then it goes on by itself.",
            "none",
            ("SecretDriftRolloutHalted",),
        ),
        Ask(ask.halted()),
        [
            CLUSTER, NAMESPACE, WORKLOAD, Column("reason", "Halted because", 180, color=RED),
            Column("vault_secret", "What changed", 300), Column("back_to", "Version to go back to"),
        ],
        none="No rollout is halted: that is good",
    )  # fmt: skip
    if of_team:
        return Section(
            "What, where, since when, and why is it not healed yet?",
            (Placed(table, 0, 0, 24, 7), Placed(refused, 0, 7, 24, 5), Placed(halted, 0, 12, 24, 5)),
        )
    taken = rows(
        About("Tried so far", "Steps taken on what drifts now, since the leader started.", "none"),
        Ask(ask.steps()),
        [
            CLUSTER, NAMESPACE, EXTERNALSECRET, WORKLOAD, Column("step", "Step", 120),
            Column("Value", "Times", color=BLUE),
        ],
        none="No step was taken on what drifts now",
    )  # fmt: skip
    blind = rows(
        About(
            "What the agent cannot read or write",
            "What depends on it is unknown, and not healed. secret-drift-agent doctor names what is missing.",
            "none",
            ("SecretDriftPermissionMissing", "SecretDriftBlind", "SecretDriftVaultDown", "SecretDriftEsoDown"),
        ),
        Ask(ask.troubles()),
        [CLUSTER, Column("subject", "Subject", 320), Column("cause", "Cause", color=RED)],
        none="Everything can be read and written: that is good",
    )
    return Section(
        "What, where, since when, and why is it not healed yet?",
        (
            Placed(table, 0, 0, 24, 7), Placed(refused, 0, 7, 24, 5), Placed(halted, 0, 12, 24, 5),
            Placed(taken, 0, 17, 12, 5), Placed(blind, 12, 17, 12, 5),
        ),
    )  # fmt: skip


def which_workloads(*, of_team: bool = False) -> Section:
    """Who still runs an old version of the chosen vault secret."""
    alerts = ("SecretDriftStaleContainers",)
    command = f'label_replace({ask.stale_sources()}, "command", "secret-drift-agent scan -n $1", "namespace", "(.+)")'
    table = rows(
        About(
            "Who runs an old version of: $secret",
            "Containers on an old value, by workload and by the vault secret that is old in it.",
            "none",
            alerts,
        ),
        Ask(f"sort_desc({command})"),
        [
            CLUSTER, NAMESPACE, WORKLOAD,
            Column("vault_secret", "Vault secret", 150), Column("vault", "Vault", 95),
            Column("Value", "Containers", 85, color=AMBER), Column("command", "Look: copy and run"),
        ],
        none="Every workload runs the present version: that is good",
    )  # fmt: skip
    curve = lines(
        About("Containers on an old value, by workload", "How many there were, and how long.", "none", alerts),
        [Ask(ask.stale(), "{{namespace}}/{{workload}}")],
        stacked=True,
        none="No container ran an old value in this time: that is good",
    )  # fmt: skip
    title = "Which workloads still run an old version?" if of_team else (
        "Which workloads still run an old version of the secret that I choose?"
    )  # fmt: skip
    return Section(title, (Placed(table, 0, 0, 14, 7), Placed(curve, 14, 0, 10, 7)))
