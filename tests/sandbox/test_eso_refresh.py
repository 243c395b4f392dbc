"""When ESO reads the vault, as a table; and schedules, durations, validity."""

import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from agent.esohash import data_hash, synced_resource_version
from agent.sandbox.actors.eso import NotReproducible, refresh
from agent.sandbox.actors.eso.durations import seconds
from agent.sandbox.actors.eso.windows import Schedule

NOW = datetime(2026, 3, 2, 12, 0, 30, tzinfo=UTC).timestamp()  # a Monday
FRESH, OLD, FUTURE = "2026-03-02T12:00:00Z", "2026-03-02T10:59:00Z", "2026-03-02T13:00:00Z"


def external_secret(
    refreshed: str | None = FRESH, *, touched: bool = False, synced: bool = True, **spec: Any
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "app", "namespace": "shop", "generation": 1}
    version = synced_resource_version(1, {}, {})
    if touched:
        metadata["annotations"] = {"anything": "at all"}
    status = {"refreshTime": refreshed, "syncedResourceVersion": version if synced else ""}
    return {"metadata": metadata, "spec": spec, "status": status}


ALLOW_NOON = {"kind": "allow", "windows": [{"schedule": "0 12 * * *", "duration": "1h"}]}
ALLOW_NIGHT = {"kind": "allow", "windows": [{"schedule": "0 2 * * *", "duration": "1h"}]}
DENY_NOON = {"kind": "deny", "windows": [{"schedule": "0 12 * * *", "duration": "1h"}]}
DENY_NIGHT = {"kind": "deny", "windows": [{"schedule": "0 2 * * *", "duration": "1h"}]}


@pytest.mark.parametrize(
    ("expected", "what", "given"),
    [
        (False, "periodic, within the interval", external_secret()),
        (True, "periodic, interval over", external_secret(OLD)),
        (True, "periodic, touched", external_secret(touched=True)),
        (True, "periodic, never synced", external_secret(None, synced=False)),
        (True, "periodic, refreshTime in the future", external_secret(FUTURE)),
        (False, "named Periodic", external_secret(refreshPolicy="Periodic")),
        (True, "own interval over", external_secret(refreshInterval="10s")),
        (False, "interval 0, touched", external_secret(touched=True, refreshInterval="0")),
        (False, "interval 0s, old", external_secret(OLD, refreshInterval="0s")),
        (True, "interval 0, never synced", external_secret(None, synced=False, refreshInterval="0")),
        (False, "OnChange, old", external_secret(OLD, refreshPolicy="OnChange")),
        (True, "OnChange, touched", external_secret(touched=True, refreshPolicy="OnChange")),
        (True, "OnChange, never synced", external_secret(None, refreshPolicy="OnChange")),
        (False, "CreatedOnce, touched", external_secret(OLD, touched=True, refreshPolicy="CreatedOnce")),
        (True, "CreatedOnce, never synced", external_secret(None, refreshPolicy="CreatedOnce")),
        (True, "allowed window open", external_secret(OLD, syncWindows=ALLOW_NOON)),
        (False, "allowed window closed", external_secret(OLD, syncWindows=ALLOW_NIGHT)),
        (False, "denied window open", external_secret(OLD, syncWindows=DENY_NOON)),
        (True, "denied window closed", external_secret(OLD, syncWindows=DENY_NIGHT)),
        (True, "touched goes past windows", external_secret(touched=True, syncWindows=DENY_NOON)),
        (False, "window open but not due", external_secret(syncWindows=ALLOW_NOON)),
        (True, "no windows in the list", external_secret(OLD, syncWindows={"kind": "deny", "windows": []})),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_when_the_vault_is_read(expected: bool, what: str, given: dict[str, Any]) -> None:
    """Each refresh policy reads the vault exactly when it should, whatever annotation or label was touched."""
    assert refresh.should_refresh(given, NOW) is expected


def secret(data: bytes = b"v", **metadata: Any) -> dict[str, Any]:
    marks = {
        "labels": {refresh.MANAGED_LABEL: "true"},
        "annotations": {refresh.HASH_ANNOTATION: data_hash({"k": b"v"})},
    }
    return {"metadata": marks | metadata, "data": {"k": base64.b64encode(data).decode()}}


@pytest.mark.parametrize("policy", ["Owner", "Merge", "CreateOrMerge", "None"])
def test_a_secret_is_valid_only_with_label_and_matching_hash(policy: str) -> None:
    """A missing Secret, a missing label or data that does not fit its hash makes ESO fetch again, unless Orphan."""
    given = external_secret(target={"creationPolicy": policy})
    assert refresh.is_secret_valid(secret(), given)
    assert not refresh.is_secret_valid(None, given)
    assert not refresh.is_secret_valid(secret(labels={}), given)
    assert not refresh.is_secret_valid(secret(b"tampered"), given)
    assert not refresh.is_secret_valid(secret(annotations={}), given)


def test_an_orphan_is_always_valid() -> None:
    """Under creationPolicy Orphan neither a missing nor a tampered Secret is noticed before the next refresh."""
    given = external_secret(target={"creationPolicy": "Orphan"})
    assert refresh.is_secret_valid(None, given)
    assert refresh.is_secret_valid(secret(b"tampered"), given)


def test_data_and_hash_changed_together_go_unnoticed() -> None:
    """An old Secret restored together with its marks counts as valid: the hash proves integrity, not freshness."""
    restored = secret(b"old", annotations={refresh.HASH_ANNOTATION: data_hash({"k": b"old"})})
    assert refresh.is_secret_valid(restored, external_secret())


@pytest.mark.parametrize(
    ("text", "expected"), [("1h0m0s", 3600), ("90s", 90), ("1.5h", 5400), ("0", 0), ("1m500ms", 60.5), ("-1m", -60)]
)
def test_go_durations(text: str, expected: float) -> None:
    """Durations read as Go reads them."""
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "1", "h", "1d", "1h ", "1,5h"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Anything else is refused, never guessed."""
    with pytest.raises(NotReproducible):
        seconds(text)


@pytest.mark.parametrize(
    ("schedule", "moment", "expected"),
    [
        ("* * * * *", "2026-03-02T12:34", True),
        ("*/15 * * * *", "2026-03-02T12:45", True),
        ("*/15 * * * *", "2026-03-02T12:46", False),
        ("0 9-17/4 * * *", "2026-03-02T13:00", True),
        ("0 9-17/4 * * *", "2026-03-02T12:00", False),
        ("0 12 * * mon-fri", "2026-03-02T12:00", True),
        ("0 12 * * sun,sat", "2026-03-02T12:00", False),
        ("0 12 * mar *", "2026-03-02T12:00", True),
        ("0 12 1 * 1", "2026-03-02T12:00", True),
        ("0 12 1 * *", "2026-03-02T12:00", False),
        ("0 12 */2 * 2", "2026-03-02T12:00", False),
        ("0 12 * * 1", "2026-03-02T12:00", True),
        ("@hourly", "2026-03-02T12:00", True),
        ("@daily", "2026-03-02T12:00", False),
    ],
)
def test_cron_schedules(schedule: str, moment: str, expected: bool) -> None:
    """Five-field schedules fire in UTC; of two restricted day fields one suffices."""
    assert Schedule.parse(schedule).fires(datetime.fromisoformat(moment).replace(tzinfo=UTC)) is expected


@pytest.mark.parametrize(
    "schedule",
    ["", "* * * *", "* * * * * *", "@every 1h", "TZ=Europe/Berlin 0 1 * * *", "60 * * * *", "* * * * 7", "5-1 * * * *",
     "*/0 * * * *", "0 0 L * *"],
)  # fmt: skip
def test_schedules_not_understood_are_refused(schedule: str) -> None:
    """What is not understood is refused, never taken for closed or open."""
    with pytest.raises(NotReproducible):
        Schedule.parse(schedule)


def test_a_window_ends_with_its_duration() -> None:
    """A window is open from its firing to the end of its duration, both included."""
    noon = Schedule.parse("0 12 * * *")

    def at(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)

    assert noon.is_open(at("2026-03-02T12:00:00"), 600)
    assert noon.is_open(at("2026-03-02T12:10:00"), 600)
    assert not noon.is_open(at("2026-03-02T12:10:01"), 600)
    assert not noon.is_open(at("2026-03-02T11:59:59"), 600)


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        (3570.0, external_secret()),
        (None, external_secret(refreshInterval="0")),
        (0.0, external_secret(OLD)),
        (0.0, external_secret(FUTURE)),
        (3600.0, external_secret(None)),
    ],
)
def test_the_next_look_is_when_the_interval_ends(expected: float | None, given: dict[str, Any]) -> None:
    """After a sync ESO comes back when the interval has passed since the sync began; with interval 0 never."""
    assert refresh.next_look(given, NOW) == expected
