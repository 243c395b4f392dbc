"""No verdict `fresh` or `stale` ever contradicts what a container really received, whatever happened.

Two exceptions, by design: `assumed` (a state of its own, never checked here), and a return to a value from before the
first look. And one that no agent could see: a value that a person wrote into the Secret while nobody looked, before the
same value became a version of the vault.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.living import KEY, LivingPod
from support.timelines import FOREIGN, SOURCES, Timeline

from agent.model import ContainerVerdict, State, Use

VALUES = ("v0", "v1", "v2")
"""Few, so that old values come back."""
KEYS = (*SOURCES, FOREIGN)
USES = (
    (Use(KEY.name, "env", ("a",), optional=True),),
    (Use(KEY.name, "env", ("b",), optional=True),),
    (Use(KEY.name, "env", ("a",), optional=True), Use(KEY.name, "env", ("b",), optional=True)),
    (Use(KEY.name, "env", (FOREIGN,), optional=True),),
    (Use(KEY.name, "envFrom", None, optional=True),),
    (Use(KEY.name, "env", ("a",)), Use(KEY.name, "env", ("b",), optional=True)),
    (Use(KEY.name, "env", (FOREIGN,)),),
    (Use(KEY.name, "envFrom", None),),
)
PAUSES = (0.0, 0.05, 0.3, 0.9, 2.5, 7.0, 40.0, 700.0, 5000.0)

Step = tuple[float, str, dict[str, Any]]
"""Seconds in which nothing happens, then what happens."""
CLIMATES = (
    # A quiet cluster, a hectic one, one where people edit, an agent that comes and goes, and everything at once.
    {"rotate": 3, "sync": 5, "start": 5, "restart": 2, "sweep": 2, "bookmark": 2},
    {"rotate": 6, "sync": 6, "start": 6, "restart": 3, "annotate": 2, "toggle": 1, "sweep": 2, "delete": 1},
    {"rotate": 4, "edit": 4, "sync": 6, "start": 5, "restart": 2, "slow": 4, "hasten": 2, "read": 4, "sweep": 2},
    {"edit": 6, "sync": 4, "start": 5, "restart": 2, "annotate": 2, "unlabel": 1, "breaks": 2, "list": 2, "sweep": 2},
    {"rotate": 4, "sync": 6, "edit": 3, "start": 5, "restart": 3, "breaks": 3, "read": 4, "list": 1, "sweep": 2},
    {"rotate": 3, "sync": 4, "start": 5, "restart": 2, "save": 3, "stop": 3, "begin": 3, "sweep": 2, "annotate": 1},
    {
        "rotate": 3, "toggle": 1, "sync": 4, "edit": 3, "annotate": 1, "unlabel": 1, "delete": 1, "start": 5,
        "restart": 3, "begin": 2, "list": 2, "sweep": 3, "bookmark": 1, "save": 2, "stop": 1, "breaks": 2, "slow": 1,
        "hasten": 1, "read": 1,
    },
)  # fmt: skip


def tale(random: Random, climate: dict[str, int], length: int) -> list[Step]:
    """What happens in a world."""
    names = random.choices(list(climate), list(climate.values()), k=length)
    return [(random.choice(PAUSES), name, _details(random, name)) for name in names]


def _details(random: Random, name: str) -> dict[str, Any]:
    run = {"until_read": 3 * random.random(), "until_started": 2 * random.random(), "lag": 2 * random.random()}
    match name:
        case "rotate":
            return {"name": random.choice(list(SOURCES)), "value": random.choice(VALUES)}
        case "toggle":
            return {"name": random.choice(list(SOURCES))}
        case "sync":
            return {"seconds": random.random()}
        case "edit":
            return {"key": random.choice(KEYS), "value": random.choice((*VALUES, "by-hand", None))}
        case "start":
            return {"uses": random.choice(USES), "clock": random.uniform(-4.9, 4.9), **run}
        case "restart":
            return {"index": random.randrange(4), **run}
    return {}


def live(story: list[Step], *, look_first: bool = True, **clocks: Any) -> Timeline:
    """A world with a Secret that was synced, in which all this happens; the agent has looked, or comes at any time."""
    timeline = Timeline(**clocks)
    for name in SOURCES:
        timeline.rotate(name, VALUES[0])
    timeline.wait(60)
    timeline.sync(0.1)
    timeline.wait(60)
    if look_first:
        timeline.begin()
        timeline.sweep()
        timeline.save()
        timeline.wait(20)
    for pause, name, details in story:
        timeline.wait(pause)
        getattr(timeline, name)(**details)
    return timeline


def contradiction(timeline: Timeline, pod: LivingPod, verdict: ContainerVerdict) -> str:
    """How a verdict is wrong; empty: it is not, or it is one of the exceptions."""
    known = timeline.known
    if verdict.state not in (State.FRESH, State.STALE) or known is None:
        return ""
    read = pod.starts[-1].read
    then = timeline.at(read)
    got, current = then.data or {}, timeline.history[-1].data or {}
    keys = {key for use in pod.uses for key in (use.keys or known.keys)}
    differs = {key for key in keys if got.get(key) != current.get(key)}
    if verdict.state is State.FRESH:
        return f"fresh, but {differs} differ" if differs else ""
    if differs or not keys:
        return ""
    before_us = read <= known.first_look
    unseen = any(begin <= then.at <= end for begin, end in timeline.blind)
    by_hand = unseen and keys & then.by_hand
    return "" if before_us or by_hand else "stale, but it holds the current values"


@settings(max_examples=800, deadline=None)
@given(st.integers(0, 2**32))
def test_no_verdict_fresh_or_stale_contradicts_what_the_container_received(seed: int) -> None:
    """Rotations, edits by hand, deletes, restarts, watches that break, crashes of the agent: fresh is fresh, stale is
    stale, and what cannot be known is neither.
    """
    check(seed)


def check(seed: int) -> Counter[State]:
    """One world, lived and judged; the states of its containers. AssertionError with the whole tale."""
    random = Random(seed)
    story = tale(random, random.choice(CLIMATES), random.randrange(4, 30))
    given = {
        "vault_clock": random.uniform(-14, 14),
        "eso_clock": random.uniform(-14, 14),
        "extract": random.random() < 0.3,
        "look_first": random.random() < 0.8,
    }
    return verify(story, given)


def verify(story: list[Step], given: dict[str, Any]) -> Counter[State]:
    timeline = live(story, **given)
    report, running = timeline.judge()
    for verdict in report.verdicts:
        pod = running[verdict.pod.name]
        wrong = contradiction(timeline, pod, verdict)
        assert not wrong, (
            f"{pod.name}: {wrong}; {verdict.evidence}\n{pod}\nhistory {timeline.history}\n"
            f"remembered {timeline.known}\nblind {timeline.blind}\n{given}\n{story}"
        )
    return Counter(verdict.state for verdict in report.verdicts)
