"""What a pod consumes, and what kubelet says of its containers."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import msgspec
import pytest
from decode_builders import CREATED_AT, Object, key_env, owned, page, pod
from hypothesis import given
from hypothesis import strategies as st

from agent.cluster.decode import decode_page
from agent.cluster.decode.consumption import Template, Templates, consumption
from agent.cluster.decode.wire import EMPTY
from agent.diagnose.containers import lacking
from agent.model import ContainerRun, ObjectKey, Owner, Pod, SecretView, Use


def decoded(item: Object) -> Pod:
    result = decode_page("pods", page(item))
    assert not result.malformed, result.malformed
    (found,) = result.items
    assert isinstance(found, Pod)
    return found


def held(name: str, *keys: str) -> SecretView:
    """A Secret that has these keys."""
    prints = dict.fromkeys(keys, "print")
    return SecretView(
        key=ObjectKey("shop", name), uid=name, resource_version="1", created=1.0, touched=1.0, prints=prints
    )


def uses(container: Object, **spec: Any) -> tuple[Use, ...]:
    found = decoded(pod(spec={"containers": [{"name": "app", **container}], **spec}))
    return found.containers[-1].uses


def test_a_variable_from_a_key_consumes_that_key_alone() -> None:
    """A container whose variable comes from one key of a Secret consumes that key and no other."""
    assert uses({"env": [key_env("A", "app", "password", optional=True), {"name": "B", "value": "x"}]}) == (
        Use("app", "env", ("password",), optional=True),
    )


def test_a_variable_set_twice_counts_by_its_last_setting() -> None:
    """A reference that a later variable of the same name overrides is not consumed."""
    assert uses({"env": [key_env("A", "app", "old"), key_env("A", "app", "new")]}) == (Use("app", "env", ("new",)),)


def test_an_overridden_variable_counts_if_another_took_its_value() -> None:
    """A reference that is overridden, but was first expanded into another variable, is consumed."""
    env = [key_env("A", "app", "p"), {"name": "URL", "value": "x://$(A)@host"}, {"name": "A", "value": ""}]
    assert uses({"env": env}) == (Use("app", "env", ("p",)),)


def test_env_from_consumes_every_key_that_no_explicit_variable_shadows() -> None:
    """With envFrom and a prefix, keys whose prefixed name is set explicitly are not consumed."""
    container = {
        "envFrom": [{"prefix": "DB_", "secretRef": {"name": "app"}}, {"configMapRef": {"name": "other"}}],
        "env": [{"name": "DB_HOST", "value": "h"}, {"name": "DB_", "value": "no key is empty"}, {"name": "X"}],
    }
    assert uses(container) == (Use("app", "envFrom", None, ("HOST",)),)


def test_an_optional_variable_shadows_nothing_for_certain() -> None:
    """A key stays consumed by envFrom when the explicit variable of its name is optional and may set nothing."""
    container = {
        "envFrom": [{"secretRef": {"name": "app"}}],
        "env": [key_env("TOKEN", "other", "t", optional=True), key_env("HOST", "other", "h")],
    }
    assert uses(container)[-1] == Use("app", "envFrom", None, ("HOST",))


@given(
    prefix=st.sampled_from(["", "P", "P_"]),
    keys=st.sets(st.sampled_from(["A", "B", "P", "P_A", "_A"])),
    explicit=st.sets(st.sampled_from(["A", "B", "P", "P_A", "PA", "PB", "P_B", "P__A"])),
)
def test_shadowing_agrees_with_what_a_process_would_see(prefix: str, keys: set[str], explicit: set[str]) -> None:
    """For any prefix, keys and explicit names: a key counts exactly if its variable is not set explicitly."""
    container = {
        "envFrom": [{"prefix": prefix, "secretRef": {"name": "app"}}],
        "env": [{"name": name, "value": "explicit"} for name in explicit],
    }
    environment = {prefix + key: "from the Secret" for key in keys} | dict.fromkeys(explicit, "explicit")
    seen = {key for key in keys if environment[prefix + key] == "from the Secret"}
    (use,) = uses(container)
    assert keys - set(use.without) == seen


SECRET_VOLUME = {"name": "v", "secret": {"secretName": "app"}}
SOME_KEYS = {
    "items": [{"key": "crt", "path": "tls/crt"}, {"key": "key", "path": "tls/key"}, {"key": "ca", "path": "ca"}]
}
PROJECTED = {"name": "v", "projected": {"sources": [{"secret": {"name": "app", **SOME_KEYS}}, {"configMap": {}}]}}


@pytest.mark.parametrize(
    ("volume", "mount", "expected"),
    [
        (SECRET_VOLUME, {}, (Use("app", "volume"),)),
        (SECRET_VOLUME, {"subPath": "password"}, (Use("app", "subPath", ("password",)),)),
        (SECRET_VOLUME, {"subPathExpr": "$(NAME)"}, (Use("app", "subPath"),)),
        (
            {"name": "v", "secret": {"secretName": "app", "optional": True, **SOME_KEYS}},
            {},
            (Use("app", "volume", ("crt", "key", "ca"), optional=True),),
        ),
        (PROJECTED, {}, (Use("app", "projected", ("crt", "key", "ca")),)),
        (PROJECTED, {"subPath": "tls"}, (Use("app", "subPath", ("crt", "key")),)),
        (PROJECTED, {"subPath": "elsewhere"}, ()),
        (PROJECTED, {"subPath": "tl"}, ()),
        (PROJECTED, {"subPath": "./tls/./crt"}, (Use("app", "subPath", ("crt",)),)),
        (PROJECTED, {"subPath": "tls//crt/"}, (Use("app", "subPath", ("crt",)),)),
        (PROJECTED, {"subPath": "..data/tls"}, (Use("app", "subPath", ("crt", "key")),)),
        (PROJECTED, {"subPath": "./"}, (Use("app", "subPath", ("crt", "key", "ca")),)),
        (SECRET_VOLUME, {"subPath": "..data/password"}, (Use("app", "subPath", ("password",)),)),
        (SECRET_VOLUME, {"subPath": "..data"}, (Use("app", "subPath"),)),
        (SECRET_VOLUME, {"name": "another"}, ()),
    ],
)
def test_a_volume_is_consumed_through_its_mounts(volume: Object, mount: Object, expected: tuple[Use, ...]) -> None:
    """A mounted volume consumes the keys it shows; a subPath only those below it; an unmounted one none."""
    assert uses({"volumeMounts": [{"name": "v", "mountPath": "/m", **mount}]}, volumes=[volume]) == expected


def test_a_file_of_a_volume_of_several_sources_need_not_be_of_each() -> None:
    """A Secret that has no such file keeps no pod from starting: it is of the ConfigMap, or of another one."""
    named = {"secret": {"name": "named", "items": [{"key": "crt", "path": "crt"}]}}
    sources = [{"secret": {"name": "app"}}, {"secret": {"name": "other"}}, {"configMap": {"name": "cm"}}, named]
    mounts = [{"name": "v", "mountPath": "/m", "subPath": "config.yaml"}, {"name": "v", "subPath": "crt"}]
    volume = {"name": "v", "projected": {"sources": sources}}
    found = decoded(pod(spec={"containers": [{"name": "app", "volumeMounts": mounts}], "volumes": [volume]}))
    seen = {name: held(name) for name in ("app", "other")} | {"named": held("named", "crt")}
    assert lacking(found, seen.get) == ""
    assert "requires key crt" in lacking(found, {"named": held("named")}.get)
    alone = uses({"volumeMounts": [{"name": "v", "mountPath": "/m", "subPath": "crt"}]}, volumes=[SECRET_VOLUME])
    assert alone == (Use("app", "subPath", ("crt",)),)


def test_two_mounts_of_one_volume_are_judged_apart() -> None:
    """A container that mounts a Secret plainly and by subPath is a consumer in both ways."""
    mounts = [{"name": "v", "subPath": "a"}, {"name": "v"}]
    assert uses({"volumeMounts": mounts}, volumes=[SECRET_VOLUME]) == (
        Use("app", "subPath", ("a",)),
        Use("app", "volume"),
    )


def test_init_and_restartable_init_containers_are_told_apart() -> None:
    """Init containers come first, as they start; a restartable one is a sidecar; ephemeral ones do not count."""
    found = decoded(
        pod(
            spec={
                "initContainers": [{"name": "wait"}, {"name": "proxy", "restartPolicy": "Always"}],
                "ephemeralContainers": [{"name": "debug", "env": [key_env("A", "app", "k")]}],
            }
        )
    )
    assert [(one.name, one.kind) for one in found.containers] == [
        ("wait", "init"),
        ("proxy", "sidecar"),
        ("app", "container"),
    ]


def test_image_pull_secrets_are_referred_to_and_not_consumed() -> None:
    """Pull secrets and unmounted volumes are references that kubelet holds, never consumption."""
    found = decoded(pod(spec={"imagePullSecrets": [{"name": "registry"}], "volumes": [SECRET_VOLUME]}))
    assert found.containers[0].uses == ()
    assert found.references == ("app", "registry")


RUNNING = {"running": {"startedAt": "2026-11-23T22:00:10Z"}}
ENDED = {"terminated": {"startedAt": "2026-11-23T22:00:01Z", "finishedAt": "2026-11-23T22:00:05Z", "reason": "Error"}}
NEVER = ContainerRun("waiting")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"state": RUNNING, "ready": True}, ContainerRun("running", CREATED_AT + 10, ready=True)),
        (
            {"state": RUNNING, "lastState": ENDED, "restartCount": 1},
            ContainerRun("running", CREATED_AT + 10, None, CREATED_AT + 5, restarts=1),
        ),
        (
            {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": ENDED, "restartCount": 2},
            ContainerRun("waiting", CREATED_AT + 1, CREATED_AT + 5, None, restarts=2, reason="CrashLoopBackOff"),
        ),
        ({"state": ENDED}, ContainerRun("terminated", CREATED_AT + 1, CREATED_AT + 5, reason="Error")),
        ({"state": {"waiting": {}}}, NEVER),
        ({}, NEVER),
        ({"state": {"running": {"startedAt": None}}}, ContainerRun("running")),
    ],
)
def test_a_run_is_read_from_the_container_status(status: Object, expected: ContainerRun) -> None:
    """State, start, end, and the end of the run before come from state and lastState."""
    assert decoded(pod(status={"containerStatuses": [{"name": "app", **status}]})).runs == (expected,)


def test_runs_are_matched_by_name_and_missing_ones_wait() -> None:
    """The order of the statuses does not matter, and a container without a status has not begun."""
    found = decoded(
        pod(
            spec={"initContainers": [{"name": "i"}], "containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]},
            status={
                "containerStatuses": [{"name": "c", "state": RUNNING}, {"name": "a", "state": ENDED}],
                "initContainerStatuses": [{"name": "i", "state": ENDED}],
            },
        )
    )
    assert [run.state for run in found.runs] == ["terminated", "terminated", "waiting", "running"]


def test_pods_of_one_template_share_what_they_have_in_common() -> None:
    """Containers, labels and owner are one object for all pods of a template, whatever their token volume is called."""

    def one(name: str, token: str) -> Object:
        mounts = [{"name": f"kube-api-access-{token}", "mountPath": "/t"}]
        return pod(
            name,
            labels={"app": "backend", "pod-template-hash": "abc"},
            ownerReferences=owned("ReplicaSet", "backend-abc", "apps/v1"),
            spec={
                "containers": [{"name": "app", "env": [key_env("A", "s", "k")], "volumeMounts": mounts}],
                "volumes": [{"name": f"kube-api-access-{token}", "projected": {"sources": []}}],
            },
        )

    first, second = decode_page("pods", page(one("a", "x7k2p"), one("b", "q9w8e"))).items
    assert isinstance(first, Pod)
    assert isinstance(second, Pod)
    assert first.containers is second.containers
    assert first.labels is second.labels
    assert first.owner is second.owner
    assert first.owner == Owner("ReplicaSet", "backend-abc", "uid-of-backend-abc", "apps")
    assert first.template_hash == "abc"


def _template(templates: Templates, names: int) -> Template:
    containers = json.dumps([{"name": "app", "env": [key_env("A", f"s-{number}", "k") for number in range(names)]}])
    return templates.of(EMPTY, msgspec.Raw(containers.encode()), EMPTY, EMPTY)


def test_what_is_made_of_a_very_long_spec_is_not_kept_for_later_pods() -> None:
    """A spec of more than 64 KiB is shared by pods that follow one another, and then forgotten; a short one is kept."""
    templates = Templates()
    short, long = _template(templates, 500), _template(templates, 2_000)
    assert len(long.references) == 2_000
    assert _template(templates, 2_000) is long
    assert _template(templates, 500) is short
    again = _template(templates, 2_000)
    assert again == long
    assert again is not long


MANY = range(700)
ALL_FROM_MANY = {"envFrom": [{"secretRef": {"name": f"s{n}"}} for n in MANY], "env": [{"name": f"V{n}"} for n in MANY]}
MANY_MOUNTS = {"volumeMounts": [{"name": "v", "mountPath": f"/{n}"} for n in MANY]}
MANY_ITEMS = [{"name": "v", "secret": {"secretName": "app", "items": [{"key": f"k{n}", "path": "p"} for n in MANY]}}]


@pytest.mark.parametrize(("container", "volumes"), [(ALL_FROM_MANY, []), (MANY_MOUNTS, MANY_ITEMS)])
def test_a_spec_takes_memory_by_its_length_and_not_by_the_square_of_it(
    container: Object, volumes: list[Object]
) -> None:
    """Many envFrom beside many variables, and many mounts of many keys, take what their text accounts for."""
    app, mounted = (msgspec.Raw(json.dumps(part).encode()) for part in ([{"name": "app", **container}], volumes))
    tracemalloc.start()
    found = consumption(EMPTY, app, mounted, EMPTY)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.containers[0].uses
    assert peak < 25 * (len(bytes(app)) + len(bytes(mounted)))


def test_very_long_labels_and_owners_are_not_kept_for_later_pods() -> None:
    """Labels of more than 2 KiB or owners of more than 1 are each pod's own; shorter ones are one object for all."""

    def both(length: int) -> tuple[object, object]:
        owner = {"kind": "ReplicaSet", "name": "x", "uid": "u" * length, "apiVersion": "apps/v1", "controller": True}
        one = decoded(pod(labels={"app": "x" * length}, ownerReferences=[owner]))
        return one.labels, one.owner

    for length, kept in ((900, [True, True]), (1_100, [True, False]), (2_100, [False, False])):
        first, second = both(length), both(length)
        assert first == second
        assert [one is other for one, other in zip(first, second, strict=True)] == kept


def test_readiness_and_placement_come_from_the_conditions() -> None:
    """Ready since when, and why a pod could not be placed."""
    ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-23T22:00:20Z"}
    blocked = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}
    first, second = decoded(pod(status={"conditions": [ready]})), decoded(pod(status={"conditions": [blocked]}))
    assert (first.ready, first.ready_since, first.unschedulable) == (True, CREATED_AT + 20, "")
    assert (second.ready, second.ready_since, second.unschedulable) == (False, None, "0/3 nodes are available")


def test_a_pod_being_deleted_says_so() -> None:
    """A deletionTimestamp makes a pod terminating; null does not."""
    assert decoded(pod(deletionTimestamp="2026-11-23T22:00:00Z")).deleting
    assert not decoded(pod(deletionTimestamp=None)).deleting
