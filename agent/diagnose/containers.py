"""Link 3: when a container resolved its Secrets, and which value it can have got. Pure.

kubelet builds the environment anew at each *container* start, not at pod start, from its own cache of the Secret, which
may lag. So a container is judged by the span in which it must have resolved, held against the history of each key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

from agent.diagnose import history
from agent.memory import ABSENT, UNOBSERVED, Entry, SecretMemory
from agent.model import ContainerRun, ContainerSpec, Pod, SecretView, State, Use
from agent.policy import Policy

SELF_HEALING_OWNERS = frozenset({"Job"})
"""A Job's pods are never recycled: the next run gets the new value."""


Need = Literal["nothing", "secret", "key"]
"""What must be there for a container to start: kubelet lets it wait until it is."""


class Span(NamedTuple):
    """A container resolved its Secrets after ``lo`` and before ``hi`` (API server's clock, margins included)."""

    lo: float
    hi: float


class Held(NamedTuple):
    """What a container can have got of one key: entries of the history, and whether `before-us` is among them."""

    entries: tuple[tuple[Entry, float], ...]  # each with the latest time at which it can have ended
    before_us: bool


def excluded(pod: Pod) -> str:
    """Why no container of this pod is judged; empty: they are."""
    if pod.deleting:
        return "the pod is terminating"
    if pod.phase in ("Succeeded", "Failed"):
        return "the pod has completed"
    if pod.owner is not None and pod.owner.kind in SELF_HEALING_OWNERS:
        return "a Job's pod: its next run gets the new value"
    return ""


def resolves_again(run: ContainerRun, kind: str, *, now: float, window: float) -> bool:
    """The container will resolve anew without us: it never ran, or it crash-loops.

    ``window``: how long (s) after its last end a container that is not ready counts as crash-looping.
    """
    if run.started is None:
        return True
    if kind == "init":
        return run.state != "running" and not run.ready  # one that has completed is ready
    if run.state != "running":
        return True
    return not run.ready and run.previous_finished is not None and now - run.previous_finished < window


def window(pod: Pod, run: ContainerRun, policy: Policy, *, now: float) -> tuple[float, float]:
    """Between which times this run of the container asked for its Secrets. ``now``: see ``span``.

    Pod creation is the API server's clock, starts and ends are the node's (whole seconds, so up to one more).
    """
    node = policy.margins.node
    begin, ended = pod.created, run.previous_finished
    if ended is not None and ended - node > begin:
        begin = ended - node
    started = run.started
    latest = now if started is None else started + 1 + node
    return begin, latest if latest < now else now


def lag(use: Use, policy: Policy) -> float:
    """By how many seconds the answer may have been behind.

    kubelet's cache may be ``kubeletLag`` behind. A subPath file can be of a volume set up earlier in the pod's life.
    """
    return policy.timing.sub_path_lag if use.via == "subPath" else policy.margins.kubelet_lag


def span(pod: Pod, run: ContainerRun, use: Use, policy: Policy, *, now: float) -> Span:
    """When this run of the container resolved ``use``. ``now``: when we first saw it running, or any later time."""
    begin, end = window(pod, run, policy, now=now)
    return Span(begin - lag(use, policy), end)


def counts(use: Use, *, immutable: bool, volumes: str) -> bool:
    """Whether a change of the Secret can leave this consumer behind.

    kubelet updates plain and projected volumes by itself, but not those of an immutable Secret; ``volumes`` is the
    policy's word for applications that read a file only once.
    """
    return use.via in ("env", "envFrom", "subPath") or immutable or volumes == "recycle"


def needs(use: Use) -> Need:
    """What this use keeps its container from starting without. A volume that lacks a key is mounted all the same."""
    if use.optional:
        return "nothing"
    return "key" if use.via == "env" else "secret"


def lacking(pod: Pod, secrets: Callable[[str], SecretView | None]) -> str:
    """What a new pod of this one's template would wait for in vain; empty: nothing that we know of.

    kubelet starts no container that names a key which its Secret lacks, and mounts no volume with such an item.
    ``secrets``: by name, None for one that we do not see, of which nothing is known.
    """
    for spec in pod.containers:
        for use in spec.uses:
            if use.optional or not use.keys or (secret := secrets(use.secret)) is None:
                continue
            if absent := next((key for key in use.keys if key not in secret.prints), ""):
                return (
                    f"container {spec.name} requires key {absent} of Secret {pod.key.namespace}/{use.secret}, which"
                    " has no such key (any more): a new pod could not start"
                )
    return ""


def keys_used(use: Use, memory: SecretMemory) -> Iterable[str]:
    """The Secret's keys that this use reads, or would read if they came back."""
    if use.keys is not None:
        return use.keys
    return [key for key in memory.keys if key not in use.without]


def held(entries: tuple[Entry, ...], first_look: float, at: Span) -> Held:
    """The entries whose time can overlap the span. An entry ends at the latest when the next has begun for sure.

    That moment is no longer the entry's own: it is the end of the whole second, or the answer, before which the next
    one had been written. So a pod of the very next second got the next one.
    """
    found = []
    ends = float("inf")
    for entry in entries:
        if entry.lo <= at.hi and at.lo < ends:
            found.append((entry, ends))
        ends = entry.hi
        if at.lo >= ends:
            break
    return Held(tuple(found), before_us=at.lo <= first_look)


def judge(
    entries: tuple[Entry, ...], first_look: float, at: Span, *, before_us: State, need: Need = "nothing"
) -> State:
    """Fresh, assumed, stale or suspect: one key of one container.

    ``before_us`` is what a container that resolved before our first look counts as while the value of that first look
    is still the current one (`assumed` or `suspect`). Once the key holds a value that we never saw before, whoever
    resolved before our first look cannot have it. ``need``: who had to wait for something has not got its absence.
    """
    now = entries[0]
    if len(entries) == 1 and now.value != UNOBSERVED:  # most keys, always: it never changed while we looked
        if at.lo <= first_look:
            return before_us
        return State.FRESH if now.lo <= at.hi and _starts(need, now) else State.SUSPECT
    might = held(entries, first_look, at)
    states = {_entry_state(entry, now, min(at.hi, end)) for entry, end in might.entries if _starts(need, entry)}
    if might.before_us:
        oldest = history.first_value(entries)
        states.add(before_us if oldest == now.value else State.SUSPECT if oldest == UNOBSERVED else State.STALE)
    if len(states) == 1:
        return states.pop()
    if states == {State.FRESH, State.ASSUMED}:
        return State.ASSUMED
    return State.SUSPECT


def _starts(need: Need, entry: Entry) -> bool:
    """Whether a container with this need can have started while the entry held."""
    if entry.value != ABSENT or need == "nothing":
        return True
    return need == "secret" and not entry.gone


class Certain(NamedTuple):
    """The spans of which ``judge`` need not be asked, for some keys at once: by far the most containers have such.

    One that begins after ``since`` and not before ``settled``, and ends not before ``written``, is fresh.
    """

    since: float  # our first look: who resolved before may hold what was there before
    settled: float  # by then the newest values had been written
    written: float  # the newest values were written not before
    unchanged: bool  # no key has changed since our first look: who began before counts as ``before_us``


def certain(histories: Iterable[tuple[Entry, ...]], first_look: float, need: Need) -> Certain | None:
    """What is certain of these keys; None: each span must be judged."""
    settled, written, unchanged = first_look, 0.0, True
    for entries in histories:
        newest = entries[0]
        if newest.value == UNOBSERVED or not _starts(need, newest):
            return None
        written = max(written, newest.lo)
        if len(entries) > 1:
            settled, unchanged = max(settled, newest.hi), False
    return Certain(first_look, settled, written, unchanged)


def times(entries: tuple[Entry, ...]) -> tuple[float, float] | None:
    """All that a verdict on a key depends on, where it held one value ever since we look; None: it depends on more."""
    only = entries[0]
    return (only.lo, only.hi) if len(entries) == 1 and only.value != UNOBSERVED else None


def _entry_state(entry: Entry, now: Entry, until: float) -> State:
    if entry.value == UNOBSERVED:
        # What was there unobserved cannot be the current value if all of it lies before that value existed anywhere.
        return State.STALE if until < now.born else State.SUSPECT
    return State.FRESH if entry.value == now.value else State.STALE


def consumers(pod: Pod, secret: str) -> Iterable[tuple[ContainerSpec, ContainerRun, Use]]:
    """Every use of one Secret in a pod, with its container's spec and run."""
    for spec, run in zip(pod.containers, pod.runs, strict=True):
        for use in spec.uses:
            if use.secret == secret:
                yield spec, run, use
