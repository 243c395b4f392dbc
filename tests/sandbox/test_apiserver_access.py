"""Tokens, forbidden verbs, the audit log and hooks."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from apiserver_harness import NS, World, external_secret, in_world, refused, secret

from agent.sandbox.apiserver import AuditEntry, DropRequest, ForbidRule, Phase
from agent.sandbox.apiserver.kinds import SECRETS as SECRET_KIND
from agent.sandbox.client import EXTERNAL_SECRETS, NAMESPACES, PODS, SECRETS, Object


@in_world
async def test_a_token_is_needed(made: World) -> None:
    """Without a token, or with an unknown one, every API path is 401 with a Status."""
    for token in ("", "wrong"):
        async with made.client_of(token) as stranger:
            for path in ("/api/v1/secrets", "/version", "/api/v1/unicorns"):
                error = await refused(stranger.request("GET", path), 401, "Unauthorized")
                assert error.status["kind"] == "Status"


@pytest.mark.parametrize(
    ("rule", "method", "path", "message"),
    [
        (
            ForbidRule(user="guest", verb="list", resource="secrets", namespace=NS), "GET", SECRETS.path(NS),
            'secrets is forbidden: User "guest" cannot list resource "secrets" in API group "" '
            f'in the namespace "{NS}"',
        ),
        (
            ForbidRule(user="guest", verb="list", resource="secrets", namespace=NS), "GET", SECRETS.path(),
            'secrets is forbidden: User "guest" cannot list resource "secrets" in API group "" at the cluster scope',
        ),
        (
            ForbidRule(verb="get", resource="secrets"), "GET", SECRETS.path(NS, "s"),
            'secrets "s" is forbidden: User "guest" cannot get resource "secrets" in API group "" '
            f'in the namespace "{NS}"',
        ),
        (
            ForbidRule(resource="pods/eviction", namespace=NS), "POST", PODS.path(NS, "p", "eviction"),
            f'pods "p" is forbidden: User "guest" cannot create resource "pods/eviction" in API group "" '
            f'in the namespace "{NS}"',
        ),
        (
            ForbidRule(verb="delete"), "DELETE", EXTERNAL_SECRETS.path(NS, "e"),
            'externalsecrets.external-secrets.io "e" is forbidden: User "guest" cannot delete resource '
            f'"externalsecrets" in API group "external-secrets.io" in the namespace "{NS}"',
        ),
    ],
)  # fmt: skip
def test_what_the_world_forbids_is_refused_in_rbacs_words(
    rule: ForbidRule, method: str, path: str, message: str
) -> None:
    """403 Forbidden names user, verb, resource, group and namespace."""

    @in_world
    async def run(made: World) -> None:
        made.server.forbid.append(rule)
        async with made.client_of("guest") as guest:
            error = await refused(guest.request(method, path), 403, "Forbidden")
        assert error.status["message"] == message
        assert error.status["details"]["kind"] == message.split(" ")[0].split(".")[0]

    run()


@in_world
async def test_a_refusal_hits_only_what_it_names(made: World) -> None:
    """Other users, verbs, resources and namespaces go on."""
    made.server.forbid.append(ForbidRule(user="guest", verb="list", resource="secrets", namespace=NS))
    await made.client.list(SECRETS)
    async with made.client_of("guest") as guest:
        await guest.list(SECRETS, "default")
        await guest.list(PODS, NS)
        await guest.create(SECRETS, NS, secret("s"))
        await guest.get(SECRETS, NS, "s")


@in_world
async def test_access_reviews_answer_as_the_rules_act(made: World) -> None:
    """SelfSubjectAccessReview says allowed or not, for one namespace and for all of them."""
    made.server.forbid.append(ForbidRule(user="guest", verb="list", resource="secrets", namespace=NS))

    async def allowed(client: Any, namespace: str, verb: str = "list") -> bool:
        spec = {"resourceAttributes": {"namespace": namespace, "verb": verb, "resource": "secrets", "group": ""}}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
        answer = await client.request("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=body)
        return bool(answer["status"]["allowed"])

    async with made.client_of("guest") as guest:
        assert not await allowed(guest, NS)
        assert not await allowed(guest, "")
        assert await allowed(guest, "default")
        assert await allowed(guest, NS, "get")
    assert await allowed(made.client, NS)


@in_world
async def test_the_audit_log_records_every_request(made: World) -> None:
    """User, verb, resource, subresource, place, query, agent, code, dry-run and the body of writes, in order."""
    made.server.audit.clear()
    async with made.client_of("guest", "manager-x") as guest:
        await guest.create(EXTERNAL_SECRETS, NS, external_secret("e"))
        await guest.merge_patch(EXTERNAL_SECRETS, NS, "e", {"status": {}}, subresource="status")
        await guest.list(SECRETS)
        await refused(guest.get(SECRETS, NS, "none"), 404)
        await guest.request("DELETE", EXTERNAL_SECRETS.path(NS, "e"), query={"dryRun": "All"})
        await guest.get(NAMESPACES, None, NS)
    create, status, listing, missing, dry, home = made.server.audit
    assert {entry.user for entry in made.server.audit} == {"guest"}
    assert (create.verb, create.resource, create.group, create.namespace, create.name, create.code) == (
        "create", "externalsecrets", "external-secrets.io", NS, "", 201,
    )  # fmt: skip
    assert b'"secretStoreRef"' in create.body
    assert create.query == {"fieldManager": "manager-x"}
    assert (status.verb, status.subresource, status.name) == ("patch", "status", "e")
    assert (listing.verb, listing.namespace, listing.code) == ("list", None, 200)
    assert listing.body_size_out > 50
    assert (missing.verb, missing.code) == ("get", 404)
    assert (dry.verb, dry.dry_run, create.dry_run) == ("delete", True, False)
    assert (home.resource, home.namespace, home.name) == ("namespaces", "", NS)
    assert "aiohttp" in home.user_agent
    assert abs(home.at - made.clock.now()) < 60


@in_world
async def test_a_hook_sees_each_request_before_and_after(made: World) -> None:
    """Before: nothing has happened yet. After: the write is in the store, and the answer is not sent yet."""
    seen: list[tuple[Phase, str, int, bool]] = []

    async def hook(phase: Phase, entry: AuditEntry) -> None:
        await asyncio.sleep(0)
        there = any(stored.name == "s" for stored in made.server.store.scan(SECRET_KIND, NS))
        seen.append((phase, entry.verb, entry.code, there))

    made.server.on_request = hook
    await made.client.create(SECRETS, NS, secret("s"))
    assert seen == [("before", "create", 0, False), ("after", "create", 201, True)]


@pytest.mark.parametrize(("phase", "applied"), [("before", False), ("after", True)])
def test_a_hook_can_cut_the_connection(phase: Phase, applied: bool) -> None:
    """DropRequest before: nothing is done; after: it is done. Either way the client only sees the connection end."""

    @in_world
    async def run(made: World) -> None:
        def hook(now: Phase, entry: AuditEntry) -> None:
            if now == phase and entry.verb == "create":
                raise DropRequest

        made.server.on_request = hook
        with pytest.raises(aiohttp.ClientError):
            await made.client.create(SECRETS, NS, secret("s"))
        assert (await made.client.get_or_none(SECRETS, NS, "s") is not None) is applied

    run()


@in_world
async def test_a_client_that_dies_does_not_stop_its_request_half_way(made: World) -> None:
    """A hook that is waiting when the client goes away still finishes, and the request with it."""
    arrived, release, finished = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def hook(phase: Phase, entry: AuditEntry) -> None:
        if entry.verb == "create" and phase == "before":
            arrived.set()
            await release.wait()
        if entry.verb == "create" and phase == "after":
            finished.set()

    made.server.on_request = hook
    async with made.client_of("guest") as guest:
        call: asyncio.Task[Object] = asyncio.create_task(guest.create(SECRETS, NS, secret("s")))
        await arrived.wait()
        call.cancel()
    release.set()
    await finished.wait()
    assert await made.client.get_or_none(SECRETS, NS, "s") is not None


@in_world
async def test_our_own_errors_are_a_status_too(made: World) -> None:
    """Whatever breaks inside answers 500 InternalError without a traceback, and the server goes on."""

    def hook(phase: Phase, entry: AuditEntry) -> None:
        if phase == "before" and entry.verb == "list":
            raise RuntimeError("a secret detail")

    made.server.on_request = hook
    error = await refused(made.client.list(SECRETS), 500, "InternalError")
    assert "secret detail" not in str(error.status)
    assert "Traceback" not in str(error.status)
    await made.client.create(SECRETS, NS, secret("s"))
