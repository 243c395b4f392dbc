"""Links 1 and 2: does ESO hold what the vault holds, and does the Secret hold what ESO wrote? Pure."""

from __future__ import annotations

from collections.abc import Iterator

from agent import mapping
from agent.diagnose import elsewhere, frozen, lifecycle
from agent.diagnose.acknowledgement import spec_applied
from agent.diagnose.found import finding
from agent.diagnose.remedies import REMEDIES
from agent.diagnose.view import MANY_RIVALS, ChainView, Upstream
from agent.memory import SourceMemory
from agent.model import ExternalSecret, Finding, Kind, Link, SourceKey, State
from agent.policy import Policy
from agent.times import stamp


def judge(view: ChainView, policy: Policy, now: float) -> Upstream:
    """The state of the two upper links, with a finding for all that is not as it should be."""
    es = view.es
    if why := exclusion(view):
        return _alike(State.EXCLUDED, finding(view, Link.VAULT, Kind.EXCLUDED, 0.0, why))
    if view.push_trouble is not None:
        text = f"whether a PushSecret writes its Secret to a vault is not known: {view.push_trouble.detail}"
        return _alike(State.UNKNOWN, finding(view, Link.VAULT, Kind.UNKNOWN, now, text, cause=view.push_trouble.cause))
    if why := pinning(es):
        return _alike(State.PINNED, finding(view, Link.VAULT, Kind.PINNED, 0.0, why))
    vault_state, vault_findings = _vault_link(view, policy, now)
    secret_state, secret_findings, wake = _secret_link(view, policy, now)
    notes = lifecycle.notes(view, policy, now)
    return Upstream(
        vault=vault_state, secret=secret_state, findings=(*vault_findings, *secret_findings, *notes), wake_at=wake
    )


def exclusion(view: ChainView) -> str:
    """Why this agent must leave the chain alone altogether; empty: it need not."""
    es = view.es
    if es.excluded:
        return es.excluded
    for key in es.stores:
        store = view.stores.get(key)
        if store is not None and (why := mapping.excluded_by_store(store)):
            return why
    if view.secret is not None and (why := mapping.excluded_by_push(view.secret, list(view.pushes))):
        return why
    return mapping.intended(es)


def pinning(es: ExternalSecret) -> str:
    """Why ESO will never fetch a newer value for this chain; empty: it will."""
    if es.refresh_policy == "CreatedOnce":
        return "refreshPolicy is CreatedOnce: ESO never syncs it again, and ignores a force-sync"
    if es.refresh_policy == "Periodic" and es.refresh_interval <= 0:
        return "refreshInterval is 0: ESO never syncs it again, and ignores a force-sync"
    if es.uses and not es.unsupported and all(use.version for use in es.uses):
        return "every remoteRef names a fixed version"
    return ""


def refreshes_itself(es: ExternalSecret) -> bool:
    """Whether ESO fetches anew whenever the interval is over: sync windows may keep it from that for any time."""
    return es.refresh_policy == "Periodic" and es.refresh_interval > 0 and not es.sync_windows


def covered(view: ChainView, key: SourceKey, source: SourceMemory, policy: Policy) -> bool:
    """Whether ESO has fetched this source's present state for sure.

    Either a force-sync was acknowledged that we wrote after a vault answer had shown this very state (no clocks), or
    ESO's last good sync *began* later than the event by more than the margin between the two clocks.
    """
    refreshed = view.es.refresh_time
    if refreshed is not None and refreshed > source.event_at + policy.margins.vault:
        return True
    return view.memory.covered.get(str(key)) == source.state.identity


def _vault_link(view: ChainView, policy: Policy, now: float) -> tuple[State, list[Finding]]:
    es = view.es
    if es.ready is False:
        cause = view.memory.cause or "unknown"
        detail = view.memory.cause_detail or f"ESO says {es.ready_reason}"
        since = es.ready_since or now
        text = f"ESO fails to sync since {stamp(since)}: {detail}"
        if es.refresh_time is not None:
            text += f"; last good sync {stamp(es.refresh_time)}"
        failed = finding(
            view, Link.VAULT, Kind.SYNC_FAILED, since, text,
            cause=cause, remedy=REMEDIES.get(cause, ""), sources=_behind_failure(view),
        )  # fmt: skip
        return State.STALE, [failed]
    if not spec_applied(es):
        since = es.spec_changed or es.created
        applied = es.synced_generation if es.synced_generation is not None else "none"
        text = f"generation {es.generation} of the spec is not synced yet (synced: {applied})"
        text += "".join(f"; {blind.detail}" for blind in view.blind[:1] if blind.cause == "store")
        return State.STALE, [finding(view, Link.VAULT, Kind.SPEC_NOT_APPLIED, since, text)]
    stale = list(_stale_sources(view, policy))
    gone = [_gone(view, key, view.sources[key]) for key in view.absent]
    disabled = view.disabled
    if gone:
        return State.STALE, gone
    if stale and not disabled:
        return State.STALE, [_stale(view, stale)]
    if view.blind:
        told = [blind for blind in view.blind if blind.cause != "not-looked-yet"]
        if not told:
            return State.UNKNOWN, []  # the answer is on its way
        trouble = told[0]
        text = "; ".join(dict.fromkeys(blind.detail for blind in told))
        return State.UNKNOWN, [finding(view, Link.VAULT, Kind.UNKNOWN, now, text, cause=trouble.cause)]
    if es.unsupported:
        return State.UNKNOWN, [finding(view, Link.VAULT, Kind.UNKNOWN, now, es.unsupported, cause="unsupported")]
    return (State.UNKNOWN if disabled else State.FRESH), []


def _behind_failure(view: ChainView) -> tuple[SourceKey, ...]:
    """The vault secrets for which a sync may fail: those that are not as they should be, else all that it reads."""
    wrong = (*view.absent, *view.disabled)
    return wrong or tuple(sorted({key for _, key in view.resolved}))


def _stale_sources(view: ChainView, policy: Policy) -> Iterator[tuple[SourceKey, SourceMemory]]:
    fixed = view.fixed
    for key, source in view.sources.items():
        if key not in fixed and source.state.present and not covered(view, key, source, policy):
            yield key, source


def _stale(view: ChainView, stale: list[tuple[SourceKey, SourceMemory]]) -> Finding:
    said = "; ".join(f"{key} has the version of {stamp(source.state.created)}" for key, source in stale)
    refreshed = view.es.refresh_time
    last = f"ESO's last good sync began {stamp(refreshed)}" if refreshed is not None else "ESO has never synced"
    since = min(source.event_at for _, source in stale)
    return finding(view, Link.VAULT, Kind.STALE, since, f"{said}; {last}", sources=tuple(key for key, _ in stale))


def _gone(view: ChainView, key: SourceKey, source: SourceMemory) -> Finding:
    text = f"{key} is not in the vault (never created, misspelt, or soft-deleted); the next sync of ESO will fail"
    return finding(
        view, Link.VAULT, Kind.SYNC_FAILED, source.event_at, text,
        cause="not-found", remedy=REMEDIES["not-found"], sources=(key,),
    )  # fmt: skip


def _secret_link(view: ChainView, policy: Policy, now: float) -> tuple[State, list[Finding], float | None]:
    es, secret = view.es, view.secret
    if view.secret_trouble is not None:
        unread = finding(
            view, Link.SECRET, Kind.UNKNOWN, now, view.secret_trouble.detail, cause=view.secret_trouble.cause
        )
        return State.UNKNOWN, [unread], None
    name = f"Secret {es.key.namespace}/{es.target}"
    if (attempt := view.memory.recreate) is not None and attempt.state != "lost" and secret is None:
        text = f"{name} was deleted {stamp(attempt.at)} for ESO to write it anew, and is not back yet"
        return State.STALE, [finding(view, Link.SECRET, Kind.STUCK, now, text)], None
    if secret is None or secret.deleting:
        text = f"{name} {'is being deleted' if secret else 'is not there'}"
        cause = NOT_BACK if attempt is not None and attempt.state == "lost" else ""
        return State.STALE, [finding(view, Link.SECRET, Kind.MISSING_SECRET, now, text, cause=cause)], None
    conflict = _conflict(view, now)
    if conflict is not None:
        return State.UNKNOWN, [conflict], None
    # Keys of an edit that ESO has not applied yet are not missing: that the edit is not applied is said of link 1.
    expected = mapping.expected_keys(es) if spec_applied(es) else None
    missing = sorted((expected or frozenset()) - secret.prints.keys())
    if (by_hand := _needs_hand(view, now)) is not None:
        return State.STALE, [by_hand], None
    if secret.hash_fits is False:
        text = f"{name} is not as ESO wrote it: its data does not fit ESO's data-hash annotation"
        return State.STALE, [finding(view, Link.SECRET, Kind.CHANGED_ELSEWHERE, now, text)], None
    if missing:
        text = f"{name} lacks {', '.join(missing)}"
        return State.STALE, [finding(view, Link.SECRET, Kind.MISSING_KEY, now, text)], None
    if (found := _frozen(view, policy, now)) is not None:
        return found[0], [found[1]], None
    return _changed_elsewhere(view, policy, now)


def _changed_elsewhere(view: ChainView, policy: Policy, now: float) -> tuple[State, list[Finding], float | None]:
    """A data change that no good sync of ESO explains. ESO's own write carries the time of its managedFields entry."""
    secret, refreshed = view.secret, view.es.refresh_time
    wrote = elsewhere.changed_at(view)
    if secret is None or wrote is None:
        return State.FRESH, [], None
    if elsewhere.synced_since(view, wrote):
        return (State.UNKNOWN, [], now + 1) if view.secret_behind else (State.FRESH, [], None)
    due = wrote + policy.timing.changed_elsewhere_cover
    if now < due and Kind.CHANGED_ELSEWHERE.value not in view.memory.since:  # once found it lasts until it is healed
        # Not drift yet, and not what containers can be judged by: who holds ESO's own value is not behind this one.
        return State.UNKNOWN, [], due
    text = (
        f"Secret {secret.key} was changed at {stamp(wrote)} by {', '.join(secret.foreign_writers)},"
        f" later than ESO's last good sync ({stamp(refreshed) if refreshed else 'never'})"
    )
    return State.STALE, [finding(view, Link.SECRET, Kind.CHANGED_ELSEWHERE, wrote, text)], None


def _frozen(view: ChainView, policy: Policy, now: float) -> tuple[State, Finding] | None:
    """ESO reports success and cannot write: `target.immutable` freezes the data that the Secret was created with."""
    secret, es = view.secret, view.es
    if secret is None or not es.immutable or es.ready is not True:
        return None
    fixed = view.fixed
    found: dict[bool | None, list[tuple[SourceKey, SourceMemory]]] = {False: [], None: [], True: []}
    for key, source in view.sources.items():
        if key not in fixed and source.state.present and source.state.enabled and covered(view, key, source, policy):
            found[frozen.held(view, key, source, policy)].append((key, source))
    if not (wrong := found[False] or found[None]):
        return None
    keys = tuple(key for key, _ in wrong)
    said = "; ".join(f"{key} has the version of {stamp(source.state.created)}" for key, source in wrong)
    made = f"Secret {secret.key} was created {stamp(secret.created)}, and {said}"
    if wrong is found[None]:
        text = f"whether it holds the newest version is not known, for target.immutable keeps it as it was made: {made}"
        cause = "immutable-in-doubt"
        doubt = finding(view, Link.SECRET, Kind.UNKNOWN, now, text, cause=cause, remedy=REMEDIES[cause], sources=keys)
        return State.UNKNOWN, doubt
    text = f"Ready=True, but target.immutable keeps ESO from writing: {made}"
    since = min(source.event_at for _, source in wrong)
    return State.STALE, finding(view, Link.SECRET, Kind.STUCK, since, text, sources=keys, remedy=REMEDIES["stuck"])


def _needs_hand(view: ChainView, now: float) -> Finding | None:
    secret, es = view.secret, view.es
    if secret is None:
        return None
    if secret.immutable and not es.immutable and secret.hash_fits is False:
        text = f"Secret {secret.key} is immutable, ESO could not update it (its data-hash is that of newer data)"
    elif es.template_type and secret.type != es.template_type:
        text = (
            f"Secret {secret.key} has type {secret.type}, the spec wants {es.template_type}; a type cannot be changed"
        )
    else:
        return None
    remedy = f"run: kubectl -n {secret.key.namespace} delete secret {secret.key.name}"
    if why := _not_written_again(view):
        remedy = (
            f"mend first what keeps ESO from writing it ({why}); if it were deleted now, nothing would bring it back"
        )
    return finding(view, Link.SECRET, Kind.STUCK_NEEDS_HAND, now, text, remedy=remedy)


def _not_written_again(view: ChainView) -> str:
    """What is known to keep ESO from writing the Secret anew if somebody deleted it; empty: nothing."""
    cause = view.memory.cause or "unknown"
    if view.es.ready is False and cause != "immutable-target":  # that one it has fetched, and is kept from writing
        return f"it fails to sync: {cause}"
    lost = (*view.absent, *view.disabled)
    return next((f"{key} is not there, or disabled" for key in lost), "")


def _conflict(view: ChainView, now: float) -> Finding | None:
    if len(view.rivals) > MANY_RIVALS:
        text = f"more than {MANY_RIVALS} other ExternalSecrets write Secret {view.es.target}; give each its own"
        return finding(view, Link.SECRET, Kind.CONFLICT, now, text)
    mine = mapping.expected_keys(view.es) or frozenset()
    for rival, keys in view.rivals:
        if shared := sorted(mine & keys):
            text = f"{rival} claims the same keys of Secret {view.es.target}: {', '.join(shared)}"
            return finding(view, Link.SECRET, Kind.CONFLICT, now, text)
    return None


def _alike(state: State, finding: Finding) -> Upstream:
    return Upstream(vault=state, secret=state, findings=(finding,))


NOT_BACK = "not-back"
"""The cause of a missing Secret that we deleted, and that ESO has not written anew in time."""
