"""Which vault secrets an ExternalSecret reads, and which keys of its Secret they feed. Pure; knows no wire format."""

from agent.mapping.exclusions import (
    EXCLUSIONS,
    Exclusion,
    Facts,
    Scope,
    excluded,
    excluded_by_push,
    excluded_by_store,
    intended,
)
from agent.mapping.keys import BadKey, vault_secret
from agent.mapping.reading import Reading, expected_keys, feeds, resolve, uses
from agent.mapping.spec import Entry, Spec
from agent.mapping.vaults import vault_host

__all__ = [
    "EXCLUSIONS",
    "BadKey",
    "Entry",
    "Exclusion",
    "Facts",
    "Reading",
    "Scope",
    "Spec",
    "excluded",
    "excluded_by_push",
    "excluded_by_store",
    "expected_keys",
    "feeds",
    "intended",
    "resolve",
    "uses",
    "vault_host",
    "vault_secret",
]
