"""Containers in a world: what they receive, how they fail, and how they recover."""

import json

from actors_world import NS, env, pod, run, template, workload, world

from agent.sandbox.apiserver.faults import FaultRule
from agent.sandbox.client import DEPLOYMENTS, PODS, SECRETS

APP = {
    "app": {"env": "PASSWORD", "backend": "mongodb", "success": "MongoDB connected", "failure": "authentication failed"}
}


async def log(w, name: str, container: str = "app", **query: str) -> str:  # type: ignore[no-untyped-def]
    path = PODS.path(NS, name, "log")
    async with w.client.session.get(w.server.url + path, params={"container": container, **query}) as answer:
        return str(await answer.text())


@run
async def test_a_missing_secret_holds_the_container_until_it_appears() -> None:
    """A container whose Secret is missing waits with CreateContainerConfigError, and starts as soon as it is there."""
    async with world() as w:
        await w.create(PODS, pod("p"))
        waiting = await w.until(lambda: w.waiting("p").get("message") and w.waiting("p"))
        assert waiting == {"reason": "CreateContainerConfigError", "message": 'secret "db" not found'}
        await w.secret(other="x")
        await w.until(lambda: "couldn't find key password in Secret shop/db" in w.waiting("p").get("message", ""))
        await w.secret(password="one")
        await w.until(lambda: w.is_ready("p"))
        assert w.container("p")["restartCount"] == 0
        assert [r.env for r in w.kubelet.record] == [{("db", "password"): b"one"}]


@run
async def test_a_missing_secret_in_a_volume_holds_the_pod_in_container_creating() -> None:
    """A volume that cannot be mounted shows as ContainerCreating, not as a configuration error."""
    async with world() as w:
        mount = {"name": "app", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}
        await w.create(PODS, pod("p", mount, volumes=[{"name": "v", "secret": {"secretName": "db"}}]))
        await w.until(lambda: w.waiting("p").get("reason") == "ContainerCreating")
        await w.secret(password="one")
        await w.until(lambda: w.is_ready("p"))
        assert w.kubelet.running()[0].volume == {("db", "password"): b"one"}


@run
async def test_a_wrong_password_crash_loops_and_recovers_when_it_is_set_right() -> None:
    """A rejected value ends the container again and again; once the Secret is right the next start stays."""
    async with world() as w:
        w.kubelet.backends.reject("mongodb", "wrong")
        await w.secret(password="wrong")
        await w.create(PODS, pod("p", app=APP))
        await w.until(lambda: w.waiting("p").get("reason") == "CrashLoopBackOff")
        state = w.container("p")
        assert state["lastState"]["terminated"]["exitCode"] == 1
        assert state["restartCount"] >= 1
        assert w.pod("p")["status"]["phase"] == "Running"
        assert not w.is_ready("p")
        assert await log(w, "p", previous="true") == "authentication failed\n"
        await w.secret(password="right")
        await w.until(lambda: w.is_ready("p"))
        assert await log(w, "p") == "MongoDB connected\n"
        runs = [r.run for r in w.kubelet.record]
        assert runs == list(range(len(runs)))
        assert w.kubelet.record[-1].env == {("db", "password"): b"right"}
        assert all(w.kubelet.ended_at(r) is not None for r in w.kubelet.record[:-1])
        assert w.kubelet.ended_at(w.kubelet.record[-1]) is None


@run
async def test_an_application_may_stay_up_without_getting_ready() -> None:
    """With onReject unready a rejected value leaves the container running, without a restart, and not ready."""
    async with world() as w:
        w.kubelet.backends.accept_only("mongodb", "right")
        await w.secret(password="wrong")
        await w.create(PODS, pod("p", app={"app": {**APP["app"], "onReject": "unready"}}))
        await w.until(lambda: w.kubelet.logs(NS, "p", "app"))
        assert "running" in w.container("p")["state"]
        assert not w.is_ready("p")
        w.kubelet.backends.accept("mongodb", "wrong")
        await w.until(lambda: w.is_ready("p"))
        assert [line for _, line in w.kubelet.logs(NS, "p", "app") or []] == [
            "authentication failed",
            "MongoDB connected",
        ]


@run
async def test_a_revoked_password_makes_running_pods_unready() -> None:
    """When the old password is revoked its pods stay Running, become unready, and say so in their log."""
    async with world() as w:
        await w.secret(password="old")
        await w.create(DEPLOYMENTS, workload("Deployment", "shop", template(app=APP), replicas=3))
        await w.settled("shop", 3)
        w.kubelet.backends.revoke("mongodb", "old")
        await w.until(lambda: not any(w.is_ready(p["metadata"]["name"]) for p in w.pods()))
        assert all("running" in p["status"]["containerStatuses"][0]["state"] for p in w.pods())
        name = w.pods()[0]["metadata"]["name"]
        assert await log(w, name) == "MongoDB connected\nauthentication failed\n"
        await w.until(lambda: w.status(DEPLOYMENTS, "shop").get("availableReplicas", 0) == 0)


@run
async def test_one_container_restarts_by_itself_and_its_neighbour_does_not() -> None:
    """After a restart one container holds the new value while its neighbour in the same pod still holds the old one."""
    async with world() as w:
        await w.secret(password="old")
        both = [{"name": n, "image": "i", "env": [env("PASSWORD", "db", "password")]} for n in ("one", "two")]
        await w.create(PODS, pod("p", *both))
        await w.until(lambda: w.is_ready("p"))
        await w.secret(password="new")
        w.kubelet.restart_container(NS, "p", "one")
        await w.until(lambda: w.container("p")["restartCount"] == 1 and w.is_ready("p"))
        holds = {r.container: r.env[("db", "password")] for r in w.kubelet.running()}
        assert holds == {"one": b"new", "two": b"old"}
        assert w.container("p", 1)["restartCount"] == 0


@run
async def test_init_containers_run_one_by_one_and_are_recorded_by_their_own_run() -> None:
    """An init container receives the value of its own moment, a restartable one keeps running, then the app starts."""
    async with world() as w:
        await w.secret(password="one")
        variables = [env("PASSWORD", "db", "password")]
        inits = [
            {"name": "migrate", "image": "i", "env": variables},
            {"name": "proxy", "image": "i", "env": variables, "restartPolicy": "Always"},
        ]
        await w.create(PODS, pod("p", initContainers=inits))
        await w.until(lambda: w.is_ready("p"))
        assert [(r.container, r.kind) for r in w.kubelet.record] == [
            ("migrate", "init"),
            ("proxy", "init"),
            ("app", "container"),
        ]
        assert sorted(r.container for r in w.kubelet.running()) == ["app", "proxy"]
        told = {c["name"]: c for c in w.pod("p")["status"]["initContainerStatuses"]}
        assert told["migrate"]["state"]["terminated"]["reason"] == "Completed"
        assert told["migrate"]["ready"]
        assert "running" in told["proxy"]["state"]


@run
async def test_an_init_container_with_a_wrong_password_keeps_the_pod_pending() -> None:
    """An init container that fails is started again, and the app does not start before it ends well."""
    async with world() as w:
        w.kubelet.backends.reject("mongodb", "wrong")
        await w.secret(password="wrong")
        init = {"name": "migrate", "image": "i", "env": [env("PASSWORD", "db", "password")]}
        plain = {"name": "app", "image": "i"}
        await w.create(PODS, pod("p", plain, initContainers=[init], app={"migrate": APP["app"]}))

        def crash_loops() -> bool:
            told = ((w.pod("p") or {}).get("status") or {}).get("initContainerStatuses") or [{}]
            return bool(told[0].get("state", {}).get("waiting", {}).get("reason") == "CrashLoopBackOff")

        await w.until(crash_loops)
        assert w.pod("p")["status"]["phase"] == "Pending"
        assert w.waiting("p")["reason"] == "PodInitializing"
        await w.secret(password="right")
        await w.until(lambda: w.is_ready("p"))


@run
async def test_plain_volumes_follow_the_secret_and_sub_paths_do_not() -> None:
    """After a change plain and projected volumes hold the new value, which is recorded; a subPath the old one."""
    async with world() as w:
        await w.secret(key="old")
        mounts = [
            {"name": "plain", "mountPath": "/plain"},
            {"name": "projected", "mountPath": "/projected"},
            {"name": "plain", "mountPath": "/one", "subPath": "key"},
        ]
        volumes = [
            {"name": "plain", "secret": {"secretName": "db"}},
            {"name": "projected", "projected": {"sources": [{"secret": {"name": "db"}}]}},
        ]
        app = {"app": {"file": "/plain/key", "backend": "b"}}
        await w.create(PODS, pod("p", {"name": "app", "image": "i", "volumeMounts": mounts}, volumes=volumes, app=app))
        await w.until(lambda: w.is_ready("p"))
        w.kubelet.backends.reject("b", "new")
        await w.secret(key="new")
        await w.until(lambda: not w.is_ready("p"))
        held = w.kubelet.running()[0]
        assert held.volume == {("db", "key"): b"new"}
        assert held.sub_path == {("db", "key"): b"old"}
        assert {r.kind for r in w.kubelet.record[1:]} == {"volume-update"}
        assert len(w.kubelet.record) <= 3


@run
async def test_an_immutable_secret_made_anew_stays_old_on_a_node_that_still_refers_to_it() -> None:
    """Beside an old pod a new one gets a recreated immutable Secret's old value; on a free node the new one."""
    async with world() as w:
        await w.secret(immutable=True, password="old")
        await w.create(PODS, pod("first", nodeSelector={"kubernetes.io/hostname": "node-1"}))
        await w.until(lambda: w.is_ready("first"))
        await w.client.delete(SECRETS, NS, "db")
        await w.secret(immutable=True, password="new")
        for name, node in (("beside", "node-1"), ("apart", "node-2")):
            await w.create(PODS, pod(name, nodeSelector={"kubernetes.io/hostname": node}))
        await w.until(lambda: w.is_ready("beside") and w.is_ready("apart"))
        holds = {r.pod: r.env[("db", "password")] for r in w.kubelet.running()}
        assert holds == {"first": b"old", "beside": b"old", "apart": b"new"}
        for name in ("first", "beside"):
            await w.client.delete(PODS, NS, name)
        await w.until(lambda: not w.pod("first") and not w.pod("beside"))
        await w.create(PODS, pod("later", nodeSelector={"kubernetes.io/hostname": "node-1"}))
        await w.until(lambda: w.is_ready("later"))
        assert {r.pod: r.env[("db", "password")] for r in w.kubelet.running()}["later"] == b"new"


@run
async def test_an_image_that_cannot_be_pulled_blocks_the_start_without_blame() -> None:
    """A missing image waits with ImagePullBackOff, receives nothing, and starts once the image is set right."""
    async with world() as w:
        await w.secret(password="one")
        await w.create(PODS, pod("p", {"name": "app", "image": "shop/missing:1"}))
        await w.until(lambda: w.waiting("p").get("reason") == "ImagePullBackOff")
        assert w.pod("p")["status"]["phase"] == "Pending"
        assert not w.kubelet.record
        containers = [{**w.pod("p")["spec"]["containers"][0], "image": "shop/app:1"}]
        await w.client.merge_patch(PODS, NS, "p", {"spec": {"containers": containers}})
        await w.until(lambda: w.is_ready("p"))


@run
async def test_a_wrong_annotation_is_shown_where_one_looks_first() -> None:
    """A sandbox/app annotation that cannot be understood keeps the pod from starting and is named in its status."""
    async with world() as w:
        await w.create(PODS, pod("p", {"name": "app", "image": "i"}, app={"app": {"speed": 1}}))
        await w.until(lambda: "annotation sandbox/app" in w.waiting("p").get("message", ""))


@run
async def test_a_deleted_pod_ends_within_its_grace_and_its_runs_are_closed() -> None:
    """A deleted pod is taken off the API server after its grace, and the record says that it ended."""
    async with world() as w:
        await w.secret(password="one")
        await w.create(PODS, pod("p"))
        await w.until(lambda: w.is_ready("p"))
        await w.client.delete(PODS, NS, "p")
        await w.until(lambda: w.pod("p") is None)
        await w.until(lambda: not w.kubelet.running())
        assert w.kubelet.ended_at(w.kubelet.record[0]) is not None
        assert w.kubelet.logs(NS, "p", "app") is None


@run
async def test_faults_of_the_api_server_delay_a_start_and_do_not_prevent_it() -> None:
    """With failing reads and status writes a pod still gets ready, having received its value once."""
    async with world() as w:
        await w.secret(password="one")
        w.server.faults.add(FaultRule(effect="status", code=503, verb="get", resource="secrets", remaining=1))
        w.server.faults.add(FaultRule(effect="status", code=429, verb="patch", resource="pods", remaining=3))
        w.server.faults.add(
            FaultRule(effect="drop", verb="create", resource="pods", subresource="binding", remaining=1)
        )
        await w.create(PODS, pod("p"))
        await w.until(lambda: w.is_ready("p"))
        assert len(w.kubelet.record) == 1


@run
async def test_values_never_show_in_logs_status_or_repr() -> None:
    """Neither logs nor pod status nor the printed record shows a value, also where it is rejected."""
    async with world() as w:
        w.kubelet.backends.reject("mongodb", "hunter2-geheim")
        await w.secret(password="hunter2-geheim")
        await w.create(PODS, pod("p", app=APP))
        await w.until(lambda: w.waiting("p").get("reason") == "CrashLoopBackOff")
        said = json.dumps(w.pod("p")) + repr(w.kubelet.record) + repr(w.kubelet.logs(NS, "p", "app", True))
        assert "geheim" not in said


@run
async def test_a_world_moved_forward_ends_every_wait_at_once() -> None:
    """An hour's crash backoff is over at once when the world's clock is moved by an hour."""
    async with world() as w:
        w.kubelet.backends.reject("mongodb", "wrong")
        await w.secret(password="wrong")
        await w.create(PODS, pod("p", app=APP))
        await w.until(lambda: w.waiting("p").get("reason") == "CrashLoopBackOff")
        await w.secret(password="right")
        w.clock.advance(3600)
        await w.until(lambda: w.is_ready("p"))
        started = w.container("p")["state"]["running"]["startedAt"]
        assert started == w.clock.rfc3339(w.kubelet.running()[0].started_at)
