"""What each kind of finding means, in an SRE's words: while it is there, and once it is over."""

from __future__ import annotations

from agent.model import Kind, Link

KIND_WORDS: dict[Kind, str] = {
    Kind.STALE: "ESO has not fetched the newest version",
    Kind.SYNC_FAILED: "ESO cannot sync",
    Kind.SPEC_NOT_APPLIED: "the edited spec is not synced yet",
    Kind.MISSING_SECRET: "the Secret is missing",
    Kind.MISSING_KEY: "the Secret lacks keys",
    Kind.CHANGED_ELSEWHERE: "the Secret's data were changed by someone other than ESO",
    Kind.STUCK: "the Secret is immutable and keeps its old value",
    Kind.STUCK_NEEDS_HAND: "ESO cannot update the Secret, a person has to",
    Kind.CONFLICT: "two ExternalSecrets claim the same key",
    Kind.STALE_POD: "containers run an old value",
    Kind.SUSPECT: "containers may run an old value",
    Kind.UNKNOWN: "cannot be judged",
    Kind.PINNED: "pinned, ESO never fetches a newer value",
    Kind.EXCLUDED: "left alone by this agent",
    Kind.DISABLED: "the newest version is disabled in the vault",
    Kind.EXPIRING: "a vault secret expires soon",
    Kind.EXPIRED: "a vault secret has expired",
    Kind.NOT_YET_VALID: "a vault secret is not valid yet",
}
"""What each kind of finding means, to follow the name of the object."""

OVER_WORDS: dict[Kind, str] = {
    Kind.STALE: "ESO has fetched the newest version",
    Kind.SYNC_FAILED: "ESO syncs again",
    Kind.SPEC_NOT_APPLIED: "the edited spec is synced",
    Kind.MISSING_SECRET: "the Secret is there",
    Kind.MISSING_KEY: "the Secret has all its keys",
    Kind.CHANGED_ELSEWHERE: "the Secret's data are ESO's again",
    Kind.STUCK: "the immutable Secret is written anew",
    Kind.STUCK_NEEDS_HAND: "ESO can update the Secret",
    Kind.CONFLICT: "one ExternalSecret alone claims the key",
    Kind.STALE_POD: "no container is known to run an old value any more",
}
"""What is so once a drift is over, with nothing else in its place."""

LINK_WORDS: dict[Link, str] = {
    Link.VAULT: "vault -> externalsecret",
    Link.SECRET: "externalsecret -> secret",
    Link.CONTAINER: "secret -> container",
}
"""Each hop of a chain as a person draws it."""
