"""What an agent has told in its log, as the facts that scenarios compare: refusals, findings, stages, propagation."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from support.processes import AgentProcess


def refusals(process: AgentProcess) -> list[tuple[str, str]]:
    """(step, reason) of every refusal, in the order in which they began; repeats of one are left out."""
    return [(line["step"], line["reason"]) for line in process.lines(first=True) if "reason" in line]


def findings(process: AgentProcess) -> list[tuple[str, str]]:
    """(link, kind) of everything that was found, in order."""
    return [(line["link"], line["kind"]) for line in process.lines() if "kind" in line and "lasted" not in line]


def stages(process: AgentProcess, workload: str) -> list[tuple[str, int]]:
    """(stage, pods) of every stage that a workload passed, in order."""
    lines = process.lines(workload=workload)
    return [(line["stage"], line["pods"]) for line in lines if "stage" in line and "pods" in line]


def healed(process: AgentProcess, workload: str) -> list[int]:
    """For each heal of a workload that came to its end: how many pods were recycled."""
    return [line["pods"] for line in process.lines(workload=workload) if "pods" in line and "stage" not in line]


def propagated(process: AgentProcess, stage: str) -> list[str]:
    """The vault secrets (``vault/name``) whose new version came to a stage, in order."""
    return [line["source"] for line in process.lines(stage=stage) if "source" in line]


def sample(metrics: str, name: str, **labels: str) -> float | None:
    """The value of the one series of a scrape with these labels, and perhaps more; None if there is none."""
    samples = (found for family in text_string_to_metric_families(metrics) for found in family.samples)
    values = [float(s.value) for s in samples if s.name == name and labels.items() <= s.labels.items()]
    assert len(values) <= 1, f"{name}{labels} names {len(values)} series"
    return values[0] if values else None
