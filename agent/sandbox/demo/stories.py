"""The runbook's stories: what happens, what is expected of the agent, and how the world must be in the end.

The judge is never the agent: it is the kubelets' record of what each container received, and the API server's audit of
what the agent did.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent.sandbox.demo.stage import MONGODB, Stage

GOOD = "mongodb://app:second@db/klinematrix"
BAD = "mongodb://app:typo@db/klinematrix"
KEYS = {"LANGFUSE_PUBLIC_KEY": "langfuse-public-key", "LANGFUSE_SECRET_KEY": "langfuse-secret-key"}


@dataclass(frozen=True)
class Story:
    """One story. ``done`` is asked until it is true; then the actions must be exactly ``actions``."""

    title: str
    expected: str
    begin: Callable[[Stage], None]
    done: Callable[[Stage], bool]
    actions: tuple[str, ...]  # exactly these, in any order: workloads are recycled side by side
    refused: tuple[str, ...] = ()
    may_refuse: tuple[str, ...] = ()  # for a moment, if it comes to that
    still: Callable[[Stage], bool] = lambda stage: True  # asked when all is quiet again
    measured: bool = True  # whether "vault to last fresh container" means anything here
    seconds: float = 20.0


def _evicted(count: int) -> tuple[str, ...]:
    return ("evict",) * count


def _deny(stage: Stage) -> None:
    stage.allow_eso(False)
    stage.rotate("api-key-test", "key-three")


def _bad_password(stage: Stage) -> None:
    stage.reject(BAD)
    stage.rotate(MONGODB, BAD)


def _old_but_for_the_canary(stage: Stage) -> bool:
    old = {"MONGODB_URI": GOOD}
    return stage.holding("backend", old) == 2 == stage.ready("backend") and stage.all_hold("worker", old, 1)


STORIES = (
    Story(
        "an API key is rotated",
        "force-sync; backend's 3 pods recycled, canary first; worker, which does not use the key, left alone",
        lambda stage: stage.rotate("api-key-test", "key-two"),
        lambda stage: stage.all_hold("backend", {"API_KEY": "key-two"}, 3) and stage.ready("backend") == 3,
        ("force-sync", *_evicted(3)),
    ),
    Story(
        "the MongoDB connection string changes",
        "backend and worker on the new one; the new pods' logs say 'MongoDB connected'",
        lambda stage: stage.rotate(MONGODB, GOOD),
        lambda stage: (
            stage.all_hold("backend", {"MONGODB_URI": GOOD}, 3)
            and stage.all_hold("worker", {"MONGODB_URI": GOOD}, 1)
            and stage.log_says("backend", "MongoDB connected")
        ),
        ("force-sync", *_evicted(3), "restart"),
        may_refuse=("campaign",),
    ),
    Story(
        "two Langfuse keys are added to the ExternalSecret",
        "ESO applies the edit by itself; backend (envFrom) recycled; worker (one other key) left alone",
        lambda stage: stage.add_keys(KEYS),
        lambda stage: stage.all_hold(
            "backend", {"LANGFUSE_PUBLIC_KEY": "pk-lf-one", "LANGFUSE_SECRET_KEY": "sk-lf-one"}, 3
        ),
        _evicted(3),
    ),
    Story(
        "Ready=True, but the value is old (target.immutable)",
        "force-sync proves that ESO can read; the stale Secret is recreated; reports recycled",
        lambda stage: stage.rotate("report-signing-key", "seal-two"),
        lambda stage: stage.all_hold("reports", {"SIGNING_KEY": "seal-two"}, 2) and stage.ready("reports") == 2,
        ("force-sync", "recreate", *_evicted(2)),
    ),
    Story(
        "the vault denies ESO access",
        "sync-failed: access-denied, told with the identity; nothing deleted, nothing recycled",
        _deny,
        lambda stage: any("access-denied" in str(line.fields.get("cause")) for line in stage.lines),
        ("force-sync",),
        still=lambda stage: stage.all_hold("backend", {"API_KEY": "key-two"}, 3) and stage.ready("backend") == 3,
        measured=False,
    ),
    Story(
        "... and access is granted again",
        "ESO retries by itself; backend recycled, nothing else asked for",
        lambda stage: stage.allow_eso(True),
        lambda stage: stage.all_hold("backend", {"API_KEY": "key-three"}, 3) and stage.ready("backend") == 3,
        _evicted(3),
        measured=False,
    ),
    Story(
        "a bad password",
        "backend's canary fails; the rollout halts after one pod; the rest, and worker, still run the old value",
        _bad_password,
        lambda stage: any("canary-failed" in str(line.fields.get("reason")) for line in stage.lines),
        ("force-sync", "evict"),
        refused=("campaign",),
        still=_old_but_for_the_canary,
        measured=False,
    ),
    Story(
        "... and the rollback",
        "the old value as a new version: Secret healed, the canary recovers by itself, nobody is evicted",
        lambda stage: stage.rotate(MONGODB, GOOD),
        lambda stage: (
            stage.all_hold("backend", {"MONGODB_URI": GOOD}, 3)
            and stage.ready("backend") == 3
            and stage.all_hold("worker", {"MONGODB_URI": GOOD}, 1)
        ),
        ("force-sync",),
        may_refuse=("campaign",),
    ),
)
