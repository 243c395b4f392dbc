"""What an administrator shapes around the objects: quotas, which versions of a group are served, who asks."""

from __future__ import annotations

from typing import Any

from apiserver_harness import NS, World, in_world, refused, secret

from agent.sandbox.client import CONFIG_MAPS, EXTERNAL_SECRETS, SECRETS

REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def quota(**hard: str) -> dict[str, Any]:
    """A ResourceQuota."""
    named = {name.replace("_", "/"): number for name, number in hard.items()}
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "tight", "namespace": NS},
        "spec": {"hard": named},
    }


@in_world
async def test_a_quota_refuses_the_object_that_is_one_too_many(made: World) -> None:
    """403 in the words of kube-apiserver, for a dry-run and a name that is taken, too; other kinds do not count."""
    made.server.seed(quota(secrets="1", count_secrets="1"))
    await made.client.create(SECRETS, NS, secret("one"))
    words = (
        "is forbidden: exceeded quota: tight, requested: count/secrets=1,secrets=1, used: count/secrets=1,secrets=1, "
        "limited: count/secrets=1,secrets=1"
    )
    for name, query in (("two", {}), ("two", {"dryRun": "All"}), ("one", {})):
        asked = made.client.request("POST", SECRETS.path(NS), query=query, body=secret(name))
        error = await refused(asked, 403, "Forbidden")
        assert error.status["message"] == f'secrets "{name}" {words}'
    await made.client.create(CONFIG_MAPS, NS, {"metadata": {"name": "any"}})


@in_world
async def test_a_group_whose_definitions_are_not_installed_is_not_served(made: World) -> None:
    """No version in discovery, and 404 in plain text for its resources, as for any path that nobody knows."""
    made.server.served.only("external-secrets.io")

    groups = await made.client.request("GET", "/apis")
    assert "external-secrets.io" not in {group["name"] for group in groups["groups"]}
    for path in ("/apis/external-secrets.io", "/apis/external-secrets.io/v1", EXTERNAL_SECRETS.path(NS)):
        await refused(made.client.request("GET", path), 404)


@in_world
async def test_an_old_version_alone_is_shown_by_discovery(made: World) -> None:
    """v1beta1 is all there is of the group; nothing of v1 is served."""
    made.server.served.only("external-secrets.io", "v1beta1")

    group = await made.client.request("GET", "/apis/external-secrets.io")
    assert [version["version"] for version in group["versions"]] == ["v1beta1"]
    await refused(made.client.request("GET", EXTERNAL_SECRETS.path()), 404)


@in_world
async def test_whoever_asks_is_told_who_he_is(made: World) -> None:
    """The name that belongs to the token, with its groups."""
    answer = await made.client.request("POST", REVIEW, body={"apiVersion": "authentication.k8s.io/v1"})
    assert answer["status"]["userInfo"] == {"username": "admin", "groups": ["system:authenticated"]}
