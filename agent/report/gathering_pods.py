"""The lower part of an explanation: workloads, pods, containers, and the version each of them runs. Pure."""

from __future__ import annotations

from collections.abc import Callable

from agent.diagnose import running
from agent.diagnose.containers import counts, excluded, resolves_again
from agent.diagnose.view import ChainReport, ChainView
from agent.model import ContainerRun, ContainerSpec, Pod, SourceKey, State, Use, WorkloadKey
from agent.policy import Policy
from agent.report.gathering import version_told
from agent.report.told import ContainerTold, PodTold, RunsTold, StepTold, WorkloadTold

NOT_JUDGED = "not-judged"
_ORDER = ("stale", "unknown", "suspect", "assumed", "fresh", NOT_JUDGED)


def told_workloads(
    view: ChainView,
    report: ChainReport,
    policy: Policy,
    now: float,
    workload_of: Callable[[Pod], WorkloadKey],
    step_of: Callable[[WorkloadKey], StepTold],
) -> tuple[WorkloadTold, ...]:
    """Every workload with a container that consumes the Secret, by name."""
    teller = _Teller(view, report, policy, now)
    by_workload: dict[WorkloadKey, list[PodTold]] = {}
    for pod in sorted(view.pods, key=lambda pod: pod.key):
        if any(use.secret == view.es.target for spec in pod.containers for use in spec.uses):
            by_workload.setdefault(workload_of(pod), []).append(teller.pod(pod))
    return tuple(
        WorkloadTold(key=key, state=_worst(report, pods), pods=tuple(pods), next=step_of(key))
        for key, pods in sorted(by_workload.items())
    )


def _worst(report: ChainReport, pods: list[PodTold]) -> str:
    if report.containers in (State.AWAITING, State.EXCLUDED, State.PINNED):
        return report.containers.value
    states = {container.state for pod in pods for container in pod.containers if container.counts}
    return next((state for state in _ORDER if state in states), NOT_JUDGED)


class _Teller:
    """Tells pods and containers of one chain."""

    def __init__(self, view: ChainView, report: ChainReport, policy: Policy, now: float) -> None:
        self.view, self.report, self.policy, self.now = view, report, policy, now
        self.verdicts = {(verdict.pod_uid, verdict.container): verdict for verdict in report.verdicts}

    def pod(self, pod: Pod) -> PodTold:
        """One pod with those of its containers that use the Secret."""
        ready = self.view.nodes_ready
        down = f"node {pod.node} is not ready, or not known" if pod.node and pod.node not in ready else ""
        return PodTold(
            name=pod.key.name,
            node=pod.node,
            created=pod.created,
            ready=pod.ready,
            note=excluded(pod) or down or (f"cannot be placed: {pod.unschedulable}" if pod.unschedulable else ""),
            containers=tuple(
                self._container(pod, spec, run)
                for spec, run in zip(pod.containers, pod.runs, strict=True)
                if any(use.secret == self.view.es.target for use in spec.uses)
            ),
        )

    def _container(self, pod: Pod, spec: ContainerSpec, run: ContainerRun) -> ContainerTold:
        view, report = self.view, self.report
        verdict = self.verdicts.get((pod.uid, spec.name))
        uses = [use for use in spec.uses if use.secret == view.es.target]
        settled = report.upstream.secret is State.FRESH
        runs = running.versions(
            view, pod, spec, run, self.policy, self.now, assumed_from=report.assumed_from, settled=settled
        )
        return ContainerTold(
            name=spec.name,
            kind=spec.kind,
            uses=tuple(_use(use) for use in uses),
            started=run.started,
            restarts=run.restarts,
            state=verdict.state.value if verdict is not None else NOT_JUDGED,
            evidence=verdict.evidence if verdict is not None else self._why_not(pod, spec, run, uses),
            counts=verdict is not None and verdict.counts,
            runs=tuple(_runs(view, source, might) for source, might in runs.items()),
        )

    def _why_not(self, pod: Pod, spec: ContainerSpec, run: ContainerRun, uses: list[Use]) -> str:
        """Why there is no verdict on a container."""
        if why := excluded(pod):
            return why
        reason = f" ({run.reason})" if run.reason else ""
        if run.started is None:
            return f"has not started yet{reason}: it gets what the Secret holds when it does"
        if resolves_again(run, spec.kind, now=self.now, window=self.policy.timing.crash_loop_window):
            return f"starts anew by itself{reason}, and then gets what the Secret holds"
        memory = self.view.secret_memory
        if memory is not None and not any(counts(use, immutable=memory.immutable, volumes="") for use in uses):
            return "a plain volume: kubelet updates the files; whether the program reads them again is not known"
        return "nothing of the Secret is known to judge it by"


def _runs(view: ChainView, source: SourceKey, might: running.Might) -> RunsTold:
    known = view.sources.get(source)
    versions = tuple(version_told(known, created) for created in might.versions) if known is not None else ()
    return RunsTold(source=source, versions=versions, older=might.older)


def _use(use: Use) -> str:
    keys = "all keys" if use.keys is None else ", ".join(use.keys)
    via = "projected volume" if use.via == "projected" else use.via
    return f"{keys} by {via}{' (optional)' if use.optional else ''}"
