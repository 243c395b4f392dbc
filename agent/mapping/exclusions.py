"""What the agent must not touch, as one table.

Each row names itself, says when it applies and why in words for an operator. Code, tests and documentation read the
same rows.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

import msgspec

from agent.model import ExternalSecret, PushSource, SecretStore, SecretView


class Scope(StrEnum):
    """What a row takes out."""

    CHAIN = "chain"  # never annotated, nothing deleted, nothing recycled for it
    TARGET = "target"  # a Secret or key that is not there is what ESO intends; the rest of the chain is judged


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All that the table looks at, from whichever object it comes."""

    generator: bool = False
    manifest: bool = False
    deleting: bool = False
    empty: bool = False
    refresh_policy: str = "Periodic"
    creation_policy: str = "Owner"
    deletion_policy: str = "Retain"
    ready_reason: str = ""
    provider: str = "azurekv"
    controller_class: str = ""
    pushed: bool = False


class Exclusion(NamedTuple):
    """One row."""

    name: str
    scope: Scope
    applies: Callable[[Facts], bool]
    reason: str


_DEFAULT_CLASSES = ("", "default")
REFRESH_POLICIES = ("Periodic", "OnChange", "CreatedOnce")
CREATION_POLICIES = ("Owner", "Orphan", "Merge", "CreateOrMerge", "None")
DELETION_POLICIES = ("Retain", "Delete", "Merge")
"""What ESO 2.9 knows; what a later one makes of another word, this agent cannot know."""

EXCLUSIONS: tuple[Exclusion, ...] = (
    Exclusion(
        "generator",
        Scope.CHAIN,
        lambda facts: facts.generator,
        "it uses a generator: every sync makes a new credential instead of reading one",
    ),
    Exclusion(
        "manifest", Scope.CHAIN, lambda facts: facts.manifest, "its target is another kind of object (target.manifest)"
    ),
    Exclusion("deleting", Scope.CHAIN, lambda facts: facts.deleting, "it is being deleted"),
    Exclusion("empty", Scope.CHAIN, lambda facts: facts.empty, "it reads nothing: it has neither data nor dataFrom"),
    Exclusion(
        "refresh-policy",
        Scope.CHAIN,
        lambda facts: facts.refresh_policy not in REFRESH_POLICIES,
        f"spec.refreshPolicy is none of {', '.join(REFRESH_POLICIES)}",
    ),
    Exclusion(
        "creation-policy",
        Scope.CHAIN,
        lambda facts: facts.creation_policy not in CREATION_POLICIES,
        f"spec.target.creationPolicy is none of {', '.join(CREATION_POLICIES)}",
    ),
    Exclusion(
        "deletion-policy",
        Scope.CHAIN,
        lambda facts: facts.deletion_policy not in DELETION_POLICIES,
        f"spec.target.deletionPolicy is none of {', '.join(DELETION_POLICIES)}",
    ),
    Exclusion(
        "push-source",
        Scope.CHAIN,
        lambda facts: facts.pushed,
        "a PushSecret writes its Secret to a vault: the cluster, not the vault, is the source of truth",
    ),
    Exclusion(
        "provider",
        Scope.CHAIN,
        lambda facts: facts.provider != "azurekv",
        "its store is not an Azure Key Vault",
    ),
    Exclusion(
        "controller-class",
        Scope.CHAIN,
        lambda facts: facts.controller_class not in _DEFAULT_CLASSES,
        "its store belongs to another controller class",
    ),
    Exclusion(
        "no-target",
        Scope.TARGET,
        lambda facts: facts.creation_policy == "None",
        "creationPolicy is None: ESO writes no Secret",
    ),
    Exclusion(
        "deleted-on-purpose",
        Scope.TARGET,
        lambda facts: facts.ready_reason == "SecretDeleted",
        "ESO deleted the Secret because the vault has none of its secrets (deletionPolicy Delete)",
    ),
    Exclusion(
        "merge-without-target",
        Scope.TARGET,
        lambda facts: facts.ready_reason == "SecretMissing",
        "creationPolicy is Merge and there is no Secret to merge into",
    ),
)
"""The exclusion matrix, the most telling reason first."""


def excluded(facts: Facts, scope: Scope = Scope.CHAIN) -> str:
    """Reason of the first row of that scope that applies; empty if none does."""
    for row in EXCLUSIONS:
        if row.scope is scope and row.applies(facts):
            return row.reason
    return ""


def excluded_by_store(store: SecretStore) -> str:
    """Why chains that read through this store are left alone; empty if they are not."""
    return _excluded_store(store.provider, store.controller)


@lru_cache(maxsize=1024)
def _excluded_store(provider: str, controller: str) -> str:
    return excluded(Facts(provider=provider, controller_class=controller))


def excluded_by_push(secret: SecretView, pushes: list[PushSource]) -> str:
    """Why a Secret that a PushSecret reads is left alone; empty if none does."""
    return _excluded_pushed(any(push.pushes(secret) for push in pushes))


@lru_cache(maxsize=2)
def _excluded_pushed(pushed: bool) -> str:
    return excluded(Facts(pushed=pushed))


def intended(es: ExternalSecret) -> str:
    """Why it is right that its Secret is not there; empty if that would be drift."""
    return _intended(es.creation_policy, es.ready_reason)


@lru_cache(maxsize=1024)
def _intended(creation_policy: str, ready_reason: str) -> str:
    return excluded(Facts(creation_policy=creation_policy, ready_reason=ready_reason), Scope.TARGET)
