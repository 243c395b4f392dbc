"""What happened to a vault secret between two looks at its list."""

from __future__ import annotations

import pytest

from agent.diagnose import sources
from agent.memory import SourceMemory, VersionSeen
from agent.model import SourceState

FIRST = sources.look(None, SourceState(created=100.0), at=500.0)


def seen(*created: float) -> SourceMemory:
    """A secret whose versions came one by one, each seen 10 s after it was created."""
    memory: SourceMemory | None = None
    for one in created:
        memory = sources.look(memory, SourceState(created=one), at=one + 10)
    assert memory is not None
    return memory


def test_the_first_look_witnesses_nothing() -> None:
    """The version is as old as the vault says; that it came is not our news."""
    assert (FIRST.event_at, FIRST.seen_at, FIRST.witnessed) == (100.0, 500.0, False)
    assert FIRST.versions == (VersionSeen(created=100.0),)


def test_a_secret_that_is_not_there_at_the_first_look_is_an_event_of_that_time() -> None:
    """Nobody can say since when."""
    absent = sources.look(None, SourceState(present=False), at=500.0)
    assert (absent.event_at, absent.versions) == (500.0, ())


def test_a_new_version_is_an_event_at_its_creation_and_witnessed() -> None:
    """The clock of its way to the containers starts when it was created, not when we looked."""
    after = sources.look(FIRST, SourceState(created=550.0), at=600.0)
    assert (after.event_at, after.seen_at, after.witnessed) == (550.0, 600.0, True)
    assert [version.created for version in after.versions] == [550.0, 100.0]


@pytest.mark.parametrize(
    "state",
    [
        SourceState(created=100.0),
        SourceState(created=100.0, expires=9000.0),
        SourceState(created=100.0, not_before=50.0),
        SourceState(created=100.0, ignored=True),
    ],
)
def test_dates_and_tags_are_no_events(state: SourceState) -> None:
    """They can bring no other value, so only the state is replaced."""
    after = sources.look(FIRST, state, at=600.0)
    assert after.state == state
    assert (after.event_at, after.seen_at, after.witnessed) == (100.0, 500.0, False)


@pytest.mark.parametrize("state", [SourceState(created=100.0, enabled=False), SourceState(present=False)])
def test_disabled_deleted_and_back_again_are_events_of_when_they_were_seen(state: SourceState) -> None:
    """The vault does not tell when that was done."""
    gone = sources.look(FIRST, state, at=600.0)
    assert (gone.event_at, gone.seen_at, gone.witnessed) == (600.0, 600.0, True)
    back = sources.look(gone, FIRST.state, at=700.0)
    assert (back.seen_at, back.witnessed) == (700.0, True)
    assert [(version.created, version.enabled) for version in back.versions] == [(100.0, True)]


def test_a_secret_that_returns_with_the_version_it_had_is_as_old_as_that_version() -> None:
    """A good sync that began after the version's creation has read it: nothing new came with the return."""
    gone = sources.look(FIRST, SourceState(present=False), at=600.0)
    assert sources.look(gone, FIRST.state, at=700.0).event_at == 100.0
    assert sources.look(gone, SourceState(created=650.0), at=700.0).event_at == 650.0


def test_an_older_version_that_is_the_newest_again_is_an_event_of_when_it_was_seen() -> None:
    """A vault restored from a backup: its newest version may be older than the one we knew."""
    after = sources.look(seen(100.0, 200.0), SourceState(created=100.0), at=300.0)
    assert after.event_at == 300.0
    assert after.versions[0].created == 100.0


def test_a_secret_that_returns_with_an_older_version_is_an_event_of_when_it_was_seen() -> None:
    """Purged, and restored from a backup: a sync that began after that version's creation has read the purged one."""
    gone = sources.look(seen(100.0, 200.0), SourceState(present=False), at=300.0)
    assert sources.look(gone, SourceState(created=100.0), at=400.0).event_at == 400.0
    assert sources.look(gone, SourceState(created=200.0), at=400.0).event_at == 200.0
    never = sources.look(None, SourceState(present=False), at=300.0)
    assert sources.look(never, SourceState(created=100.0), at=400.0).event_at == 100.0


def test_that_a_version_was_not_there_yet_is_told_by_answers_that_showed_another_one() -> None:
    """While a secret was deleted its versions were hidden, and one out of a backup may be as old as it says."""
    second = sources.look(FIRST, SourceState(created=550.0), at=600.0, before=540.0)
    assert second.unseen_at == 540.0
    gone = sources.look(second, SourceState(present=False), at=700.0, before=640.0)
    for created, unseen in ((550.0, 540.0), (720.0, 540.0), (100.0, 0.0)):
        assert sources.look(gone, SourceState(created=created), at=800.0, before=740.0).unseen_at == unseen
    assert sources.look(second, SourceState(created=100.0), at=800.0, before=740.0).unseen_at == 0.0
    disabled = sources.look(second, SourceState(created=550.0, enabled=False), at=800.0, before=740.0)
    assert disabled.unseen_at == 540.0


def test_a_look_that_shows_nothing_new_changes_nothing() -> None:
    """The very same memory, so that nothing is written to the ledger."""
    assert sources.look(FIRST, SourceState(created=100.0), at=600.0) is FIRST


def test_a_version_list_adds_ids_and_versions_never_seen() -> None:
    """What a list says wins over what we had, newest first, and no more are kept than are useful."""
    listed = [VersionSeen(created=150.0, id="b"), VersionSeen(created=100.0, enabled=False, id="a")]
    learnt = sources.learn_versions(seen(100.0, 200.0), listed)
    assert learnt.versions == (VersionSeen(created=200.0), *listed)
    many = sources.learn_versions(learnt, [VersionSeen(created=float(n)) for n in range(1000, 1100)])
    assert len(many.versions) == sources.KEPT_VERSIONS
    assert many.versions[0].created == 1099.0


def test_the_version_to_go_back_to_is_the_newest_enabled_one_before_the_current() -> None:
    """Disabled versions cannot be read; without any other there is none."""
    memory = sources.learn_versions(seen(100.0, 200.0, 300.0), [VersionSeen(created=200.0, enabled=False)])
    former = sources.previous(memory)
    assert former is not None
    assert former.created == 100.0
    assert sources.previous(seen(100.0)) is None


def test_the_newest_enabled_version_is_named_when_the_newest_is_disabled() -> None:
    """What can still be read, as far as is known."""
    disabled = sources.look(seen(100.0, 200.0), SourceState(created=200.0, enabled=False), at=300.0)
    enabled = sources.newest_enabled(disabled)
    assert enabled is not None
    assert enabled.created == 100.0


@pytest.mark.parametrize(
    ("begin", "end", "found"),
    [
        (0, 50, ()),
        (0, 100, (100.0,)),
        (120, 130, (100.0,)),
        (150, 250, (200.0, 100.0)),
        (200, 200, (200.0, 100.0)),
        (210, 900, (300.0, 200.0)),
        (400, 900, (300.0,)),
    ],
)
def test_the_versions_of_a_span_are_those_that_were_the_newest_at_some_moment_of_it(
    begin: float, end: float, found: tuple[float, ...]
) -> None:
    """A version counts until its successor comes, the ends of the span included."""
    assert sources.versions_between(seen(100.0, 200.0, 300.0), begin, end) == found
