"""ExternalSecrets as decisions need them."""

from __future__ import annotations

from typing import Any

import pytest
from decode_builders import CREATED_AT, body, external_secret, owned
from hypothesis import given
from hypothesis import strategies as st

from agent.cluster.decode import Malformed, decode_object
from agent.cluster.decode.durations import go_duration
from agent.esohash import synced_resource_version
from agent.model import ExternalSecret


def decoded(**parts: Any) -> ExternalSecret:
    found = decode_object("externalsecrets", body(external_secret(**parts)))
    assert isinstance(found, ExternalSecret), found
    return found


def test_defaults_are_those_of_the_crd() -> None:
    """A spec that says little refreshes every hour, owns a Secret of its own name and retains it."""
    es = decoded()
    assert (es.refresh_policy, es.refresh_interval) == ("Periodic", 3600.0)
    assert (es.target, es.creation_policy, es.deletion_policy) == ("app", "Owner", "Retain")
    assert (es.ready, es.ready_reason, es.refresh_time, es.synced_generation) == (None, "", None, None)
    assert (es.generation, es.created, es.spec_changed) == (2, CREATED_AT, CREATED_AT)


def test_status_and_target_are_read() -> None:
    """Target, policies, times and the Ready condition come as the API server wrote them."""
    es = decoded(
        spec={
            "refreshPolicy": "OnChange",
            "refreshInterval": "0",
            "target": {"name": "other", "immutable": True, "template": {"type": "kubernetes.io/tls"}},
        },
        status={
            "refreshTime": "2026-11-23T22:00:05Z",
            "syncedResourceVersion": "2-abc",
            "conditions": [
                {"type": "Deleted", "status": "True"},
                {
                    "type": "Ready",
                    "status": "False",
                    "reason": "SecretSyncedError",
                    "lastTransitionTime": "2026-11-23T22:00:09Z",
                },
            ],
        },
    )
    assert (es.target, es.immutable, es.template_type, es.templated) == ("other", True, "kubernetes.io/tls", False)
    assert (es.refresh_policy, es.refresh_interval) == ("OnChange", 0.0)
    assert (es.refresh_time, es.synced_generation) == (CREATED_AT + 5, 2)
    assert (es.ready, es.ready_reason, es.ready_since) == (False, "SecretSyncedError", CREATED_AT + 9)


def test_a_force_sync_is_synced_when_the_status_is_what_the_metadata_lead_to() -> None:
    """Another stamp, label or generation than ESO saw, or no stamp at all, and the last sync says nothing of it."""
    labels, annotations = {"app": "shop"}, {"force-sync": "17", "note": "x"}
    synced = {"syncedResourceVersion": synced_resource_version(2, labels, annotations)}

    def force_synced(labels: dict[str, str], annotations: dict[str, str], generation: int = 2) -> bool:
        return decoded(labels=labels, annotations=annotations, generation=generation, status=synced).force_synced

    assert force_synced(labels, annotations)
    assert not force_synced(labels, {**annotations, "force-sync": "18"})
    assert not force_synced({"app": "other"}, annotations)
    assert not force_synced(labels, annotations, 3)
    assert not force_synced({}, {})
    assert decoded(annotations=annotations).force_sync == "17"


@pytest.mark.parametrize(("text", "generation"), [("7-abc", 7), ("7", 7), ("-abc", None), ("x-1", None), ("²-a", None)])
def test_the_synced_generation_is_what_eso_wrote_before_the_hash(text: str, generation: int | None) -> None:
    """Anything that is no number says that nothing was synced."""
    assert decoded(status={"syncedResourceVersion": text}).synced_generation == generation


def test_a_child_of_a_cluster_external_secret_names_its_parent() -> None:
    """Only an owner of that kind is a parent."""
    parent = owned("ClusterExternalSecret", "everywhere", "external-secrets.io/v1")
    assert decoded(ownerReferences=parent).cluster_parent == "everywhere"
    assert decoded(ownerReferences=owned("Application", "x", "argoproj.io/v1")).cluster_parent == ""


def test_sync_windows_are_spans_of_seconds() -> None:
    """Each window keeps its kind, its cron expression and its length."""
    windows = {"kind": "deny", "windows": [{"schedule": "0 1 * * *", "duration": "90m"}]}
    assert decoded(spec={"syncWindows": windows}).sync_windows == (("deny", "0 1 * * *", 5400.0),)
    assert decoded(spec={"syncWindows": [windows]}).sync_windows == (("deny", "0 1 * * *", 5400.0),)


def test_spec_and_status_writers_are_told_apart_by_managed_fields() -> None:
    """The spec counts as changed when an entry that owns part of it was written, not when the status was."""
    entries = [
        {"manager": "kubectl", "time": "2026-11-23T22:00:10Z", "fieldsV1": {"f:spec": {}}},
        {"manager": "external-secrets", "time": "2026-11-23T22:00:30Z", "fieldsV1": {"f:status": {}}},
    ]
    assert decoded(managedFields=entries).spec_changed == CREATED_AT + 10


def test_an_interval_that_is_none_is_named_without_its_text() -> None:
    """ESO could not read it either: the object is malformed by that field."""
    found = decode_object("externalsecrets", body(external_secret(spec={"refreshInterval": "every-so-often"})))
    assert isinstance(found, Malformed)
    assert str(found) == "externalsecrets shop/app: spec.refreshInterval: is no duration such as 1h30m0s"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h0m0s", 3600.0),
        ("1h30m", 5400.0),
        ("90s", 90.0),
        ("0", 0.0),
        ("0s", 0.0),
        ("1.5h", 5400.0),
        (".5m", 30.0),
        ("100ms", 0.1),
        ("1m30.5s", 90.5),
        ("-1h", -3600.0),
        ("+5s", 5.0),
        ("24h", 86400.0),
        ("1us", 1e-6),
    ],
)
def test_durations_are_read_as_go_reads_them(text: str, seconds: float) -> None:
    """Every form that metav1.Duration prints or takes."""
    assert go_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "1", "h", ".h", "1d", "1h 30m", "one hour", "-", "1h-3m", "9999999999h", "1" * 99]
)
def test_what_go_refuses_is_refused(text: str) -> None:
    """No unit, an unknown unit, spaces and overflow are no durations."""
    with pytest.raises(ValueError, match="is no duration"):
        go_duration(text)


@given(hours=st.integers(0, 10_000), minutes=st.integers(0, 59), seconds=st.integers(0, 59))
def test_durations_add_up(hours: int, minutes: int, seconds: int) -> None:
    """Hours, minutes and seconds as Go prints them add up to whole seconds."""
    assert go_duration(f"{hours}h{minutes}m{seconds}s") == hours * 3600 + minutes * 60 + seconds
