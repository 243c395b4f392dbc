"""What a look answers beside its findings: what is refused, what would be done, and all of it on one page."""

from __future__ import annotations

from collections.abc import Sequence

from agent.cluster.decode import BadAnswer
from agent.cluster.errors import ApiProblem, Unreachable
from agent.cluster.reader import budgets
from agent.complaints import of_troubles
from agent.diagnose.sources import learn_versions
from agent.engine.vaults import MOST_VERSION_LISTS
from agent.loop import Agent
from agent.model import Budget, Finding, ObjectKey, Refusal
from agent.plan.decisions import Refuse
from agent.report.scan import Subject, subject_of


def read_budgets(agent: Agent, namespace: str, notes: list[str]) -> list[Budget]:
    """The PodDisruptionBudgets of a namespace; without the right to read them, a note that says so."""
    try:
        return budgets(agent.conn, namespace)
    except (ApiProblem, Unreachable, BadAnswer) as error:
        notes.append(f"PodDisruptionBudgets could not be read ({error}): whether one forbids an eviction is not told")
        return []


def name_versions(agent: Agent, chain: ObjectKey) -> None:
    """Ask for the ids of the newest versions that a chain reads: a list of a vault's secrets does not tell them."""
    view, memory, vaults = agent.engine.chains.view(chain), agent.context.memory.sources, agent.context.world.vaults
    unnamed = [
        (source, known)
        for source, known in (view.sources.items() if view is not None else ())
        if known.state.present and not any(v.id for v in known.versions if v.created == known.state.created)
        if source.vault in vaults and vaults[source.vault].trouble is None
    ]
    for source, known in unnamed[:MOST_VERSION_LISTS]:
        if (found := agent.sweepers.of(source.vault).versions(source.name)) is not None:
            memory[source] = learn_versions(known, found)


def planned_refusals(agent: Agent) -> list[Refusal]:
    """What would be refused now; every gate of the real run is asked."""
    found: list[Refusal] = []
    for chain in agent.engine.chains.reports:
        decision = agent.engine.ladder.decision(chain)
        if isinstance(decision, Refuse):
            found.append(decision.refusal)
    for workload in agent.engine.workloads.stale_containers():
        pair = agent.engine.workloads.decision(workload)
        if pair is not None and isinstance(pair[1], Refuse):
            found.append(pair[1].refusal)
    return found


def next_steps(agent: Agent, findings: Sequence[Finding]) -> dict[Subject, str]:
    """What is, or would be, done about each finding, in a line."""
    from agent.report.explain_steps import in_short, sync_step, workload_step

    engine = agent.engine
    said: dict[Subject, str] = {}
    for finding in findings:
        view, report = engine.chains.view(finding.chain), engine.chains.reports.get(finding.chain)
        about = subject_of(finding)
        if view is None or report is None or about is None or about in said:
            continue
        if finding.workload is not None:
            said[about] = in_short(workload_step(engine.workloads.decision(finding.workload), report))
        else:
            said[about] = in_short(sync_step(view, report, engine.ladder.decision(finding.chain), ()))
    return said


def in_markdown(agent: Agent, findings: Sequence[Finding], refusals: Sequence[Refusal]) -> str:
    """All that the table, stderr and the exit code tell, on one page."""
    from agent.report.markdown import scan_markdown

    not_read = [
        *of_troubles(agent.engine.troubles),
        *(("an object that cannot be used", line, "correct it") for line in agent.engine.malformed_now()),
    ]
    return scan_markdown(
        findings,
        refusals,
        agent.context.now,
        next_steps=next_steps(agent, findings),
        halts=agent.engine.workloads.halted(),
        not_read=not_read,
        notes=agent.reservations(),
    )
