"""The history of a Secret's keys: which value each held, and between which times it was written. Pure.

Three facts about a Kubernetes API server carry this (recorded step by step on kube-apiserver 1.36):

* an update that changes nothing moves neither the resourceVersion nor any managedFields time;
* a write that changes data sets the time of its writer's managedFields entry, in whole seconds of the API server's
  clock, except that removing a key moves no time at all, and takes an entry that owned nothing else with it;
* a write of metadata alone moves the time of the writer's whole entry too, ``f:data`` included. So a moved time says
  that data *may* have changed; an unmoved one, that the keys which are there did not: others can have come and gone.

While a watch runs, each write arrives as one event and its interval is tight. Across a gap we know less, and say so.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from agent.memory import ABSENT, UNOBSERVED, Entry, SecretMemory
from agent.model import SecretView

FOREVER_AGO = 0.0
"""A time before all others. Finite, because histories are kept as JSON, which knows no infinity."""
KEPT_ENTRIES = 16
"""Per key; what is older becomes one UNOBSERVED entry. Sixteen changes outlive the pods of any sane rotation."""
NEVER_SEEN = ""
"""In place of a key: any that was never seen. They share one history."""


def first_look(
    view: SecretView, *, at: float, absent_until: float | None, absent_since: float | None = None
) -> SecretMemory:
    """Begin a history.

    ``absent_until``: until when (API server's clock) we know that there was no such Secret; None: we never looked
    before, and whatever resolved before ``at`` lies in `before-us`. A Secret that is older than ``absent_until``
    only came into our sight (it got ESO's label), so it begins as if we had never looked. ``absent_since``: from when
    on we know that (None: of that moment only); what was there before, and is deleted, lies in `before-us`, too.
    """
    if absent_until is None or view.created + 1 < absent_until:
        keys = {key: _entries(Entry(value=value, lo=at, hi=at)) for key, value in view.prints.items()}
        return _memory(view, first_look=at, keys=keys, others=_entries(Entry(value=ABSENT, lo=at, hi=at)))
    looked = absent_until if absent_since is None else min(absent_since, absent_until)
    absent = Entry(value=ABSENT, lo=looked, hi=looked, gone=True)
    begin = max(absent_until, view.created)
    end = min(at, view.touched + 1)
    unsure = (Entry(value=UNOBSERVED, lo=begin, hi=begin),) if _grown(view) else ()
    keys = {
        key: _entries(Entry(value=value, lo=begin, hi=max(begin, end)), *unsure, absent)
        for key, value in view.prints.items()
    }
    others = _entries(Entry(value=ABSENT, lo=begin, hi=max(begin, at)), *unsure, absent)
    return _memory(view, first_look=looked, keys=keys, others=others)


def watched(memory: SecretMemory, view: SecretView, *, since: float, seen: float) -> SecretMemory:
    """One write, seen on a running watch. It was done after ``since`` and before ``seen`` (API server's clock)."""
    if view.resource_version == memory.resource_version:
        return memory
    moved = view.touched > memory.touched or view.uid != memory.uid
    lo = max(since, view.touched) if moved else since
    hi = min(seen, view.touched + 1) if moved else seen

    known = _back(memory, view)

    def after(key: str) -> tuple[Entry, ...]:
        old, value = of(known, key), view.prints.get(key, ABSENT)
        written = Entry(value=value, lo=min(lo, hi), hi=hi)
        return old if value == old[0].value and not old[0].gone else _bounded((written, *old))

    return _with(known, view, after)


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
    unmoved = view.uid == memory.uid and view.touched == memory.touched and view.touched + 1 <= confirmed
    known = _back(memory, view)

    def after(key: str) -> tuple[Entry, ...]:
        old, value = of(known, key), view.prints.get(key, ABSENT)
        if unmoved and value == old[0].value != ABSENT:
            return old  # who writes a key that is there moves a time
        # That a key is gone moves no time.
        hi = max(confirmed, seen if value == ABSENT else min(seen, view.touched + 1))
        new = value != ABSENT and all(value != entry.value for entry in old)
        earliest = born(key) if new else 0.0
        if earliest > hi:
            earliest = 0.0  # it was there before: no version has brought it, but somebody's hand
        newest = Entry(value=value, lo=max(confirmed, earliest), hi=hi, born=earliest)
        return _bounded((newest, Entry(value=UNOBSERVED, lo=confirmed, hi=confirmed), *old))

    return _with(known, view, after)


def deleted(memory: SecretMemory, *, since: float, seen: float, gap: bool = False) -> SecretMemory:
    """The Secret is not to be seen any more: every key is absent from some time in between on.

    ``gap``: we had not been looking since ``since``, and it may have held anything before it went.
    """
    if not memory.uid and not gap:
        return memory
    gone = Entry(value=ABSENT, lo=since, hi=seen, gone=True)
    unseen = Entry(value=UNOBSERVED, lo=since, hi=since)

    def after(old: tuple[Entry, ...]) -> tuple[Entry, ...]:
        if gap and [entry.value for entry in old[:2]] == [ABSENT, UNOBSERVED]:
            return (gone, *old[1:])  # absent at the end of the last gap, too: one gap with that
        return _bounded((gone, unseen, *old) if gap else (gone, *old))

    lost = {"lost_uid": memory.uid, "lost_at": since} if memory.uid else {}
    return replace(_each(memory, after), uid="", resource_version="", **lost)


def of(memory: SecretMemory, key: str) -> tuple[Entry, ...]:
    """A key's history, newest first."""
    never_seen = memory.others or (Entry(value=ABSENT, lo=memory.first_look, hi=memory.first_look),)
    return memory.keys.get(key) or never_seen


def came_later(memory: SecretMemory) -> bool:
    """Whether there was no such Secret when we first looked."""
    return of(memory, NEVER_SEEN)[-1].gone


def first_value(entries: tuple[Entry, ...]) -> str:
    """What the key held when we first saw the Secret: with that is compared what was there before we looked."""
    return next((entry.value for entry in reversed(entries) if not entry.gone), ABSENT)


def current(memory: SecretMemory) -> dict[str, str]:
    """The fingerprints as last seen, absent keys left out."""
    return {key: entries[0].value for key, entries in memory.keys.items() if entries[0].value != ABSENT}


def differing(before: SecretMemory, after: SecretMemory) -> tuple[str, ...]:
    """The keys that hold another value than before, came, or went."""
    old, new = current(before), current(after)
    return tuple(sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key)))


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


def _memory(
    view: SecretView, *, first_look: float, keys: dict[str, tuple[Entry, ...]], others: tuple[Entry, ...]
) -> SecretMemory:
    return SecretMemory(
        uid=view.uid,
        resource_version=view.resource_version,
        touched=view.touched,
        first_look=first_look,
        keys=keys,
        others=others,
        immutable=view.immutable,
    )


def _grown(view: SecretView) -> bool:
    """It was written to after the second in which it was created: then it may have held something else before."""
    return view.touched > view.created


def _back(memory: SecretMemory, view: SecretView) -> SecretMemory:
    """What we took for absent was there, with whatever in it, but out of our sight: without ESO's label.

    Either the very object that we took for deleted, or another one, which was not created with what we see of it first.
    """
    if view.uid == memory.uid:
        return memory
    if view.uid == memory.lost_uid:
        return _each(memory, lambda old: _doubted(old, memory.lost_at))
    return _each(memory, lambda old: _unseen_from(old, view.created)) if _grown(view) else memory


def _doubted(entries: tuple[Entry, ...], since: float) -> tuple[Entry, ...]:
    return tuple(
        replace(entry, value=UNOBSERVED, gone=False) if entry.value == ABSENT and entry.lo >= since else entry
        for entry in entries
    )


def _unseen_from(entries: tuple[Entry, ...], begin: float) -> tuple[Entry, ...]:
    """Something was there from ``begin`` on, a time in whole seconds."""
    end = begin + 1
    before = tuple(replace(entry, hi=min(entry.hi, end)) for entry in entries if entry.lo <= end)
    return _bounded((Entry(value=UNOBSERVED, lo=begin, hi=end), *before))


def _each(memory: SecretMemory, change: Callable[[tuple[Entry, ...]], tuple[Entry, ...]]) -> SecretMemory:
    keys = {key: change(entries) for key, entries in memory.keys.items()}
    return replace(memory, keys=keys, others=change(of(memory, NEVER_SEEN)))


def _with(memory: SecretMemory, view: SecretView, after: Callable[[str], tuple[Entry, ...]]) -> SecretMemory:
    """The object as it is now; ``after``: a key's history up to now."""
    return replace(
        memory,
        uid=view.uid,
        resource_version=view.resource_version,
        touched=view.touched,
        keys={key: after(key) for key in memory.keys.keys() | view.prints.keys()},
        others=after(NEVER_SEEN),
        immutable=view.immutable,
        lost_uid="",
        lost_at=0.0,
    )


def _bounded(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    if len(entries) <= KEPT_ENTRIES:
        return entries
    oldest = entries[KEPT_ENTRIES - 1]
    return (*entries[: KEPT_ENTRIES - 1], Entry(value=UNOBSERVED, lo=FOREVER_AGO, hi=oldest.hi))
