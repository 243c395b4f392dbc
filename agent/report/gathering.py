"""The upper part of an explanation: vault secrets, ExternalSecret, Secret. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

from msgspec.structs import replace

from agent import mapping
from agent.diagnose import history
from agent.diagnose import sources as source_events
from agent.diagnose.acknowledgement import spec_applied
from agent.diagnose.remedies import REMEDIES
from agent.diagnose.upstream import covered, exclusion, pinning
from agent.diagnose.view import ChainReport, ChainView
from agent.memory import ABSENT, UNOBSERVED, Entry, SourceMemory
from agent.model import Kind, SourceKey, SourceUse, State, VaultView
from agent.plan.optout import opted_out
from agent.policy import Policy
from agent.report.told import EsTold, KeyTold, SecretTold, SourceTold, VersionTold
from agent.times import stamp


def told_sources(
    view: ChainView, policy: Policy, vaults: Mapping[str, VaultView], looked: Mapping[SourceKey, float]
) -> tuple[SourceTold, ...]:
    """Every vault secret that the spec reads, once for each store and version, in the spec's order."""
    places: dict[tuple[SourceKey | str, str, str], list[SourceUse]] = {}
    for use in view.es.uses:
        places.setdefault((mapping.resolve(use, view.stores), use.name, use.version), []).append(use)
    return tuple(_source(view, policy, vaults, looked, origin, uses) for (origin, _, _), uses in places.items())


def _source(
    view: ChainView,
    policy: Policy,
    vaults: Mapping[str, VaultView],
    looked: Mapping[SourceKey, float],
    origin: SourceKey | str,
    uses: list[SourceUse],
) -> SourceTold:
    use = uses[0]
    listed = [key for each in uses for key in each.secret_keys or ()]
    keys = None if any(each.secret_keys is None for each in uses) else tuple(listed)
    base = SourceTold(name=use.name, store=f"{use.store.kind} {use.store.name}", keys=keys, pinned=use.version)
    if isinstance(origin, str):
        return replace(base, trouble=origin)
    base = replace(base, vault=origin.vault)
    if policy.vault_rule(origin.vault, view.es.key.namespace) is None:
        text = f"vault {origin.vault_name} is not in the policy's vaults for this namespace: not looked at"
        return replace(base, trouble=text)
    answer, known = vaults.get(origin.vault), view.sources.get(origin)
    trouble = ""
    if answer is None or answer.trouble is not None:
        trouble = answer.trouble.detail if answer and answer.trouble else "the vault has not answered yet"
    if known is None:
        return replace(base, trouble=trouble or "the vault has not answered yet")
    state = known.state
    return replace(
        base,
        known=True,
        present=state.present,
        nearest=answer.nearest.get(origin.name, ()) if answer is not None and not state.present else (),
        newest=version_told(known, state.created) if state.present else None,
        former=tuple(
            version_told(known, version.created) for version in known.versions if version.created < state.created
        ),
        enabled=state.enabled,
        expires=state.expires,
        not_before=state.not_before,
        ignored=state.ignored,
        fetched=None if use.version else covered(view, origin, known, policy),
        looked_at=looked.get(origin) or (known.seen_at if trouble else None),
        trouble=trouble,
    )


def version_told(known: SourceMemory, created: float) -> VersionTold:
    """A version with its id where a version list has named it."""
    seen = next((version for version in known.versions if version.created == created), None)
    return VersionTold(created=created, id=seen.id if seen else "", enabled=seen.enabled if seen else True)


def told_es(view: ChainView, report: ChainReport, namespace_mode: str) -> EsTold:
    """The ExternalSecret: how it syncs, how its last sync went, and what limits us."""
    es = view.es
    failed = next((f for f in report.upstream.findings if f.kind is Kind.SYNC_FAILED), None)
    # After a failure it comes back by its backoff, long before the interval is over, or not at all.
    periodic = es.refresh_policy == "Periodic" and es.refresh_interval > 0 and es.ready is not False
    cause = view.memory.cause or (failed.cause if failed else "")
    return EsTold(
        policy=es.refresh_policy,
        interval=es.refresh_interval,
        refreshed=es.refresh_time,
        due=es.refresh_time + es.refresh_interval if periodic and es.refresh_time is not None else None,
        ready=es.ready,
        ready_reason=es.ready_reason,
        ready_since=es.ready_since,
        spec_applied=spec_applied(es),
        generation=es.generation,
        cause=cause if failed else "",
        error=(view.memory.cause_detail or failed.evidence) if failed else "",
        remedy=(failed.remedy or REMEDIES.get(cause, "")) if failed else "",
        creation_policy=es.creation_policy,
        immutable=es.immutable,
        limits=tuple(_limits(view, namespace_mode)),
    )


def _limits(view: ChainView, namespace_mode: str) -> list[str]:
    es = view.es
    owners = [(f"ExternalSecret {es.key}", es.mode), (f"namespace {es.key.namespace}", namespace_mode)]
    excluded, pinned, objection = exclusion(view), pinning(es), opted_out(owners)
    named = {"left alone": excluded, "pinned": pinned, "not judged": es.unsupported, "opted out": objection}
    said = [f"{what}: {why}" for what, why in named.items() if why]
    if es.deleting:
        said.append("it is being deleted")
    if es.cluster_parent:
        said.append(f"made by ClusterExternalSecret {es.cluster_parent}")
    return said


def told_secret(view: ChainView, report: ChainReport, policy: Policy) -> SecretTold:
    """The Secret, key by key."""
    secret, memory = view.secret, view.secret_memory
    expected = mapping.expected_keys(view.es) or frozenset()
    held = set(secret.prints) if secret is not None else set()
    first = memory.first_look if memory is not None and not history.came_later(memory) else None
    trouble = view.secret_trouble.detail if view.secret_trouble is not None else ""
    return SecretTold(
        name=view.es.target,
        present=secret is not None and not secret.deleting,
        created=secret.created if secret is not None else None,
        immutable=secret.immutable if secret is not None else False,
        first_look=first,
        trouble=trouble,
        keys=tuple(_key(view, report, policy, name) for name in sorted(expected | held)),
    )


def _key(view: ChainView, report: ChainReport, policy: Policy, name: str) -> KeyTold:
    entries = view.secret_memory.keys.get(name, ()) if view.secret_memory is not None else ()
    feeding = set(mapping.feeds(view.es, name))
    origins = tuple(dict.fromkeys(source for use, source in view.resolved if use in feeding))
    state, evidence = _key_state(view, report, policy, name, origins, fed=bool(feeding))
    began = _began(entries)
    return KeyTold(
        name=name,
        state=state,
        evidence=evidence,
        changed_from=began.lo if began is not None and math.isfinite(began.lo) else None,
        changed_to=began.hi if began is not None and math.isfinite(began.hi) else None,
        sources=origins,
    )


def _began(entries: tuple[Entry, ...]) -> Entry | None:
    """The entry with which the present value came; None if it was there when we first looked.

    Equal values on both sides of a span that nobody watched are one value to whoever asks when it changed.
    """
    found = None
    for index, entry in enumerate(entries):
        if entry.value == entries[0].value:
            found = index
        elif entry.value != UNOBSERVED:
            break
    if found is None or entries[0].value in (ABSENT, UNOBSERVED) or found == len(entries) - 1:
        return None
    return entries[found]


def _key_state(
    view: ChainView, report: ChainReport, policy: Policy, name: str, origins: tuple[SourceKey, ...], *, fed: bool
) -> tuple[str, str]:
    if view.secret_trouble is not None:
        return "unknown", view.secret_trouble.detail
    if view.secret is None or view.secret.deleting or name not in view.secret.prints:
        return "missing", "the Secret does not have it"
    if not fed:
        return "not-fed", "no vault secret feeds it"
    above = report.upstream
    if above.secret in (State.EXCLUDED, State.PINNED):
        return "unknown", f"not followed: {above.findings[0].evidence}" if above.findings else "not followed"
    wrong = next((f for f in above.findings if f.link.value == "secret" and f.is_drift), None)
    if wrong is not None and (not wrong.sources or set(wrong.sources) & set(origins)):
        stuck = wrong.kind in (Kind.STUCK, Kind.STUCK_NEEDS_HAND)
        return ("stale" if stuck else "unknown"), f"{wrong.kind.value}, told above"
    behind = [s for s in origins if s in view.sources and not covered(view, s, view.sources[s], policy)]
    if behind:
        return "stale", "; ".join(_behind(key, view.sources[key]) for key in behind)
    if not origins or any(source not in view.sources for source in origins):
        return "unknown", "its vault secret could not be looked at"
    if above.secret is State.UNKNOWN:
        return "unknown", "it cannot be judged whether the Secret is as ESO wrote it"
    return "fresh", "it holds the newest version"


def _behind(key: SourceKey, known: SourceMemory) -> str:
    if not known.state.present:
        return f"{key} is not in the vault any more"
    if not known.state.enabled:
        enabled = source_events.newest_enabled(known)
        rest = f", the newest enabled one is of {stamp(enabled.created)}" if enabled else ""
        return f"the newest version of {key} is disabled{rest}"
    return f"ESO has not fetched the version of {stamp(known.state.created)} of {key} yet"
