"""S15: init containers, restartable ones, image pull secrets and ephemeral containers."""

from __future__ import annotations

from support.scenario import Scenario
from support.told import healed, refusals, stages
from support.worlds import at_rest, watching

from agent.sandbox import builders as b
from agent.sandbox.client import PODS, Object

NS = "shop"
ENV = {"API_KEY": ("app-secrets", "API_KEY")}


def test_s15_init_containers_count_by_their_own_run_and_pull_secrets_and_debugging_never() -> None:
    """Who took the value in an init or a restartable init container is recycled; the rest is not a consumer."""
    with Scenario() as s:
        pull = {"imagePullSecrets": [{"name": "app-secrets"}]}
        at_rest(
            s,
            {"prod-kv/api-key": "value-one"},
            [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
            [
                b.deployment("migrating", NS, 2, init=[b.container("migrate", env=ENV)]),
                b.deployment("proxied", NS, 2, init=[b.container("proxy", env=ENV, restartPolicy="Always")]),
                b.deployment("pulling", NS, 2, pod=pull),
                b.deployment("debugged", NS, 2),
            ],
            NS,
        )
        for pod in s.pods(NS, "debugged"):
            _debug(s, pod)
        uids = {name: {p["metadata"]["uid"] for p in s.pods(NS, name)} for name in ("pulling", "debugged")}
        s.policy()
        agent = watching(s)

        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: healed(agent, "migrating") and healed(agent, "proxied"), why="both healed")
        s.cycles(agent)

        assert s.all_hold(NS, "proxied", "app-secrets", "API_KEY", "value-two")
        newest = {(r.pod, r.container): r.source for r in s.call(lambda: list(s.sandbox.kubelet.record))}
        migrated = [newest[p["metadata"]["name"], "migrate"] for p in s.pods(NS, "migrating")]
        assert migrated == [{("app-secrets", "API_KEY"): b"value-two"}] * 2
        assert {name: {p["metadata"]["uid"] for p in s.pods(NS, name)} for name in uids} == uids
        assert all("ephemeralContainers" in pod["spec"] for pod in s.pods(NS, "debugged"))
        assert s.writes()[0] == ("patch", "externalsecrets", "", f"{NS}/app-secrets")
        assert len(s.writes()) == 1 + 4
        for name in ("migrating", "proxied"):
            assert stages(agent, name) == [("canary", 1), ("batch", 1)]
        assert healed(agent, "pulling") == healed(agent, "debugged") == []
        assert refusals(agent) == [("recycle", "campaign")]  # the second one, until the first one's canary has passed


def _debug(s: Scenario, pod: Object) -> None:
    """As `kubectl debug` does it, where the API server has the subresource for it; else put in as it is then."""
    debugging = [{**b.container("debug", env=ENV), "targetContainerName": "app"}]
    if s.real:
        path = f"{PODS.path(NS, pod['metadata']['name'])}/ephemeralcontainers"
        patch, kind = {"spec": {"ephemeralContainers": debugging}}, "application/strategic-merge-patch+json"
        s.run(s.sandbox.admin.request("PATCH", path, body=patch, content_type=kind))
    else:
        s.seed({"apiVersion": "v1", "kind": "Pod", **pod, "spec": {**pod["spec"], "ephemeralContainers": debugging}})
