"""Which versions of the vault secrets a container may run, for a person who asks. Pure.

A container is placed on the history of the keys it uses, as for its verdict; each entry that it can have got is then
placed on the versions that the vault secret had. Where we know the cause (the present data were fetched by a sync that
has seen the newest version) no clock is asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from agent import mapping
from agent.diagnose import containers, frozen, history, sources
from agent.diagnose.containers import Span
from agent.diagnose.upstream import covered, refreshes_itself
from agent.diagnose.view import ChainView
from agent.memory import ABSENT, UNOBSERVED, Entry, SecretMemory, SourceMemory
from agent.model import ContainerRun, ContainerSpec, Pod, SourceKey
from agent.policy import Policy


class Might(NamedTuple):
    """``created`` of the versions it may be, newest first; ``older``: or one that we do not know of."""

    versions: tuple[float, ...]
    older: bool


def versions(
    view: ChainView,
    pod: Pod,
    spec: ContainerSpec,
    run: ContainerRun,
    policy: Policy,
    now: float,
    *,
    assumed_from: float,
    settled: bool,
) -> dict[SourceKey, Might]:
    """Per vault secret that feeds a key which this container uses.

    ``assumed_from``: who started later, and before our first look, holds the value of that look. ``settled``: the
    Secret is as ESO wrote it last.
    """
    memory = view.secret_memory
    if memory is None or run.started is None:
        return {}
    found: dict[SourceKey, Might] = {}
    for use in (use for use in spec.uses if use.secret == view.es.target):
        span = containers.span(pod, run, use, policy, now=view.seen_running.get(pod.key, now))
        if not containers.counts(use, immutable=memory.immutable, volumes=""):
            span = Span(now, now)  # a plain volume follows the Secret
        for key in containers.keys_used(use, memory):
            assumed = span.lo > assumed_from
            for source, might in of_key(view, memory, key, span, policy, assumed=assumed, settled=settled):
                found[source] = _either(found.get(source), might)
    return found


def of_key(
    view: ChainView, memory: SecretMemory, key: str, span: Span, policy: Policy, *, assumed: bool, settled: bool
) -> Iterable[tuple[SourceKey, Might]]:
    """Per vault secret that feeds one key: what a container that resolved it in ``span`` runs; see ``versions``."""
    entries = memory.keys.get(key)
    if entries is None:
        return
    feeding = set(mapping.feeds(view.es, key))
    origins = dict.fromkeys(source for use, source in view.resolved if use in feeding)
    held = containers.held(entries, memory.first_look, span)
    for source in origins:
        known = view.sources.get(source)
        if known is None:
            yield source, Might((), older=True)
            continue
        proved = settled and _proved(view, source, known, policy)
        line = _Line(view, policy, known, entries, memory.first_look, proved, alone=len(origins) == 1)
        might: Might | None = None
        for entry, end in held.entries:
            if entry.value != ABSENT:
                might = _either(might, line.of(entry, end, span))
        if held.before_us:
            might = _either(might, line.before_us(span, assumed=assumed))
        if might is not None:
            yield source, might


class _Line(NamedTuple):
    """The history of one key beside that of one vault secret which feeds it."""

    view: ChainView
    policy: Policy
    known: SourceMemory
    entries: tuple[Entry, ...]
    first_look: float
    proved: bool  # the present data hold the newest version for sure
    alone: bool  # nothing else feeds the key

    def of(self, entry: Entry, end: float, span: Span) -> Might:
        """The versions that can have been the newest when this entry was written, and were there at ``span``."""
        if entry is self.entries[0] and self.proved:
            return Might((self.known.state.created,), older=False)
        margin, refreshed, secret = self.policy.margins.vault, self.view.es.refresh_time, self.view.secret
        begin, until = entry.lo - margin, (end if entry.value == UNOBSERVED else entry.hi) + margin
        if entry is self.entries[-1] and entry.lo == self.first_look:
            begin = self._synced_since(entry.lo)  # it was there when we first looked, written some time before
            if entry is self.entries[0] and secret is not None:
                until = min(entry.hi, secret.touched + 1) + margin
        if entry is self.entries[0] and refreshed is not None:
            begin, until = max(begin, refreshed - margin), max(until, refreshed + margin)
        until = min(until, span.hi + margin)
        return self._between(begin, until, other=entry.value not in (self.entries[0].value, UNOBSERVED))

    def before_us(self, span: Span, *, assumed: bool) -> Might:
        """Of a container that started before our first look.

        ``assumed``: long after the version that was the newest then; else by the clocks, so perhaps an older one.
        """
        if assumed:
            return self._between(span.lo, span.lo, other=False)
        witnessed = history.first_value(self.entries) != self.entries[0].value
        found = self._between(self._synced_since(span.lo), span.hi + self.policy.margins.vault, other=witnessed)
        return found._replace(older=True)

    def _synced_since(self, at: float) -> float:
        """What the Secret held at that time was fetched later than this, if ESO did its work."""
        es = self.view.es
        if not refreshes_itself(es):
            return float("-inf")
        return at - es.refresh_interval - self.policy.margins.vault

    def _between(self, begin: float, until: float, *, other: bool) -> Might:
        found = sources.versions_between(self.known, begin, until)
        if self.proved and self.alone and other:
            # Another value than that of the newest version cannot be the newest version.
            found = tuple(created for created in found if created != self.known.state.created)
        oldest = self.known.versions[-1] if self.known.versions else None
        # A version list names ids: from its oldest version on, all are known.
        reaches_back = oldest is None or (begin < oldest.created and not oldest.id)
        return Might(found, older=not found or reaches_back)


def _proved(view: ChainView, source: SourceKey, known: SourceMemory, policy: Policy) -> bool:
    followed = known.state.present and known.state.enabled and source not in view.fixed
    fetched = followed and covered(view, source, known, policy)
    return fetched and (not view.es.immutable or frozen.held(view, source, known, policy) is True)


def _either(one: Might | None, other: Might) -> Might:
    if one is None:
        return other
    return Might(tuple(sorted({*one.versions, *other.versions}, reverse=True)), one.older or other.older)
