"""An explanation as a tree that reads from the vault down to the containers, and then says what would be done. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

from agent.diagnose.remedies import ENDS_TRYING
from agent.model import Finding, Link, State
from agent.report.branches import Branch, drawn
from agent.report.explain_steps import in_short
from agent.report.kinds import KIND_WORDS, LINK_WORDS
from agent.report.told import (
    ContainerTold,
    EsTold,
    KeyTold,
    PodTold,
    RunsTold,
    SecretTold,
    SourceTold,
    StepTold,
    Told,
    VersionTold,
    WorkloadTold,
)
from agent.report.words import counted, refusal_said
from agent.times import ago, stamp

_MOST_VERSIONS = 3
_MOST_PODS = 20
_TRIES_AGAIN = "ESO tries again by itself, within 7 min at most"
"""Its work queue's longest pause after a failure."""
_TERMINAL = "ESO does not try again before the ExternalSecret or its Secret changes"
_WORST_FIRST = ("stale", "unknown", "suspect", "not-judged", "assumed", "fresh")


def tree(told: Told, width: int = 100) -> str:
    """The whole of it as text of at most ``width`` columns, as far as names allow. Ends with a line end."""
    as_of = f"as of {stamp(told.at)} (the API server's clock); policy mode: {told.mode}"
    workloads = [_workload(workload, told.at) for workload in told.workloads] or [_no_workload(told)]
    children = [_verdict(told), _sources(told), _es(told), _secret(told), *workloads, _now(told)]
    notes = (f"note: {note}" for note in told.notes)
    return drawn(Branch((f"ExternalSecret {told.chain}",), (as_of, *notes), tuple(children)), width)


# ------------------------------------------------------------------------------------------------- from the top down


def _verdict(told: Told) -> Branch:
    return Branch(("Verdict",), (), tuple(_links(told)))


def _links(told: Told) -> Iterable[Branch]:
    """The verdict on each link, with its findings: the whole in three lines."""
    for link, state in told.links:
        found = [finding for finding in told.findings if finding.link is link]
        drifts = [finding for finding in found if finding.is_drift]
        about = "; ".join(dict.fromkeys(KIND_WORDS[finding.kind] for finding in (drifts or found)))
        if link is Link.CONTAINER:
            about = "; ".join(part for part in (about, _containers_said(told)) if part)
        yield Branch((LINK_WORDS[link], state.value, about), (), tuple(_finding(finding, told.at) for finding in found))


def _containers_said(told: Told) -> str:
    states: dict[str, int] = {}
    for workload in told.workloads:
        for pod in workload.pods:
            for container in pod.containers:
                states[container.state] = states.get(container.state, 0) + 1
    return ", ".join(f"{counted(number, 'container')} {state}" for state, number in sorted(states.items()))


def _finding(finding: Finding, at: float) -> Branch:
    kind = finding.kind.value + (f" ({finding.cause})" if finding.cause else "")
    whose = f" of {finding.workload.kind} {finding.workload.name}" if finding.workload is not None else ""
    since = finding.since > 0 and math.isfinite(finding.since) and finding.since < at
    prose = [finding.evidence] if finding.evidence else []
    prose += [f"what to do: {finding.remedy}"] if finding.remedy else []
    return Branch((kind + whose + (f", since {_moment(finding.since, at)}" if since else ""),), tuple(prose))


def _sources(told: Told) -> Branch:
    sources = tuple(_source(source, told.at) for source in told.sources)
    return Branch(("Vault secrets" if sources else "Vault secrets: none that can be named",), (), sources)


def _source(source: SourceTold, at: float) -> Branch:
    name = f"{source.vault.split('.', 1)[0] or source.store}/{source.name}"
    prose = [f"could not be looked at: {source.trouble}"] if source.trouble else []
    if source.trouble and source.known and source.looked_at:
        prose.append(f"what follows is as of {stamp(source.looked_at)}")
    if source.nearest:
        prose.append(f"the vault has {' and '.join(source.nearest)}")
    if source.newest is not None:
        prose.append(f"newest {_version(source.newest, at)}; {_lifecycle(source, at)}")
    if source.former:
        some = [_version(version, at) for version in source.former[:_MOST_VERSIONS]]
        more = len(source.former) - len(some)
        prose.append(f"before it: {'; '.join(some)}" + (f"; and {more} older" if more else ""))
    if source.pinned:
        prose.append(f"the spec names the fixed version {source.pinned}: a newer one is never fetched")
    if source.ignored:
        prose.append("tag secret-drift-agent=ignore: its owner wants nothing done")
    feeds = "any key" if source.keys is None else ", ".join(source.keys)
    prose.append(f"feeds {feeds or 'no key'}")
    return Branch((name, _source_state(source)), tuple(prose))


def _source_state(source: SourceTold) -> str:
    if not source.known:
        return "not known"
    if not source.present:
        return "not in the vault (never created, misspelt, or soft-deleted)"
    if source.pinned or source.fetched is None:
        return "pinned"
    return "fetched by ESO" if source.fetched else "NOT fetched by ESO yet"


def _lifecycle(source: SourceTold, at: float) -> str:
    said = ["enabled" if source.enabled else "DISABLED"]
    if source.not_before is not None and source.not_before > at:
        said.append(f"not valid before {stamp(source.not_before)}")
    if source.expires is None:
        said.append("never expires")
    elif source.expires <= at:
        said.append(f"EXPIRED {_moment(source.expires, at)}")
    else:
        said.append(f"expires {_moment(source.expires, at)}")
    return ", ".join(said)


def _es(told: Told) -> Branch:
    es = told.es
    ready = {True: "Ready=True", False: f"Ready=False ({es.ready_reason})", None: "not synced yet"}[es.ready]
    since = f" since {_moment(es.ready_since, told.at)}" if es.ready_since else ""
    return Branch((f"ExternalSecret {told.chain.name}: {ready}{since}",), tuple(_es_prose(es, told.at)))


def _es_prose(es: EsTold, at: float) -> Iterable[str]:
    interval = {"Periodic": f", every {ago(es.interval)}"}.get(es.policy, "")
    extra = ", immutable target" if es.immutable else ""
    yield f"refreshPolicy {es.policy}{interval}; creationPolicy {es.creation_policy}{extra}"
    last = f"last good sync began {_moment(es.refreshed, at)}" if es.refreshed else "no good sync yet"
    yield last + (f"; ESO's own next one is due {_moment(es.due, at)}" if es.due else "")
    if es.ready is False:
        yield _TERMINAL if es.cause in ENDS_TRYING else _TRIES_AGAIN
    if not es.spec_applied:
        yield f"generation {es.generation} of the spec is not synced yet"
    if es.error:
        yield f"last error ({es.cause}): {es.error}"
        if es.remedy:
            yield f"what to do: {es.remedy}"
    yield from es.limits


def _secret(told: Told) -> Branch:
    secret = told.secret
    if secret.trouble:
        about = f"cannot be read: {secret.trouble}"
    elif not secret.present:
        about = "is not there"
    else:
        about = f"created {_moment(secret.created, told.at)}" + (", immutable" if secret.immutable else "")
    children = tuple(_key(key, secret, told.at) for key in secret.keys)
    return Branch((f"Secret {secret.name}: {about}",), (), children)


def _key(key: KeyTold, secret: SecretTold, at: float) -> Branch:
    prose = [_changed(key, secret, at)]
    prose.append(f"from {', '.join(str(source) for source in key.sources)}" if key.sources else "")
    return Branch((key.name, key.state, key.evidence), tuple(text for text in prose if text))


def _changed(key: KeyTold, secret: SecretTold, at: float) -> str:
    if key.changed_to is not None:
        if key.changed_from is None or key.changed_to - key.changed_from <= 2:
            return f"changed {_moment(key.changed_to, at)}"
        return f"changed between {stamp(key.changed_from)} and {stamp(key.changed_to)}"
    if secret.first_look is not None and key.state != "missing":
        return f"not changed since our first look {_moment(secret.first_look, at)}"
    return ""


# ----------------------------------------------------------------------------------------------------- what consumes it


def _no_workload(told: Told) -> Branch:
    """There is none, or nothing is known of them."""
    if dict(told.links).get(Link.CONTAINER) is not State.UNKNOWN:
        return Branch(("Pods: none consumes this Secret by env, envFrom or a volume",))
    why = next((finding.evidence for finding in told.findings if finding.link is Link.CONTAINER), "")
    return Branch(("Pods: it is not known which of them consume this Secret",), (why,) if why else ())


def _workload(workload: WorkloadTold, at: float) -> Branch:
    """Its pods, the worst first; of equal containers the use is told once."""
    ready = sum(pod.ready for pod in workload.pods)
    about = f"{workload.state}, {ready} of {counted(len(workload.pods), 'pod')} ready"
    pods = sorted(workload.pods, key=_badness)
    shown = [_pod(pod, at) for pod in pods[:_MOST_PODS]]
    if rest := pods[_MOST_PODS:]:
        states = sorted({container.state for pod in rest for container in pod.containers})
        shown.append(Branch((f"and {counted(len(rest), 'pod')} more ({', '.join(states)}); -o json names them all",)))
    uses = {f"container {c.name} uses {'; '.join(c.uses)}": None for pod in workload.pods for c in pod.containers}
    return Branch((f"{workload.key.kind} {workload.key.name}: {about}",), tuple(uses), tuple(shown))


def _badness(pod: PodTold) -> int:
    return min((_WORST_FIRST.index(c.state) for c in pod.containers if c.state in _WORST_FIRST), default=9)


def _pod(pod: PodTold, at: float) -> Branch:
    about = [pod.note or ("ready" if pod.ready else "not ready"), f"created {_moment(pod.created, at)}"]
    if pod.node:
        about.append(f"on {pod.node}")
    return Branch((f"{pod.name}: {', '.join(about)}",), (), tuple(_container(c, at) for c in pod.containers))


def _container(container: ContainerTold, at: float) -> Branch:
    kind = {"container": "container", "init": "init container", "sidecar": "sidecar"}[container.kind]
    started = f"started {_moment(container.started, at)}" if container.started else "not started"
    restarts = f", {counted(container.restarts, 'restart')}" if container.restarts else ""
    prose = [f"runs {_runs(runs)}" for runs in container.runs]
    if container.state != "fresh":
        prose.append(container.evidence)
    return Branch((f"{kind} {container.name}", container.state, started + restarts), tuple(prose))


def _runs(runs: RunsTold) -> str:
    known = [f"version of {stamp(version.created)}" for version in runs.versions[:_MOST_VERSIONS]]
    if len(runs.versions) > _MOST_VERSIONS or (runs.older and known):
        known.append("an older one")
    return f"{runs.source}: {' or '.join(known) or 'a version we do not know of'}"


# ------------------------------------------------------------------------------------------------------ what comes next


def _now(told: Told) -> Branch:
    steps = [_step(("vault to Secret",), told.next)]
    steps += [_step((f"{w.key.kind} {w.key.name}",), w.next) for w in told.workloads]
    return Branch(("What the agent would do now",), (), tuple(steps))


def _step(about: tuple[str, ...], step: StepTold) -> Branch:
    said = in_short(step) or step.detail
    if step.refusals:
        said += f"; refused by {counted(len(step.refusals), 'gate')}:"
    prose = (f"what to do: {step.remedy}",) if step.remedy else ()
    return Branch((*about, said), prose, tuple(Branch((refusal_said(refusal),)) for refusal in step.refusals))


# --------------------------------------------------------------------------------------------------------------- words


def _version(version: VersionTold, at: float) -> str:
    named = f", id {version.id}" if version.id else ""
    disabled = "" if version.enabled else ", disabled"
    return f"version of {stamp(version.created)} ({ago(at - version.created)} ago{named}{disabled})"


def _moment(when: float | None, at: float) -> str:
    """A time, and how far from now."""
    if when is None or not math.isfinite(when):
        return "—"
    return f"{stamp(when)} ({f'in {ago(when - at)}' if when > at else f'{ago(at - when)} ago'})"
