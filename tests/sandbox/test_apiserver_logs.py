"""Pod logs."""

from __future__ import annotations

from apiserver_harness import NS, World, in_world, pod, refused

from agent.sandbox.client import PODS


async def _log(made: World, name: str = "p", **query: str) -> str:
    async with made.client.session.get(made.client.base_url + PODS.path(NS, name, "log"), params=query) as answer:
        assert (answer.status, answer.content_type) == (200, "text/plain")
        return await answer.text()


@in_world
async def test_logs_are_cut_as_asked(made: World) -> None:
    """tailLines, sinceTime, sinceSeconds, limitBytes and timestamps act on what the kubelet holds."""
    now = made.clock.now()
    lines = [(now - 3600.5, "old"), (now - 30, "recent"), (now - 1, "newest")]
    asked = []

    async def provider(namespace: str, name: str, container: str, previous: bool) -> list[tuple[float, str]]:
        asked.append((namespace, name, container, previous))
        return lines

    made.server.log_provider = provider
    await made.client.create(PODS, NS, pod("p"))
    assert await _log(made) == "old\nrecent\nnewest\n"
    assert asked == [(NS, "p", "main", False)]
    assert await _log(made, tailLines="1") == "newest\n"
    assert await _log(made, tailLines="0") == ""
    assert await _log(made, sinceSeconds="60") == "recent\nnewest\n"
    assert await _log(made, sinceTime=made.clock.rfc3339(now - 10)) == "newest\n"
    assert await _log(made, limitBytes="5") == "old\nr"
    stamped = (await _log(made, timestamps="true", tailLines="1")).split(" ")
    assert stamped[0].startswith(made.clock.rfc3339(now - 1)[:-1])
    assert stamped[0].endswith("Z")
    assert stamped[1] == "newest\n"


@in_world
async def test_logs_that_are_not_there_are_refused_with_the_cause(made: World) -> None:
    """No pod is 404; an unnamed container among two, an unknown one, one not started and no previous run are 400."""
    await made.client.create(PODS, NS, pod("p"))
    two = {"metadata": {"name": "two"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}]}}
    await made.client.create(PODS, NS, two)
    made.server.log_provider = lambda namespace, name, container, previous: None
    for name, query, code, message in (
        ("none", {}, 404, 'pods "none" not found'),
        ("two", {}, 400, "a container name must be specified for pod two, choose one of: [a b]"),
        ("p", {"container": "x"}, 400, "container x is not valid for pod p"),
        ("p", {}, 400, 'container "main" in pod "p" is waiting to start'),
        ("p", {"previous": "true"}, 400, 'previous terminated container "main" in pod "p" not found'),
    ):
        error = await refused(made.client.request("GET", PODS.path(NS, name, "log"), query=query), code)
        assert message in error.status["message"]
