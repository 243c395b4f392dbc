"""The history of a Secret's keys: which value each held, and between which times it was written. Pure.

Three facts about a Kubernetes API server carry this (recorded step by step on kube-apiserver 1.36):

* an update that changes nothing moves neither the resourceVersion nor any managedFields time;
* a write that changes data sets the time of its writer's managedFields entry, in whole seconds of the API server's
  clock, except that removing a key moves no time at all;
* a write of metadata alone moves the time of the writer's whole entry too, ``f:data`` included. So a moved time says
  that data *may* have changed; an unmoved one, with the same keys, that it did not.

While a watch runs, each write arrives as one event and its interval is tight. Across a gap we know less, and say so.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from msgspec.structs import replace

from agent.memory import ABSENT, UNOBSERVED, Entry, SecretMemory
from agent.model import SecretView

FOREVER_AGO = 0.0
"""A time before all others. Finite, because histories are kept as JSON, which knows no infinity."""
KEPT_ENTRIES = 16
"""Per key; what is older becomes one UNOBSERVED entry. Sixteen changes outlive the pods of any sane rotation."""


def first_look(view: SecretView, *, at: float, absent_until: float | None) -> SecretMemory:
    """Begin a history.

    ``absent_until``: until when (API server's clock) we know that there was no such Secret; None: we never looked
    before, and whatever resolved before ``at`` lies in `before-us`. A Secret that is older than ``absent_until``
    only came into our sight (it got ESO's label), so it begins as if we had never looked.
    """
    if absent_until is None or view.created + 1 < absent_until:
        keys = {key: _entries(Entry(value=value, lo=at, hi=at)) for key, value in view.prints.items()}
        return _memory(view, first_look=at, keys=keys)
    absent = Entry(value=ABSENT, lo=FOREVER_AGO, hi=FOREVER_AGO, gone=True)
    begin = max(absent_until, view.created)
    end = min(at, view.touched + 1)
    unsure = (Entry(value=UNOBSERVED, lo=begin, hi=begin),) if view.touched > view.created + 1 else ()
    keys = {
        key: _entries(Entry(value=value, lo=begin, hi=max(begin, end)), *unsure, absent)
        for key, value in view.prints.items()
    }
    return _memory(view, first_look=FOREVER_AGO, keys=keys)


def watched(memory: SecretMemory, view: SecretView, *, since: float, seen: float) -> SecretMemory:
    """One write, seen on a running watch. It was done after ``since`` and before ``seen`` (API server's clock)."""
    if view.resource_version == memory.resource_version:
        return memory
    moved = view.touched > memory.touched or view.uid != memory.uid
    lo = max(since, view.touched) if moved else since
    hi = min(seen, view.touched + 1) if moved else seen
    memory, keys = _back(memory, view), {}
    hidden = _hidden(memory, view)
    for key in memory.keys.keys() | view.prints.keys():
        old, value = _known(memory, key), view.prints.get(key, ABSENT)
        written = Entry(value=value, lo=min(lo, hi), hi=hi)
        keys[key] = old if value == old[0].value and not old[0].gone else _bounded((written, *hidden, *old))
    return _with(memory, view, keys)


def after_gap(
    memory: SecretMemory, view: SecretView, *, confirmed: float, seen: float, born: Callable[[str], float]
) -> SecretMemory:
    """What a list shows after we had not been looking since ``confirmed``.

    ``born(key)``: before when the key's new value cannot have existed: the earliest ``created`` of the versions that
    can have brought it, less the margin between the clocks; 0 where that is not known.
    """
    if view.uid == memory.uid and view.resource_version == memory.resource_version:
        return memory
    # A second write in the second of the last one we saw moves no time either.
    unmoved = view.touched == memory.touched and view.touched + 1 <= confirmed
    if view.uid == memory.uid and unmoved and view.prints == current(memory):
        return replace(memory, resource_version=view.resource_version)
    memory = _back(memory, view)
    keys = {}
    for key in memory.keys.keys() | view.prints.keys():
        old, value = _known(memory, key), view.prints.get(key, ABSENT)
        # That a key is gone moves no time.
        hi = max(confirmed, seen if value == ABSENT else min(seen, view.touched + 1))
        new = value != ABSENT and all(value != entry.value for entry in old)
        earliest = born(key) if new else 0.0
        if earliest > hi:
            earliest = 0.0  # it was there before: no version has brought it, but somebody's hand
        newest = Entry(value=value, lo=max(confirmed, earliest), hi=hi, born=earliest)
        keys[key] = _bounded((newest, Entry(value=UNOBSERVED, lo=confirmed, hi=confirmed), *old))
    return _with(memory, view, keys)


def deleted(memory: SecretMemory, *, since: float, seen: float, gap: bool = False) -> SecretMemory:
    """The Secret is not to be seen any more: every key is absent from some time in between on.

    ``gap``: we had not been looking since ``since``, and it may have held anything before it went.
    """
    if not memory.uid and not gap:
        return memory
    gone = Entry(value=ABSENT, lo=since, hi=seen, gone=True)
    unseen = Entry(value=UNOBSERVED, lo=since, hi=since)
    keys = {}
    for key, old in memory.keys.items():
        if gap and [entry.value for entry in old[:2]] == [ABSENT, UNOBSERVED]:
            keys[key] = (gone, *old[1:])  # absent at the end of the last gap, too: one gap with that
        else:
            keys[key] = _bounded((gone, unseen, *old) if gap else (gone, *old))
    return replace(memory, uid="", resource_version="", keys=keys, lost_uid=memory.uid or memory.lost_uid)


def current(memory: SecretMemory) -> dict[str, str]:
    """The fingerprints as last seen, absent keys left out."""
    return {key: entries[0].value for key, entries in memory.keys.items() if entries[0].value != ABSENT}


def last_change(memory: SecretMemory, keys: tuple[str, ...] | None = None) -> float:
    """Latest time at which the data of these keys (None: any) was last written, as far as we witnessed it; 0: never."""
    newest = 0.0
    for key, entries in memory.keys.items():
        if (keys is None or key in keys) and len(entries) > 1:
            newest = max(newest, entries[0].hi)
    return newest


def moved_since(memory: SecretMemory, at: float) -> tuple[str, ...]:
    """The keys that got another value after ``at``, as far as we know."""
    found = []
    for key, (newest, *older) in memory.keys.items():
        former = next((entry.value for entry in older if entry.value != UNOBSERVED), newest.value)
        if newest.hi > at and newest.value != former:
            found.append(key)
    return tuple(sorted(found))


def _entries(*entries: Entry) -> tuple[Entry, ...]:
    return entries


def _memory(view: SecretView, *, first_look: float, keys: dict[str, tuple[Entry, ...]]) -> SecretMemory:
    return SecretMemory(
        uid=view.uid,
        resource_version=view.resource_version,
        touched=view.touched,
        first_look=first_look,
        keys=keys,
        immutable=view.immutable,
    )


def _known(memory: SecretMemory, key: str) -> tuple[Entry, ...]:
    """A key's history; one that was never seen was absent whenever we looked."""
    if key in memory.keys:
        return memory.keys[key]
    absent = Entry(value=ABSENT, lo=memory.first_look, hi=memory.first_look)
    gaps = [
        (gap.lo, after.hi) for old in memory.keys.values() for after, gap in pairwise(old) if gap.value == UNOBSERVED
    ]
    if not gaps:
        return (absent,)
    begin, end = min(lo for lo, _ in gaps), max(hi for _, hi in gaps)
    return (Entry(value=ABSENT, lo=end, hi=end), Entry(value=UNOBSERVED, lo=begin, hi=begin), absent)


def _back(memory: SecretMemory, view: SecretView) -> SecretMemory:
    """The very object that we took for deleted was only out of sight (without ESO's label), with whatever in it."""
    if memory.uid or view.uid != memory.lost_uid:
        return memory
    return replace(
        memory,
        keys={key: (replace(old[0], value=UNOBSERVED, gone=False), *old[1:]) for key, old in memory.keys.items()},
    )


def _hidden(memory: SecretMemory, view: SecretView) -> tuple[Entry, ...]:
    """What a new object held before it came into our sight: one that somebody made without ESO's label."""
    if view.uid in (memory.uid, memory.lost_uid) or view.touched <= view.created + 1:
        return ()
    return (Entry(value=UNOBSERVED, lo=view.created, hi=view.created + 1),)


def _with(memory: SecretMemory, view: SecretView, keys: dict[str, tuple[Entry, ...]]) -> SecretMemory:
    return replace(
        memory,
        uid=view.uid,
        resource_version=view.resource_version,
        touched=view.touched,
        keys=keys,
        immutable=view.immutable,
        lost_uid="",
    )


def _bounded(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    if len(entries) <= KEPT_ENTRIES:
        return entries
    oldest = entries[KEPT_ENTRIES - 1]
    return (*entries[: KEPT_ENTRIES - 1], Entry(value=UNOBSERVED, lo=FOREVER_AGO, hi=oldest.hi))
