"""Vaults that refuse, stall, lie or do not exist: each is named in one safe line, and never followed astray."""

from __future__ import annotations

import pytest
from support.servers import Vaults

WANTED = frozenset(f"secret-{i:04}" for i in range(60))


@pytest.fixture
def kv(azure: Vaults) -> Vaults:
    """A vault of 60 secrets, three pages."""
    azure.fill("kv", sorted(WANTED))
    return azure


@pytest.mark.parametrize(
    ("fault", "cause", "words"),
    [
        ("401:AKV10022", "unauthorized", "AKV10022"),
        ("403:ForbiddenByRbac", "access-denied", "readMetadata"),
        ("403:AccessDenied", "access-denied", "AccessDenied"),
        ("403:ForbiddenByFirewall", "forbidden-by-firewall", "network rules"),
        ("503", "server-error", "503"),
        ("drop", "unreachable", "closed the connection"),
        ("cut", "unreachable", "closed the connection"),
        ("garbage", "bad-answer", "no JSON"),
        ("huge:5", "bad-answer", "MiB"),
        ("endless", "bad-answer", "without end"),
        ("endless:self", "bad-answer", "without end"),
        ("foreign-next", "bad-answer", "another address"),
        ("foreign-next:kv.vault.azure.net.evil.example", "bad-answer", "another address"),
    ],
)
def test_each_fault_has_its_cause(kv: Vaults, fault: str, cause: str, words: str) -> None:
    """The trouble names its cause in one word, the vault, and what an operator needs to know."""
    kv.kv.fault(fault)
    view = kv.client("kv").sweep(WANTED, kv.soon())
    assert view.trouble is not None
    assert view.trouble.cause == cause
    assert words in view.trouble.detail
    assert "kv.vault.azure.net" in view.trouble.detail
    assert view.sources == {}
    assert len(kv.kv.audit) < 40


def test_a_denial_names_who_lacks_what(azure: Vaults) -> None:
    """The identity's id and the missing right are told; the rest of the body is not."""
    azure.fill("kv", ["a"])
    identity = "11111111-2222-3333-4444-555555555555"
    azure.kv.grant(identity, list=False)
    trouble = azure.client("kv", identity).sweep(frozenset({"a"}), azure.soon()).trouble
    assert trouble is not None
    assert identity in trouble.detail
    assert "Microsoft.KeyVault/vaults/secrets/readMetadata/action" in trouble.detail
    assert "iss=" not in trouble.detail
    assert "\n" not in trouble.detail


def test_a_token_refused_by_the_login_host_is_told_by_its_code(kv: Vaults) -> None:
    """Of a failed login only the AADSTS code is told."""
    kv.kv.fault("401", operation="token")
    trouble = kv.client("kv").sweep(WANTED, kv.soon()).trouble
    assert trouble is not None
    assert trouble.cause == "credential"
    assert "AADSTS" in trouble.detail


def test_a_challenge_for_a_foreign_resource_gets_no_token(kv: Vaults) -> None:
    """A vault that asks for a token for something else is refused: the check of the challenge stays on."""
    kv.fill("never-asked-before", ["a"])  # the SDK remembers the challenge of each vault for the whole process
    kv.kv.fault("foreign-challenge:https://evil.example", operation="challenge")
    trouble = kv.client("never-asked-before").sweep(frozenset({"a"}), kv.soon()).trouble
    assert trouble is not None
    assert "foreign resource" in trouble.detail
    assert not kv.operations("token")


def test_a_glitch_does_not_cost_the_sweep(kv: Vaults) -> None:
    """One 503 and one cut connection are repeated; the sweep comes through whole."""
    kv.kv.fault("503", times=1)
    kv.kv.fault("drop", times=1)
    view = kv.client("kv").sweep(WANTED, kv.soon())
    assert view.trouble is None
    assert len(view.sources) == 60


def test_an_empty_page_does_not_end_the_list(kv: Vaults) -> None:
    """A page without items but with a link leads on."""
    kv.kv.fault("empty-page", times=1)
    assert len(kv.client("kv").sweep(WANTED, kv.soon()).sources) == 60


def test_throttling_is_waited_out_within_the_deadline(kv: Vaults) -> None:
    """A 429 whose Retry-After fits into the cycle is obeyed, and the sweep goes on where it was."""
    kv.kv.fault("429:1", times=1)
    client = kv.client("kv")
    began = kv.clock.monotonic()
    view = client.sweep(WANTED, kv.soon())
    assert view.trouble is None
    assert kv.clock.monotonic() - began >= 1.0
    assert len(kv.operations("list")) == 4


def test_throttling_beyond_the_deadline_silences_the_client(kv: Vaults) -> None:
    """A vault that asks for a minute is left alone for it: no further request is sent, other vaults go on."""
    kv.fill("other", ["a"])
    kv.kv.fault("429:60", vault="kv")
    client = kv.client("kv")
    first = client.sweep(WANTED, kv.soon(5))
    sent = len(kv.operations("list"))
    second = client.sweep(WANTED, kv.soon(5))
    assert first.trouble is not None
    assert second.trouble is not None
    assert (first.trouble.cause, second.trouble.cause) == ("throttled", "throttled")
    assert 50 < client.blocked_seconds <= 60
    assert len(kv.operations("list")) == sent == 1
    assert kv.client("other").sweep(frozenset({"a"}), kv.soon()).trouble is None


def test_throttling_without_a_word_is_answered_with_growing_patience(kv: Vaults) -> None:
    """A 429 without Retry-After is met with pauses of our own."""
    kv.kv.fault("429", times=1)
    view = kv.client("kv").sweep(WANTED, kv.soon())
    assert view.trouble is None


def test_a_vault_that_never_answers_costs_no_more_than_the_deadline(kv: Vaults) -> None:
    """The deadline of the cycle bounds a sweep that makes no progress."""
    kv.kv.fault("503")
    trouble = kv.client("kv", requests_per_second=1.0).sweep(WANTED, kv.soon(0.5)).trouble
    assert trouble is not None
    assert trouble.cause in ("deadline", "server-error")


def test_a_vault_too_big_is_told_as_such(azure: Vaults) -> None:
    """The number of pages is bounded."""
    azure.fill("kv", sorted(WANTED))
    trouble = azure.client("kv", max_pages=2).sweep(WANTED, azure.soon()).trouble
    assert trouble is not None
    assert "more than 2 pages" in trouble.detail


def test_the_pace_is_kept(kv: Vaults) -> None:
    """No more requests a second are sent than the policy allows, after a first burst of one second's worth."""
    client = kv.client("kv", requests_per_second=2.0)
    began = kv.clock.monotonic()
    client.sweep(WANTED, kv.soon())
    assert kv.clock.monotonic() - began >= 0.5


def test_closing_ends_a_wait(kv: Vaults) -> None:
    """A client that is closed gives up its waits at once."""
    kv.kv.fault("429:15")
    client = kv.client("kv")
    client.close()
    trouble = client.sweep(WANTED, kv.soon(100)).trouble
    assert trouble is not None
    assert trouble.cause == "stopped"
