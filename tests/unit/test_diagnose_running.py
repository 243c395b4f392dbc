"""Which version of a vault secret a container runs, as far as that can be known."""

from __future__ import annotations

from typing import Any

from test_diagnose_chain import ENV, LONG_AGO, LOOK, NOW, POLICY, SOURCE, external_secret, history, pod, view

from agent.diagnose.running import Might, versions
from agent.diagnose.view import ChainView
from agent.memory import UNOBSERVED, SourceMemory, VersionSeen
from agent.model import Pod, SourceState, Use

OLD, NEW = LONG_AGO - 5, NOW - 500
BEFORE, AFTER = LOOK - 86400.0, NOW - 300


def source(*created: float, ids: bool = True) -> SourceMemory:
    """A vault secret with these versions, newest first; by a version list, or as sweeps showed them."""
    return SourceMemory(
        state=SourceState(created=created[0]), event_at=created[0], seen_at=created[0] + 1, witnessed=True,
        versions=tuple(VersionSeen(created=at, id=f"id-{at:.0f}" if ids else "") for at in created),
    )  # fmt: skip


def rotated(*pods: Pod, **fields: Any) -> ChainView:
    """The old value at our first look, the new version, and a sync that brought it."""
    memory = history(("new", NOW - 400), ("old", LOOK))
    return view(*pods, memory=memory, sources={SOURCE: source(NEW, OLD)}, **fields)


def runs(seen: ChainView, *, assumed_from: float = float("inf"), settled: bool = True) -> Might | None:
    """What the only container runs."""
    [one] = seen.pods
    found = versions(
        seen, one, one.containers[0], one.runs[0], POLICY, NOW, assumed_from=assumed_from, settled=settled
    )  # fmt: skip
    return found.get(SOURCE)


def test_a_container_started_after_the_sync_runs_the_newest_version() -> None:
    """What an acknowledged sync has fetched needs no clock."""
    assert runs(rotated(pod("p", created=AFTER))) == Might((NEW,), older=False)


def test_a_container_that_watched_the_first_look_runs_the_version_before() -> None:
    """It started between our first look and the new version: the value differs, so it is not the newest."""
    assert runs(rotated(pod("p", created=LOOK + 100))) == Might((OLD,), older=False)


def test_a_container_from_before_the_first_look_may_run_an_older_version_still() -> None:
    """The clocks say which version was the newest then, but not that ESO did its work."""
    assert runs(rotated(pod("p", created=BEFORE))) == Might((OLD,), older=True)


def test_a_container_that_is_assumed_to_hold_the_first_value_runs_the_version_of_that_time() -> None:
    """Also when newer versions have come since."""
    assert runs(rotated(pod("p", created=BEFORE)), assumed_from=BEFORE - 100) == Might((OLD,), older=False)


def test_a_version_that_eso_has_not_fetched_is_run_by_nobody() -> None:
    """Until the sync, whoever starts gets the version of the last good sync."""
    seen = view(
        pod("p", created=NOW - 300), sources={SOURCE: source(NEW, OLD)}, es=external_secret(refresh_time=NOW - 5000)
    )
    assert runs(seen) == Might((OLD,), older=False)


def test_what_nobody_watched_leaves_several_versions() -> None:
    """A span without observation: any version of that time, and no more."""
    memory = history(("new", NOW - 50), (UNOBSERVED, NOW - 400), ("old", LOOK))
    seen = view(
        pod("p", created=NOW - 300), memory=memory, sources={SOURCE: source(NOW - 100, NOW - 380, OLD)},
        es=external_secret(refresh_time=NOW - 60),
    )  # fmt: skip
    assert runs(seen) == Might((NOW - 380, OLD), older=False)


def test_versions_that_no_list_has_named_may_have_older_ones_behind_them() -> None:
    """Sweeps show the newest version only: what came before the first one we saw is not known."""
    seen = view(pod("p", created=LOOK + 100), memory=history(("a", LOOK)), sources={SOURCE: source(NOW - 100, ids=False)},  # noqa: E501
                es=external_secret(refresh_time=NOW - 5000))  # fmt: skip
    assert runs(seen) == Might((), older=True)


def test_a_plain_volume_follows_the_secret() -> None:
    """Its files are those of the present data, however old the container."""
    files = pod("p", created=BEFORE, uses=(Use("app-secrets", "volume"),))
    assert runs(rotated(files)) == Might((NEW,), older=False)


def test_while_the_secret_is_not_as_eso_wrote_it_nothing_is_proved_of_it() -> None:
    """A value that someone else wrote is no version of the vault's: the clocks' answer is all there is."""
    found = runs(rotated(pod("p", created=AFTER)), settled=False)
    assert found is not None
    assert NEW in found.versions


def test_a_container_that_never_ran_runs_nothing() -> None:
    """Nor one whose key no vault secret feeds."""
    waiting = pod("p", created=AFTER)
    waiting = type(waiting)(**{f: getattr(waiting, f) for f in waiting.__struct_fields__} | {"runs": (_WAITING,)})
    assert runs(rotated(waiting)) is None
    other = pod("p", created=AFTER, uses=(Use("app-secrets", "env", ("OTHER",)),))
    assert runs(rotated(other)) is None
    assert ENV.keys == ("API_KEY",)


_WAITING = type(pod("p", created=0).runs[0])(state="waiting")
