"""Acknowledgements of a storm, as they are read: bounded by the API server's clock, whatever they say of themselves."""

from __future__ import annotations

import msgspec
import pytest

from agent.cli import parser
from agent.cluster.stored import Stored
from agent.ledger import requests
from agent.ledger.requests import Acknowledgement, in_force
from agent.model import ObjectKey

NOW = 1_800_000_000.0
HOUR, DAY = 3600.0, 86400.0


def ack(created: float, seconds: float, name: str = "a", by: str = "me@laptop") -> Stored:
    """One as `storm ack` makes it."""
    request = requests.Request(kind="storm-ack", at=created, by=by, seconds=seconds)
    return msgspec.structs.replace(
        requests.asked("agent", request), key=ObjectKey("agent", requests.PREFIX + name), created=created
    )


def text(content: bytes) -> Stored:
    """One of this content, created now."""
    return Stored(kind="configmaps", key=ObjectKey("agent", "odd"), data={"request": content}, created=NOW)


def test_it_holds_until_its_time_has_passed() -> None:
    """To the end of its seconds, and not at the end itself."""
    there = [ack(NOW, HOUR)]
    assert in_force(there, NOW) == Acknowledgement(until=NOW + HOUR, by="me@laptop")
    assert in_force(there, NOW + HOUR - 1) is not None
    assert in_force(there, NOW + HOUR) is None
    assert in_force([], NOW) is None


def test_the_newest_alone_counts() -> None:
    """A second one replaces the first, for longer and for shorter, in whatever order they are listed."""
    first, second = ack(NOW, DAY, "a"), ack(NOW + 10, 60, "b")
    for there in ([first, second], [second, first]):
        assert in_force(there, NOW + 20) == Acknowledgement(until=NOW + 70, by="me@laptop")
        assert in_force(there, NOW + 100) is None


@pytest.mark.parametrize("seconds", [DAY, 10 * DAY, 1e300])
def test_none_holds_longer_than_a_day(seconds: float) -> None:
    """Counted from its creation as the API server tells it."""
    (found,) = requests.acknowledgements([ack(NOW, seconds)])
    assert requests.acknowledgement_of(found) == Acknowledgement(until=NOW + DAY, by="me@laptop")


def test_a_forged_time_of_asking_lengthens_nothing() -> None:
    """`at` is what the object says of itself: it is not asked."""
    forged = text(b'{"kind":"storm-ack","at":%d,"seconds":60}' % int(NOW + 1000 * DAY))
    assert in_force([forged], NOW + 59) is not None
    assert in_force([forged], NOW + 60) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b'{"kind":"storm-ack"}',
        b'{"kind":"storm-ack","at":1}',
        b'{"kind":"storm-ack","at":1,"seconds":0}',
        b'{"kind":"storm-ack","at":1,"seconds":-5}',
        b'{"kind":"storm-ack","at":1,"seconds":NaN}',
        b'{"kind":"storm-ack","at":1,"seconds":1e999}',
        b'{"kind":"storm-ack","at":1,"seconds":"9"}',
        b'{"kind":"heal","at":1,"seconds":60,"namespace":"shop","name":"app"}',
        b'{"kind":"storm-ack","at":1,"seconds":60,"by":"' + b"x" * (64 << 10) + b'"}',
    ],
)
def test_what_is_none_is_passed_over(content: bytes) -> None:
    """Beside it, one that is good counts."""
    assert requests.acknowledgement_of(text(content)) is None
    assert in_force([text(content), ack(NOW, HOUR)], NOW) is not None


@pytest.mark.parametrize(("given", "seconds"), [([], HOUR), (["--for", "2h"], 2 * HOUR), (["--for", "24h"], DAY)])
def test_the_command_asks_for_an_hour_or_as_long_as_is_said(given: list[str], seconds: float) -> None:
    """Up to a day."""
    assert parser().parse_args(["storm", "ack", *given]).seconds == seconds


@pytest.mark.parametrize("span", ["0s", "25h", "-1h", "2", "soon"])
def test_the_command_refuses_any_other_time(span: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With 64, and what it expected."""
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["storm", "ack", f"--for={span}"])
    assert ended.value.code == 64
    assert "expected" in capsys.readouterr().err


def test_who_asked_is_told_in_short() -> None:
    """However long a name is written there."""
    found = in_force([ack(NOW, HOUR, by="x" * 5000)], NOW)
    assert found is not None
    assert len(found.by) == 200
