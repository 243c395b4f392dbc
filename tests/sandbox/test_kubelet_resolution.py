"""What a container gets of its Secrets: the rules by themselves, without a world."""

import base64
from typing import Any

import pytest

from agent.sandbox.actors.kubelet.application import applications
from agent.sandbox.actors.kubelet.resolve import (
    ConfigError,
    MountError,
    environment,
    file_at,
    mounted,
    volume_content,
)
from agent.sandbox.actors.kubelet.secrets import pod_secrets

POD: dict[str, Any] = {"metadata": {"namespace": "shop", "name": "p", "annotations": {}}, "spec": {"containers": []}}


def holding(name: str, kind: str = "Secret", **data: str) -> dict[tuple[str, str], Any]:
    encode = (lambda v: base64.b64encode(v.encode()).decode()) if kind == "Secret" else str
    return {(kind, name): {"data": {k: encode(v) for k, v in data.items()}}}


def ref(name: str, secret: str, key: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key, **more}}}


def test_an_explicit_variable_shadows_the_same_name_from_env_from() -> None:
    """A key that arrives by envFrom and is overwritten by an explicit variable is not received."""
    container = {
        "envFrom": [{"secretRef": {"name": "all"}}],
        "env": [ref("a", "one", "k"), {"name": "b", "value": "x"}],
    }
    got = environment(POD, container, {**holding("all", a="1", b="2", c="3"), **holding("one", k="9")})
    assert got.variables == {"a": b"9", "b": b"x", "c": b"3"}
    assert got.values == {("one", "k"): b"9", ("all", "c"): b"3"}
    assert got.whole == {"all"}


def test_env_from_takes_a_prefix_and_skips_what_is_no_name() -> None:
    """A prefix is put before each key; a key that makes no environment name is skipped, unless the node is newer."""
    plain = {"envFrom": [{"secretRef": {"name": "s"}}]}
    found = holding("s", **{"1st": "a", "ok-1": "b", "..x": "c"})
    assert environment(POD, plain, found).variables == {"ok-1": b"b"}
    assert set(environment(POD, plain, found, relaxed_names=True).variables) == {"1st", "ok-1", "..x"}
    prefixed = {"envFrom": [{"prefix": "P_", "secretRef": {"name": "s"}}]}
    assert set(environment(POD, prefixed, found).variables) == {"P_1st", "P_ok-1", "P_..x"}


def test_later_sources_of_env_from_win() -> None:
    """Of two Secrets with the same key the later one is received, and only that."""
    container = {"envFrom": [{"secretRef": {"name": "a"}}, {"secretRef": {"name": "b"}}]}
    got = environment(POD, container, {**holding("a", k="1"), **holding("b", k="2")})
    assert got.values == {("b", "k"): b"2"}


@pytest.mark.parametrize(
    ("container", "text"),
    [
        ({"env": [ref("X", "gone", "k")]}, 'secret "gone" not found'),
        ({"env": [ref("X", "s", "k")]}, "couldn't find key k in Secret shop/s"),
        ({"envFrom": [{"secretRef": {"name": "gone"}}]}, 'secret "gone" not found'),
        ({"envFrom": [{"configMapRef": {"name": "gone"}}]}, 'configmap "gone" not found'),
    ],
)
def test_what_is_missing_is_told_in_kubelets_words(container: dict[str, Any], text: str) -> None:
    """A missing Secret or key that is not optional is the error that kubelet reports."""
    with pytest.raises(ConfigError) as caught:
        environment(POD, container, holding("s", other="1"))
    assert str(caught.value) == text


def test_an_absent_optional_key_leaves_the_variable_alone_and_is_on_record() -> None:
    """An absent optional key sets nothing, keeps what envFrom had set, and is recorded as absent."""
    container = {
        "envFrom": [{"secretRef": {"name": "all"}}, {"secretRef": {"name": "gone", "optional": True}}],
        "env": [ref("a", "one", "k", optional=True), ref("z", "gone", "k", optional=True)],
    }
    got = environment(POD, container, {**holding("all", a="1"), **holding("one", other="9")})
    assert got.variables == {"a": b"1"}
    assert got.values == {("all", "a"): b"1", ("one", "k"): None, ("gone", "k"): None}


def test_variables_are_expanded_into_others() -> None:
    """A connection string that is put together from secret variables holds their values; $$ escapes."""
    container = {"env": [ref("PW", "s", "k"), {"name": "URL", "value": "db://u:$(PW)@$(UNKNOWN)/$$(PW)"}]}
    got = environment(POD, container, holding("s", k="geheim"))
    assert got.variables["URL"] == b"db://u:geheim@$(UNKNOWN)/$(PW)"


def test_config_maps_and_fields_are_variables_but_never_secrets() -> None:
    """Values from ConfigMaps and fields appear in the environment and not in the record of secrets."""
    field = {"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    container = {"envFrom": [{"configMapRef": {"name": "c"}}], "env": [field]}
    got = environment(POD, container, holding("c", kind="ConfigMap", a="1"))
    assert (got.variables, got.values) == ({"a": b"1", "N": b"p"}, {})


def test_volumes_with_items_projections_and_optional_keys() -> None:
    """Items choose and rename keys, projections join several Secrets, absent optional keys are recorded as absent."""
    items = [{"key": "a", "path": "x/a.txt"}, {"key": "no", "path": "no"}]
    plain = volume_content(
        {"name": "v", "secret": {"secretName": "s", "items": items, "optional": True}}, holding("s", a="1", b="2")
    )
    assert plain.values() == {("s", "a"): b"1", ("s", "no"): None}
    assert not plain.whole
    sources = [{"secret": {"name": "s"}}, {"secret": {"name": "t", "items": [{"key": "k", "path": "k"}]}}]
    joined = volume_content(
        {"name": "v", "projected": {"sources": sources}}, {**holding("s", a="1"), **holding("t", k="2", l="3")}
    )
    assert joined.values() == {("s", "a"): b"1", ("t", "k"): b"2"}
    assert joined.whole == {"s"}
    with pytest.raises(MountError, match="references non-existent secret key: no"):
        volume_content({"name": "v", "secret": {"secretName": "s", "items": items}}, holding("s", a="1"))
    with pytest.raises(MountError, match='secret "gone" not found'):
        volume_content({"name": "v", "secret": {"secretName": "gone"}}, {})


def test_sub_path_mounts_are_told_from_plain_ones() -> None:
    """A subPath mount takes one file for good; a plain mount shows all of the volume and follows it."""
    contents = {"v": volume_content({"name": "v", "secret": {"secretName": "s"}}, holding("s", a="1", b="2"))}
    container = {
        "volumeMounts": [
            {"name": "v", "mountPath": "/etc/one", "subPath": "a"},
            {"name": "v", "mountPath": "/etc/all"},
        ]
    }
    got = mounted(container, contents)
    assert got.sub_path == {("s", "a"): b"1"}
    assert got.volume == {("s", "a"): b"1", ("s", "b"): b"2"}
    assert file_at(container, contents, "/etc/one") == (b"1", False)
    assert file_at(container, contents, "/etc/all/b") == (b"2", True)
    assert file_at(container, contents, "/etc/none") == (None, False)


def test_image_pull_secrets_keep_a_nodes_copy_alive_too() -> None:
    """Whatever way a pod refers to a Secret counts as a reference, imagePullSecrets included."""
    spec = {
        "imagePullSecrets": [{"name": "registry"}],
        "initContainers": [{"name": "i", "envFrom": [{"secretRef": {"name": "init"}}]}],
        "containers": [{"name": "c", "env": [ref("X", "env", "k")]}],
        "volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "vol"}}]}}],
    }
    assert pod_secrets({"spec": spec}) == {"registry", "init", "env", "vol"}


@pytest.mark.parametrize(
    "text",
    ["{", "[]", '{"app": {}}', '{"app": {"env": "A", "file": "/b"}}', '{"app": {"env": "A", "speed": 1}}'],
)
def test_a_behaviour_that_cannot_be_understood_is_refused(text: str) -> None:
    """A wrong sandbox/app annotation is an error that names it, never a silently healthy program."""
    with pytest.raises(ValueError, match="annotation sandbox/app"):
        applications({"metadata": {"annotations": {"sandbox/app": text}}})
