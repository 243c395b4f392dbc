"""Create, read, replace and patch."""

from __future__ import annotations

import base64
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from apiserver_harness import NS, World, external_secret, in_world, pod, refused, secret

from agent.sandbox.client import (
    CLUSTER_EXTERNAL_SECRETS,
    CONFIG_MAPS,
    CRON_JOBS,
    DAEMON_SETS,
    DEPLOYMENTS,
    EVENTS,
    EXTERNAL_SECRETS,
    JOBS,
    LEASES,
    NAMESPACES,
    PDBS,
    PODS,
    REPLICA_SETS,
    SECRET_STORES,
    SECRETS,
    STATEFUL_SETS,
    Object,
    Resource,
)


def _deployment(name: str, **spec: Any) -> Object:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "app:1"}]}}
    return {"metadata": {"name": name}, "spec": {"selector": {"matchLabels": labels}, "template": template, **spec}}


@in_world
async def test_a_create_fills_in_what_the_server_decides(made: World) -> None:
    """uid, resourceVersion, creationTimestamp and namespace are the server's, whatever the body says."""
    body = secret("s")
    body["metadata"] |= {"uid": "mine", "creationTimestamp": "2000-01-01T00:00:00Z", "generation": 7}
    created = (await made.client.create(SECRETS, NS, body))["metadata"]
    assert created["uid"] != "mine"
    assert created["creationTimestamp"] != "2000-01-01T00:00:00Z"
    assert created["namespace"] == NS
    assert int(created["resourceVersion"]) > 0
    assert "generation" not in created


@in_world
async def test_resource_versions_are_one_counter_for_all_kinds(made: World) -> None:
    """A later write of any kind has a greater resourceVersion, and a list carries the newest."""
    first = await made.client.create(SECRETS, NS, secret("s"))
    second = await made.client.create(EXTERNAL_SECRETS, NS, external_secret("e"))
    _, listed = await made.client.list_with_version(SECRETS)
    assert int(first["metadata"]["resourceVersion"]) < int(second["metadata"]["resourceVersion"]) == int(listed)


@in_world
async def test_a_write_that_changes_nothing_is_not_a_version(made: World) -> None:
    """Putting back what was read keeps the resourceVersion and makes no watch event."""
    await made.client.create(DEPLOYMENTS, NS, _deployment("d"))
    read = await made.client.get(DEPLOYMENTS, NS, "d")
    assert await made.client.replace(DEPLOYMENTS, NS, read) == read
    assert await made.client.merge_patch(DEPLOYMENTS, NS, "d", {"spec": {"replicas": 1}}) == read


@in_world
async def test_generation_counts_spec_changes_only(made: World) -> None:
    """Labels and status leave the generation alone; a changed spec moves it by one."""
    await made.client.create(EXTERNAL_SECRETS, NS, external_secret("e"))
    patches: list[tuple[Object, str | None, int]] = [
        ({"metadata": {"annotations": {"force-sync": "1"}}}, None, 1),
        ({"status": {"refreshTime": "2026-01-01T00:00:00Z"}}, "status", 1),
        ({"spec": {"refreshInterval": "5m"}}, None, 2),
        ({"spec": {"refreshInterval": "5m"}}, None, 2),
    ]
    for patch, subresource, generation in patches:
        patched = await made.client.merge_patch(EXTERNAL_SECRETS, NS, "e", patch, subresource=subresource)
        assert patched["metadata"]["generation"] == generation


@in_world
async def test_the_main_endpoint_ignores_status(made: World) -> None:
    """A create or patch that carries a status leaves it as the server has it."""
    created = await made.client.create(EXTERNAL_SECRETS, NS, {**external_secret("e"), "status": {"refreshTime": "x"}})
    assert "status" not in created
    patched = await made.client.merge_patch(EXTERNAL_SECRETS, NS, "e", {"status": {"refreshTime": "x"}})
    assert "status" not in patched


@in_world
async def test_the_status_endpoint_ignores_the_rest(made: World) -> None:
    """/status changes the status; of the metadata a built-in kind takes annotations, a custom one nothing."""
    patch = {
        "metadata": {"annotations": {"a": "b"}, "finalizers": ["x/y"]},
        "spec": {"replicas": 9},
        "status": {"replicas": 1},
    }
    await made.client.create(DEPLOYMENTS, NS, _deployment("d"))
    built_in = await made.client.merge_patch(DEPLOYMENTS, NS, "d", patch, subresource="status")
    assert (built_in["spec"]["replicas"], built_in["status"]) == (1, {"replicas": 1})
    assert built_in["metadata"]["annotations"] == {"a": "b"}
    assert "finalizers" not in built_in["metadata"]
    await made.client.create(EXTERNAL_SECRETS, NS, external_secret("e"))
    custom = await made.client.merge_patch(EXTERNAL_SECRETS, NS, "e", patch, subresource="status")
    assert "annotations" not in custom["metadata"]
    assert custom["status"] == {"replicas": 1}


@in_world
async def test_a_put_of_a_stale_copy_is_a_conflict(made: World) -> None:
    """A PUT with an old resourceVersion is 409 Conflict and changes nothing."""
    old = await made.client.create(SECRETS, NS, secret("s"))
    await made.client.merge_patch(SECRETS, NS, "s", {"data": {"k": "dTI="}})
    error = await refused(made.client.replace(SECRETS, NS, old), 409, "Conflict")
    assert error.status["message"] == (
        'Operation cannot be fulfilled on secrets "s": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    assert error.status["details"] == {"name": "s", "kind": "secrets"}
    assert (await made.client.get(SECRETS, NS, "s"))["data"] == {"k": "dTI="}


@in_world
async def test_a_merge_patch_may_carry_a_resource_version(made: World) -> None:
    """A merge patch with the current resourceVersion passes, with an old one it conflicts, without it passes."""
    old = (await made.client.create(SECRETS, NS, secret("s")))["metadata"]["resourceVersion"]
    for version, passes in ((old, True), (old, False), (None, True)):
        patch = {"metadata": {"resourceVersion": version, "labels": {"at": f"{version}-{passes}"}}}
        if version is None:
            del patch["metadata"]["resourceVersion"]
        call = made.client.merge_patch(SECRETS, NS, "s", patch)
        if passes:
            await call
        else:
            await refused(call, 409, "Conflict")


@in_world
async def test_a_put_names_its_version_where_the_kind_demands_it(made: World) -> None:
    """Custom resources and budgets refuse a PUT without resourceVersion; Secrets take it."""
    await made.client.create(SECRETS, NS, secret("s"))
    await made.client.replace(SECRETS, NS, secret("s", data={"k": "dTI="}))
    await made.client.create(EXTERNAL_SECRETS, NS, external_secret("e"))
    error = await refused(made.client.replace(EXTERNAL_SECRETS, NS, external_secret("e", refreshInterval="1m")), 422)
    assert "metadata.resourceVersion: Invalid value: 0" in error.status["message"]


@in_world
async def test_a_put_cannot_replace_another_object_of_the_same_name(made: World) -> None:
    """A PUT that names another uid is 409, as is one for an object recreated meanwhile."""
    old = await made.client.create(SECRETS, NS, secret("s"))
    await made.client.delete(SECRETS, NS, "s")
    new = await made.client.create(SECRETS, NS, secret("s"))
    old["metadata"]["resourceVersion"] = new["metadata"]["resourceVersion"]
    error = await refused(made.client.replace(SECRETS, NS, old), 409, "Conflict")
    assert "Precondition failed: UID in precondition" in error.status["message"]


@in_world
async def test_a_lease_can_be_made_by_put(made: World) -> None:
    """PUT of an absent Lease creates it; of an absent Secret it is 404."""
    body = {"metadata": {"name": "l"}, "spec": {"holderIdentity": "a"}}
    assert (await made.client.replace(LEASES, NS, body))["spec"] == {"holderIdentity": "a"}
    await refused(made.client.replace(SECRETS, NS, secret("none")), 404, "NotFound")


@in_world
async def test_merge_patch_follows_its_rfc(made: World) -> None:
    """null removes a member, objects merge, lists and scalars are replaced; removing what is absent is fine."""
    await made.client.create(EXTERNAL_SECRETS, NS, external_secret("e", target={"name": "t"}))
    patch: dict[str, Any] = {"spec": {"target": {"name": None, "immutable": True}, "data": [], "absent": None}}
    patched = await made.client.merge_patch(EXTERNAL_SECRETS, NS, "e", patch)
    assert patched["spec"]["target"] == {"immutable": True, "creationPolicy": "Owner", "deletionPolicy": "Retain"}
    assert patched["spec"]["data"] == []
    assert "absent" not in patched["spec"]


@pytest.mark.parametrize(
    "content_type", ["application/json-patch+json", "application/strategic-merge-patch+json", "text/plain"]
)
def test_other_patches_are_refused_clearly(content_type: str) -> None:
    """JSON patch and strategic merge patch answer 415 and name what is accepted."""

    @in_world
    async def run(made: World) -> None:
        await made.client.create(SECRETS, NS, secret("s"))
        call = made.client.request("PATCH", SECRETS.path(NS, "s"), body=[], content_type=content_type)
        error = await refused(call, 415, "UnsupportedMediaType")
        assert "application/merge-patch+json" in error.status["message"]

    run()


@in_world
async def test_generate_name_makes_distinct_names(made: World) -> None:
    """Two creates with one generateName are two objects, each with the prefix and five characters more."""
    body = {"metadata": {"generateName": "job-"}, "data": {}}
    names = {(await made.client.create(SECRETS, NS, body))["metadata"]["name"] for _ in range(2)}
    assert len(names) == 2
    assert all(name.startswith("job-") and len(name) == 9 for name in names)


@in_world
async def test_a_dry_run_goes_all_the_way_but_the_write(made: World) -> None:
    """dryRun=All answers as the real write would, refusals included, and leaves no trace."""
    path = SECRETS.path(NS)
    dry = {"dryRun": "All"}
    created = await made.client.request("POST", path, query=dry, body=secret("s"))
    assert created["metadata"]["uid"]
    assert await made.client.get_or_none(SECRETS, NS, "s") is None
    before = await made.client.create(SECRETS, NS, secret("s"))
    await refused(made.client.request("POST", path, query=dry, body=secret("s")), 409, "AlreadyExists")
    merge = "application/merge-patch+json"
    patched = await made.client.request(
        "PATCH", f"{path}/s", query=dry, body={"data": {"k": "eA=="}}, content_type=merge
    )
    assert patched["data"] == {"k": "eA=="}
    await made.client.request("PUT", f"{path}/s", query=dry, body={**before, "data": {}})
    await made.client.request("DELETE", f"{path}/s", query=dry)
    assert await made.client.get(SECRETS, NS, "s") == before
    await refused(made.client.request("POST", path, query={"dryRun": "Some"}, body=secret("t")), 400)


@in_world
async def test_an_immutable_secret_keeps_its_data(made: World) -> None:
    """Neither data nor the mark itself can be changed, the type never; annotations can."""
    await made.client.create(SECRETS, NS, secret("s", immutable=True))
    for patch, field in (
        ({"data": {"k": "eA=="}}, "data"),
        ({"stringData": {"k": "x"}}, "data"),
        ({"immutable": None}, "immutable"),
        ({"immutable": False}, "immutable"),
    ):
        error = await refused(made.client.merge_patch(SECRETS, NS, "s", patch), 422, "Invalid")
        assert error.status["details"]["causes"] == [
            {
                "reason": "FieldValueForbidden",
                "message": "Forbidden: field is immutable when `immutable` is set",
                "field": field,
            }
        ]
    await refused(made.client.merge_patch(SECRETS, NS, "s", {"type": "x"}), 422)
    await made.client.merge_patch(SECRETS, NS, "s", {"metadata": {"annotations": {"a": "b"}}})


@in_world
async def test_string_data_becomes_data(made: World) -> None:
    """stringData is stored as base64 under data, wins over it, and is never shown."""
    body = {"metadata": {"name": "s"}, "data": {"a": "dTE=", "b": "dTE="}, "stringData": {"b": "é"}}
    created = await made.client.create(SECRETS, NS, body)
    assert created["data"] == {"a": "dTE=", "b": base64.b64encode("é".encode()).decode()}
    assert "stringData" not in created
    assert created["type"] == "Opaque"


@pytest.mark.parametrize(
    ("res", "body", "code", "message"),
    [
        (SECRETS, {"metadata": {"name": "A_b"}}, 422, "metadata.name: Invalid value"),
        (SECRETS, {"metadata": {}}, 422, "name or generateName is required"),
        (SECRETS, {"metadata": {"name": 7}}, 400, "metadata.name of type string"),
        (SECRETS, secret("s", data={"a b": ""}), 422, "a valid config key must consist of"),
        (SECRETS, secret("s", data={"..": ""}), 422, "data[..]"),
        (SECRETS, secret("s", data={"k": "!"}), 400, "illegal base64 data"),
        (SECRETS, secret("s", data={"k": 1}), 400, "cannot be handled as a Secret"),
        (SECRETS, secret("s", data=[]), 400, "data of type map"),
        (SECRETS, secret("s", data={"k": base64.b64encode(bytes(1024 * 1024 + 1)).decode()}), 422, "Too long"),
        (SECRETS, secret("s", type="kubernetes.io/tls"), 422, "data[tls.crt]: Required value"),
        (SECRETS, {"apiVersion": "v2", "metadata": {"name": "s"}}, 400, "does not match the expected API version"),
        (SECRETS, {"kind": "ConfigMap", "metadata": {"name": "s"}}, 400, "unrecognized"),
        (SECRETS, {"metadata": {"name": "s", "namespace": "other"}}, 400, "does not match the namespace"),
        (SECRETS, {"metadata": {"name": "s", "resourceVersion": "1"}}, 400, "should not be set"),
        (SECRETS, {"metadata": {"name": "s", "labels": {"a": 1}}}, 400, "map[string]string"),
        (SECRETS, [], 400, "unrecognized"),
        (CONFIG_MAPS, {"metadata": {"name": "c"}, "data": {"a/b": "x"}}, 422, "data[a/b]"),
        (PODS, {"metadata": {"name": "p"}, "spec": {}}, 422, "spec.containers: Required value"),
        (PODS, {"metadata": {"name": "p"}, "spec": {"containers": ["x"]}}, 400, "cannot be handled as a Pod"),
        (DEPLOYMENTS, {"metadata": {"name": "d"}, "spec": {}}, 422, "spec.selector: Required value"),
        (DEPLOYMENTS, _deployment("d", selector={"matchLabels": {"x": "y"}}), 422, "does not match template `labels`"),
        (EVENTS, {"metadata": {"name": "e"}, "involvedObject": {"namespace": "x"}}, 422, "match event.namespace"),
    ],
)  # fmt: skip
def test_wrong_objects_are_refused_in_the_servers_words(res: Resource, body: Any, code: int, message: str) -> None:
    """What is malformed answers 400, what is invalid 422, with the field named."""

    @in_world
    async def run(made: World) -> None:
        error = await refused(made.client.create(res, NS, body), code)
        assert message in error.status["message"]
        assert error.status["kind"] == "Status"
        assert error.status["code"] == code

    run()


@in_world
async def test_raw_rubbish_is_refused_without_a_traceback(made: World) -> None:
    """No JSON is 400, too much of it 413, an unknown path or kind 404, an odd method 405: each with a Status body."""
    url = made.client.base_url + SECRETS.path(NS)
    for method, target, data, code in (
        ("POST", url, b"{", 400),
        ("POST", url, b'{"metadata": {"name": "\\ud800"}}', 400),
        ("POST", url, b"[" * 100_000, 400),
        ("POST", url, b"x" * (3 * 1024 * 1024 + 1), 413),
        ("GET", made.client.base_url + "/api/v1/unicorns", b"", 404),
        ("GET", made.client.base_url + "/apis/none.example/v1/things", b"", 404),
        ("GET", url + "/s/status", b"", 404),
        ("POST", url + "/s", b"{}", 405),
        ("PUT", url, b"{}", 405),
        ("POST", made.client.base_url + "/api/v1/secrets", b"{}", 405),
    ):
        async with made.client.session.request(method, target, data=data) as answer:
            status = await answer.json()
            assert (answer.status, status["kind"], status["code"]) == (code, "Status", code), (method, target, status)


@in_world
async def test_a_create_needs_its_namespace(made: World) -> None:
    """Nothing is created in a namespace that is not there: 404 naming the namespace."""
    error = await refused(made.client.create(SECRETS, "nowhere", secret("s")), 404, "NotFound")
    assert error.status["message"] == 'namespaces "nowhere" not found'
    assert (await made.client.get(NAMESPACES, None, NS))["metadata"]["labels"] == {"kubernetes.io/metadata.name": NS}


@in_world
async def test_names_are_taken_once(made: World) -> None:
    """A second create of a name is 409 AlreadyExists, with the group in the words for kinds that have one."""
    await made.client.create(EXTERNAL_SECRETS, NS, external_secret("e"))
    error = await refused(made.client.create(EXTERNAL_SECRETS, NS, external_secret("e")), 409, "AlreadyExists")
    assert error.status["message"] == 'externalsecrets.external-secrets.io "e" already exists'
    assert error.status["details"] == {"name": "e", "group": "external-secrets.io", "kind": "externalsecrets"}


@in_world
async def test_defaults_that_others_rely_on_are_there(made: World) -> None:
    """Controllers find replicas, strategies, restart policy, grace and ESO's policies filled in."""
    deployment = await made.client.create(DEPLOYMENTS, NS, _deployment("d"))
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": "25%", "maxSurge": "25%"}
    assert (deployment["spec"]["revisionHistoryLimit"], deployment["spec"]["progressDeadlineSeconds"]) == (10, 600)
    assert deployment["spec"]["template"]["spec"]["restartPolicy"] == "Always"
    stateful = await made.client.create(STATEFUL_SETS, NS, _deployment("s"))
    assert stateful["spec"]["updateStrategy"] == {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}
    assert stateful["spec"]["podManagementPolicy"] == "OrderedReady"
    daemon = await made.client.create(DAEMON_SETS, NS, _deployment("ds"))
    assert daemon["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] == 1
    assert (await made.client.create(REPLICA_SETS, NS, _deployment("r")))["spec"]["replicas"] == 1
    running = await made.client.create(PODS, NS, pod("p"))
    assert (running["spec"]["restartPolicy"], running["spec"]["terminationGracePeriodSeconds"]) == ("Always", 30)
    assert running["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    target = (await made.client.create(EXTERNAL_SECRETS, NS, external_secret("e")))["spec"]
    assert target["target"] == {"creationPolicy": "Owner", "deletionPolicy": "Retain"}
    assert (target["refreshInterval"], "refreshPolicy" in target) == ("1h0m0s", False)
    assert target["secretStoreRef"] == {"name": "kv", "kind": "SecretStore"}
    cluster = {"metadata": {"name": "c"}, "spec": {"externalSecretSpec": {}}}
    made_of = await made.client.create(CLUSTER_EXTERNAL_SECRETS, None, cluster)
    assert made_of["spec"]["externalSecretSpec"]["target"]["deletionPolicy"] == "Retain"
    template = {"metadata": {}, "spec": {"containers": [{"name": "main"}], "restartPolicy": "Never"}}
    job = await made.client.create(JOBS, NS, {"metadata": {"name": "j"}, "spec": {"template": template}})
    assert (job["spec"]["parallelism"], job["spec"]["backoffLimit"]) == (1, 6)
    cron = await made.client.create(CRON_JOBS, NS, {"metadata": {"name": "c"}, "spec": {"schedule": "* * * * *"}})
    assert cron["spec"]["concurrencyPolicy"] == "Allow"
    budget = await made.client.create(PDBS, NS, {"metadata": {"name": "b"}, "spec": {"minAvailable": 1}})
    assert budget["status"]["disruptionsAllowed"] == 0
    store = {"apiVersion": "external-secrets.io/v1", "kind": "SecretStore", "metadata": {"name": "s"}, "spec": {}}
    assert (await made.client.create(SECRET_STORES, NS, store))["metadata"]["generation"] == 1


@in_world
async def test_a_pod_is_bound_once_and_its_spec_is_fixed(made: World) -> None:
    """spec.nodeName may be set on a pod that has none; any other change of the spec is 422."""
    await made.client.create(PODS, NS, pod("p"))
    bound = await made.client.merge_patch(PODS, NS, "p", {"spec": {"nodeName": "n1"}})
    assert bound["spec"]["nodeName"] == "n1"
    for patch in ({"nodeName": "n2"}, {"hostNetwork": True}, {"restartPolicy": "Never"}):
        await refused(made.client.merge_patch(PODS, NS, "p", {"spec": patch}), 422, "Invalid")
    await made.client.create(PODS, NS, pod("q"))
    target = {"target": {"kind": "Node", "name": "n1"}}
    await made.client.request("POST", PODS.path(NS, "q", "binding"), body=target)
    assert (await made.client.get(PODS, NS, "q"))["spec"]["nodeName"] == "n1"
    await refused(made.client.request("POST", PODS.path(NS, "q", "binding"), body=target), 409)


@in_world
async def test_selectors_of_workloads_are_fixed(made: World) -> None:
    """A Deployment's selector cannot be changed."""
    await made.client.create(DEPLOYMENTS, NS, _deployment("d"))
    other = _deployment("e")["spec"]
    error = await refused(made.client.merge_patch(DEPLOYMENTS, NS, "d", {"spec": other}), 422)
    assert "spec.selector" in error.status["message"]


@in_world
async def test_every_answer_carries_the_worlds_time(made: World) -> None:
    """The Date header is the world's clock, also after it was moved, on answers, refusals and watches."""
    made.clock.advance(86_400 * 30)
    for path in ("/healthz", "/api/v1/secrets", "/api/v1/nothing", "/api/v1/secrets?watch=1&timeoutSeconds=1"):
        async with made.client.session.get(made.client.base_url + path) as answer:
            date = parsedate_to_datetime(answer.headers["Date"]).timestamp()
            assert abs(date - made.clock.now()) < 5
