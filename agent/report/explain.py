"""``explain``: one chain, whole. What the vault has, what ESO did, what the Secret holds, what each container runs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from agent.diagnose.chain import diagnose
from agent.model import Budget, Link, ObjectKey
from agent.report.explain_json import as_json
from agent.report.explain_steps import sync_step, workload_step
from agent.report.explain_tree import tree
from agent.report.gathering import told_es, told_secret, told_sources
from agent.report.gathering_pods import told_workloads
from agent.report.told import Told

if TYPE_CHECKING:  # told by an engine that is there already
    from agent.engine.engine import Engine

FIRST_LOOK = "the ledger knows nothing of this Secret yet: this is the first look, and what it held before is not known"

__all__ = ["Told", "as_json", "gather", "tree"]


def gather(
    engine: Engine,
    key: ObjectKey,
    *,
    notes: Sequence[str] = (),
    budgets: Sequence[Budget] = (),
    remembered: Collection[ObjectKey] | None = None,
) -> Told | None:
    """Everything there is to say of a chain; None if there is no such ExternalSecret.

    ``notes``: what the answers do not rest on. ``budgets``: PodDisruptionBudgets of the namespace; the API server has
    the last word on them, but whether one forbids an eviction now can be foretold. ``remembered``: Secrets whose
    history is older than this process (None: all).
    """
    context, world = engine.context, engine.context.world
    view, report = engine.chains.view(key), engine.chains.reports.get(key)
    if view is None or report is None:
        return None
    now, policy = context.now, context.policy
    said = list(notes)
    if remembered is not None and ObjectKey(key.namespace, view.es.target) not in remembered and not notes:
        said.append(FIRST_LOOK)
    full = diagnose(view, policy, now, full=True)
    namespace = world.namespaces.get(key.namespace)
    workloads = told_workloads(
        view, full, policy, now, world.workload_of, lambda w: workload_step(engine.workloads.decision(w), full, budgets)
    )
    return Told(
        chain=key,
        at=now,
        mode=policy.mode,
        notes=tuple(said),
        links=tuple((link, full.state(link)) for link in Link),
        sources=told_sources(view, policy, world.vaults, context.looked),
        es=told_es(view, full, namespace.mode if namespace else ""),
        secret=told_secret(view, full, policy),
        workloads=workloads,
        next=sync_step(view, report, engine.ladder.decision(key), engine.ladder.refusals(key)),
        findings=tuple(engine.chains.findings.get(key, {}).values()),
    )
