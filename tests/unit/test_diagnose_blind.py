"""Why ESO fails: its words by their marks, our own look beside them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from test_diagnose_chain import external_secret, full, view

from agent.diagnose.causes import classify
from agent.model import Kind, Trouble

MISSING = Trouble(cause="store", detail="SecretStore shop/prod is not there")
NOT_GOTTEN = 'error processing spec.data[0]: could not get SecretStore "prod", secretstores "prod" not found'


@pytest.mark.parametrize(
    ("words", "cause", "told"),
    [
        ([NOT_GOTTEN], "store", "the SecretStore is missing, not ready, or not allowed here: SecretStore shop/prod is"),
        ([], "store", "ESO's words do not tell; we see: SecretStore shop/prod is not there"),
        (["hunter2 is what the tenant wrote"], "store", "ESO's words do not tell"),
        (["StatusCode=403 ForbiddenByRbac"], "access-denied", "the vault denies ESO's identity"),
    ],
)
def test_a_store_that_cannot_be_followed_is_named_where_eso_fails(words: list[str], cause: str, told: str) -> None:
    """ESO's words only say that it is about a store; which one, and what is wrong with it, is what we see ourselves."""
    found = classify(words, view(blind=(MISSING,)))
    assert found.cause == cause
    assert found.detail.startswith(told)
    assert "hunter2" not in found.detail


def test_without_our_own_look_esos_words_stand_alone() -> None:
    """The cause is told by its meaning, and nothing of the Event is repeated."""
    found = classify([NOT_GOTTEN], view())
    assert found == Trouble(cause="store", detail="the SecretStore is missing, not ready, or not allowed here")
    assert classify(["?"], view(es=external_secret(ready=False, ready_reason="SecretSyncedError"))).cause == "unknown"


def test_a_spec_that_no_sync_has_applied_names_the_store_that_keeps_it_from_that() -> None:
    """ESO does it by itself, but for a store that is not there it never will."""
    new = view(es=external_secret(synced_generation=None, ready=None), stores={}, blind=(MISSING,))
    (finding, *_) = full(new).findings
    assert finding.kind is Kind.SPEC_NOT_APPLIED
    assert finding.evidence.endswith("SecretStore shop/prod is not there")
    assert "not there" not in full(replace(new, blind=())).findings[0].evidence
