"""Faults on demand."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from apiserver_harness import NS, World, in_world, refused, secret, until, watching

from agent.sandbox.apiserver import FaultRule
from agent.sandbox.client import PODS, SECRETS


@in_world
async def test_a_fault_hits_what_it_selects_as_often_as_it_says(made: World) -> None:
    """A 503 for two lists of Secrets by one user leaves everything else alone and is over after two."""
    made.server.faults.add(
        FaultRule(effect="status", code=503, user="guest", verb="list", resource="secrets", remaining=2)
    )
    await made.client.list(SECRETS)
    async with made.client_of("guest") as guest:
        await guest.list(PODS)
        for _ in range(2):
            await refused(guest.list(SECRETS), 503, "ServiceUnavailable")
        await guest.list(SECRETS)
    assert made.server.faults.rules == []


@in_world
async def test_throttling_says_how_long_to_wait(made: World) -> None:
    """429 with Retry-After in header and body, until the rule is removed."""
    rule = made.server.faults.add(FaultRule(effect="status", code=429, retry_after=7, namespace=NS))
    url = made.client.base_url + SECRETS.path(NS)
    async with made.client.session.get(url) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
        status = await answer.json()
    assert (status["reason"], status["details"]) == ("TooManyRequests", {"retryAfterSeconds": 7})
    made.server.faults.remove(rule)
    await made.client.list(SECRETS, NS)


@in_world
async def test_an_answer_may_be_anything(made: World) -> None:
    """Whatever was asked is answered with the bytes and the code of the rule, once."""
    made.server.faults.add(FaultRule(effect="answer", code=299, body=b"no \xff JSON", remaining=1))
    async with made.client.session.get(made.client.base_url + PODS.path()) as answer:
        assert (answer.status, await answer.read()) == (299, b"no \xff JSON")
    assert made.server.audit[-1].code == 299
    assert await made.client.list(PODS) == []


@in_world
async def test_slowness_is_on_the_worlds_clock(made: World) -> None:
    """A request delayed by an hour is answered when the world has moved by an hour."""
    made.server.faults.add(FaultRule(effect="delay", seconds=3600.0, remaining=1))
    call = asyncio.create_task(made.client.list(SECRETS))
    await until(lambda: not made.server.faults.rules)
    assert not call.done()
    made.clock.advance(3600)
    assert await call == []


@in_world
async def test_a_held_request_is_answered_when_the_rule_ends(made: World) -> None:
    """With what is there then; one that the rule let pass since is not held up by it."""
    rule = made.server.faults.add(FaultRule(effect="hold", verb="list", resource="secrets", remaining=1))
    call = asyncio.create_task(made.client.list(SECRETS))
    await until(lambda: not made.server.faults.rules)
    await made.client.create(SECRETS, NS, secret("s"))
    assert [found["metadata"]["name"] for found in await made.client.list(SECRETS)] == ["s"]
    assert not call.done()
    made.server.faults.remove(rule)
    assert [found["metadata"]["name"] for found in await call] == ["s"]


@pytest.mark.parametrize(("effect", "applied"), [("drop", False), ("drop-after", True)])
def test_connections_are_dropped_before_or_after_the_deed(effect: str, applied: bool) -> None:
    """drop: unheard. drop-after: done, but the client cannot know."""

    @in_world
    async def run(made: World) -> None:
        made.server.faults.add(FaultRule(effect=effect, verb="create", remaining=1))  # type: ignore[arg-type]
        with pytest.raises(aiohttp.ClientError):
            await made.client.create(SECRETS, NS, secret("s"))
        assert (await made.client.get_or_none(SECRETS, NS, "s") is not None) is applied
        await made.client.create(SECRETS, NS, secret("t"))

    run()


@in_world
async def test_a_half_open_request_is_never_answered(made: World) -> None:
    """The connection stays and says nothing; the client's own timeout has to end it."""
    made.server.faults.add(FaultRule(effect="half-open", verb="list", remaining=1))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(made.client.list(SECRETS), 0.1)
    assert await made.client.list(SECRETS) == []


@in_world
async def test_running_watches_can_fall_silent(made: World) -> None:
    """half-open for watches silences those that run, without closing them; new watches are silent too until it ends."""
    async with watching(made.client, SECRETS) as watched, watching(made.client, PODS) as others:
        await until(lambda: made.server.running_watches == 2)
        rule = made.server.faults.add(FaultRule(effect="half-open", verb="watch", resource="secrets"))
        await made.client.create(SECRETS, NS, secret("s"))
        await made.client.create(PODS, NS, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main"}]}})
        await until(lambda: others.of())
        assert (watched.of(), watched.ended.is_set()) == ([], False)
        made.server.faults.remove(rule)
        async with watching(made.client, SECRETS) as again:
            await until(lambda: again.of() == [("ADDED", "s")])


@in_world
async def test_running_watches_can_be_broken(made: World) -> None:
    """break-watches closes those that run, once; the next ones work."""
    async with watching(made.client, SECRETS) as watched, watching(made.client, PODS) as others:
        await until(lambda: made.server.running_watches == 2)
        made.server.faults.add(FaultRule(effect="break-watches", resource="secrets"))
        await watched.ended.wait()
        assert not others.ended.is_set()
    async with watching(made.client, SECRETS) as again:
        await made.client.create(SECRETS, NS, secret("s"))
        await until(again.of)


@in_world
async def test_versions_can_be_declared_gone(made: World) -> None:
    """gone answers 410 to watches and continue tokens, and leaves plain lists alone."""
    for index in range(3):
        await made.client.create(SECRETS, NS, secret(f"s{index}"))
    page = await made.client.request("GET", SECRETS.path(), query={"limit": "1"})
    made.server.faults.add(FaultRule(effect="gone"))
    await refused(
        made.client.request("GET", SECRETS.path(), query={"watch": "1", "resourceVersion": "1"}), 410, "Expired"
    )
    token = {"limit": "1", "continue": page["metadata"]["continue"]}
    await refused(made.client.request("GET", SECRETS.path(), query=token), 410, "Expired")
    assert len(await made.client.list(SECRETS, limit="500")) == 3
    made.server.faults.clear()
    await made.client.request("GET", SECRETS.path(), query=token)
