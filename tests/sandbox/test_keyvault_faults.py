"""What goes wrong on demand looks to the real SDK as it does when Azure goes wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from keyvault_harness import Sandbox, sandbox

from agent.sandbox.keyvault import Fault


@pytest.fixture
def world() -> Iterator[Sandbox]:
    with sandbox() as running:
        vault = running.kv.vault("prod-kv")
        for number in range(30):
            vault.set(f"s{number:02}", "v")
        running.kv.vault("other-kv").set("k", "v")
        yield running


@pytest.mark.parametrize("inner", ["AccessDenied", "ForbiddenByRbac", "ForbiddenByFirewall", "ForbiddenByConnection"])
def test_403_by_inner_code_strikes_one_identity(world: Sandbox, inner: str) -> None:
    """One identity is locked out with the inner code that was asked for, another reads on."""
    world.kv.fault(f"403:{inner}", identity="agent")
    with pytest.raises(HttpResponseError) as caught:
        next(world.client("prod-kv", "agent").list_properties_of_secrets())
    assert caught.value.status_code == 403
    assert caught.value.error is not None
    assert caught.value.error.innererror == {"code": inner}
    assert world.client("prod-kv", "eso").get_secret("s01").value == "v"


def test_a_fault_counts_down_and_keeps_to_its_vault_operation_and_secret(world: Sandbox) -> None:
    """Two gets of one secret in one vault fail, nothing else does, and the third get succeeds."""
    rule = world.kv.fault("503", vault="prod-kv", operation="get", secret="S01", times=2)
    client = world.client("prod-kv")
    assert client.get_secret("s02").value == "v"
    assert len(list(client.list_properties_of_secrets())) == 30
    for _ in range(2):
        with pytest.raises(HttpResponseError) as caught:
            client.get_secret("s01")
        assert caught.value.status_code == 503
    assert client.get_secret("s01").value == "v"
    assert (rule.struck, rule.remaining) == (2, 0)


@pytest.mark.parametrize(("words", "retry_after"), [("429", None), ("429:30", "30")])
def test_429_with_and_without_retry_after(world: Sandbox, words: str, retry_after: str | None) -> None:
    """A throttled client is told when to come back, or not told."""
    world.kv.fault(words)
    with pytest.raises(HttpResponseError, match="Throttled") as caught:
        world.client("prod-kv").get_secret("s01")
    assert caught.value.status_code == 429
    assert caught.value.response is not None
    assert caught.value.response.headers.get("Retry-After") == retry_after  # type: ignore[attr-defined]


def test_the_sdk_comes_through_a_short_outage_by_itself(world: Sandbox) -> None:
    """With its retries on, one 429 (come back at once) and one dropped connection go unnoticed."""
    world.kv.fault("429:0", times=1)
    world.kv.fault("drop", times=1)
    client = world.client("prod-kv", retry_total=3, retry_backoff_factor=0.01)
    assert client.get_secret("s01").value == "v"
    assert [r.code for r in world.kv.audit if r.operation == "get"] == [429, 0, 200]


def test_401_with_a_good_token(world: Sandbox) -> None:
    """A vault that takes no token at all ends in an authentication error, after one more try with a new challenge."""
    world.kv.fault("401")
    with pytest.raises(ClientAuthenticationError):
        world.client("prod-kv").get_secret("s01")


@pytest.mark.parametrize("words", ["drop", "cut"])
def test_connections_break(world: Sandbox, words: str) -> None:
    """The connection ends before the answer, or in the middle of it."""
    world.kv.fault(words, operation="list")
    with pytest.raises((ServiceRequestError, ServiceResponseError, HttpResponseError)):
        next(world.client("prod-kv").list_properties_of_secrets())
    assert world.client("prod-kv").get_secret("s01").value == "v"


def test_a_half_open_connection_never_answers(world: Sandbox) -> None:
    """The client's own timeout ends the wait, and the vault can be stopped while others still hang."""
    world.kv.fault("hang")
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        world.client("prod-kv").get_secret("s01", read_timeout=0.3)
    assert world.kv.audit[-1].operation == "get"
    assert world.kv.audit[-1].code == 0


def test_slowness_follows_the_worlds_clock(world: Sandbox) -> None:
    """An answer that takes an hour of the world's time comes at once when the clock is moved on."""
    world.kv.fault("slow:3600", times=1)

    def hurry(phase: str, request: object) -> None:
        if phase == "before" and request.operation == "get":  # type: ignore[attr-defined]
            world._loop.call_later(0.05, world.clock.advance, 3600)

    world.kv.on_request = hurry
    assert world.client("prod-kv").get_secret("s01").value == "v"


@pytest.mark.parametrize("words", ["endless", "endless:self"])
def test_lists_that_never_end(world: Sandbox, words: str) -> None:
    """Whoever follows the links for ever reads for ever; new links each time, or always the same one."""
    world.kv.fault(words, operation="list")
    headers, link, links = world.bearer(), "/secrets?api-version=7.6", []
    for _ in range(9):
        answer = world.raw("prod-kv", link.removeprefix("https://prod-kv.vault.azure.net:443"), headers=headers).json()
        assert answer["value"]
        link = answer["nextLink"]
        links.append(link)
    assert len(set(links)) == (1 if words == "endless:self" else 9)
    pages = world.client("prod-kv").list_properties_of_secrets().by_page()
    assert sum(len(list(next(pages))) for _ in range(9)) > 30


def test_an_empty_page_is_not_the_end(world: Sandbox) -> None:
    """A page without items leads on, and all secrets are found nevertheless."""
    world.kv.fault("empty-page", times=1)
    pages = [len(list(page)) for page in world.client("prod-kv").list_properties_of_secrets().by_page()]
    assert pages == [0, 25, 5]


@pytest.mark.parametrize(
    ("words", "host"),
    [("foreign-next", "vault.attacker.example"), ("foreign-next:evil.vault.azure.net", "evil.vault.azure.net")],
)
def test_a_next_link_to_a_foreign_host(world: Sandbox, words: str, host: str) -> None:
    """The link names whatever host was asked for; the sandbox answers nothing there."""
    world.kv.fault(words, operation="list")
    answer = world.raw("prod-kv", "/secrets?api-version=7.6").json()
    assert answer["nextLink"].startswith(f"https://{host}/secrets?")
    assert len(answer["value"]) == 25


def test_bodies_that_are_no_vaults_answer(world: Sandbox) -> None:
    """A body that is no JSON, and one of the size that was asked for."""
    world.kv.fault("garbage", times=1)
    answer = world.raw("prod-kv", "/secrets?api-version=7.6")
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"."):
        json.loads(answer.content)
    world.kv.fault("huge:3", times=1)
    assert 3 * 2**20 <= len(world.raw("prod-kv", "/secrets?api-version=7.6").content) <= 3 * 2**20 + 100


def test_an_error_may_say_anything(world: Sandbox) -> None:
    """A rule's message takes the place of the service's words: in errors of vault and login host, and as garbage."""
    world.kv.fault(Fault(status=403, inner="ForbiddenByRbac", message="words of the test"), times=1)
    assert world.raw("prod-kv", "/secrets?api-version=7.6").json()["error"] == {
        "code": "Forbidden", "message": "words of the test", "innererror": {"code": "ForbiddenByRbac"},
    }  # fmt: skip
    world.kv.fault(Fault(kind="garbage", message="a page"), times=1)
    assert world.raw("prod-kv", "/secrets?api-version=7.6").content == b"a page"
    world.kv.fault(Fault(status=401, message="no entry today"), operation="token", identity="agent")
    with pytest.raises(ClientAuthenticationError, match="AADSTS7000222: no entry today"):
        world.client("prod-kv", "agent").get_secret("s01")


def test_every_request_is_kept_as_it_was_sent(world: Sandbox) -> None:
    """The audit has path and query of each request, and whether it had a body."""
    world.raw("prod-kv", "/secrets?api-version=7.6&maxresults=3")
    last = world.kv.audit[-1]
    assert (last.url, last.body_size) == ("/secrets?api-version=7.6&maxresults=3", 0)
    world.client("prod-kv").set_secret("a", "value")
    assert world.kv.audit[-1].body_size > 0


def test_a_foreign_challenge_is_refused_by_the_sdk(world: Sandbox) -> None:
    """A vault that asks for a token for another resource gets none: the SDK's check of the challenge is on."""
    world.kv.vault("lure-kv")
    world.kv.fault("foreign-challenge:https://vault.attacker.example", operation="challenge")
    with pytest.raises(ValueError, match="does not match the requested domain"):
        world.client("lure-kv").get_secret("k")
    assert world.operations() == ["challenge"]


def test_the_login_host_fails_only_when_named(world: Sandbox) -> None:
    """A vault's outage leaves logins alone; a fault on `token` refuses them in AAD's words."""
    world.kv.fault("503", vault="other-kv")
    assert world.client("prod-kv").get_secret("s01").value == "v"
    world.kv.fault("401", operation="token", identity="agent")
    with pytest.raises(ClientAuthenticationError, match="AADSTS7000222"):
        world.client("prod-kv", "agent").get_secret("s01")


def test_faults_are_read_from_words() -> None:
    """Each fault has a short form; anything else is refused with the list of what is possible."""
    assert Fault.parse("403") == Fault(status=403, inner="ForbiddenByRbac")
    assert Fault.parse("429:30") == Fault(status=429, argument="30")
    assert Fault.parse("slow:2") == Fault(kind="slow", argument="2")
    for words in ("404", "418", "slow", "slow:soon", "slow:-1", "huge:nan", "fire", ""):
        with pytest.raises(ValueError, match=r"no such fault|must be a number"):
            Fault.parse(words)
