"""Nothing is recycled while a chain of the workload is not in order; one that is being synced is merely waited for."""

from __future__ import annotations

from msgspec.structs import replace

from agent.diagnose.view import ChainReport, Upstream
from agent.model import Finding, Kind, Link, ObjectKey, Refusal, State, WorkloadKey
from agent.plan.decisions import Wait
from agent.plan.gates import gate_upstream
from agent.plan.recycle import Chain, RecycleCase, Surroundings, drifting_since
from agent.policy import Policy

NOW = 2_000_000.0
DAY = 86400.0


def chain(name: str, vault: State = State.STALE, *, since: float = NOW - 5, syncing: bool = False) -> Chain:
    """A chain whose first link is in this state since then."""
    key = ObjectKey("shop", name)
    said = Finding(chain=key, link=Link.VAULT, kind=Kind.SYNC_FAILED, since=since, evidence="", cause="access-denied")
    above = Upstream(vault=vault, secret=State.FRESH, findings=() if vault is State.FRESH else (said,))
    report = ChainReport(chain=key, upstream=above, containers=State.STALE, findings=above.findings)
    return Chain(report=report, excluded=False, drifting_since=since, newest_created=since, syncing=syncing)


def asked(*chains: Chain) -> Refusal | Wait | None:
    """The gate's answer for a workload with these chains."""
    return gate_upstream(
        RecycleCase(
            key=WorkloadKey("shop", "Deployment", "backend"), workload=None, pods=(), chains=chains, heal=None,
            heal_key="k", sources=(), policy=Policy(), rule=None, around=Surroundings(), now=NOW,
        )
    )  # fmt: skip


def test_a_chain_that_is_not_in_order_holds_the_workload_up() -> None:
    """The refusal names the chain, what is wrong with it, and the cause."""
    refusal = asked(chain("user", State.FRESH), chain("password"))
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "upstream"
    assert "shop/password is not in order: sync-failed (access-denied)" in refusal.detail


def test_a_chain_that_is_being_synced_is_waited_for_without_a_word() -> None:
    """It takes a moment, and nobody has to act."""
    assert isinstance(asked(chain("user", State.FRESH), chain("password", syncing=True)), Wait)


def test_a_failing_chain_is_said_though_another_one_is_being_synced() -> None:
    """In whichever order they come."""
    both = chain("password", syncing=True), chain("user")
    for answer in (asked(*both), asked(*reversed(both))):
        assert isinstance(answer, Refusal)
        assert "shop/user" in answer.detail


def test_what_is_said_beside_is_no_reason_and_an_answer_on_its_way_is_waited_for() -> None:
    """A vault secret that expires next month holds nothing up; the one finding that does is named."""
    waiting = chain("password", State.UNKNOWN)
    (broken,) = waiting.report.upstream.findings
    note = replace(broken, kind=Kind.EXPIRING, cause="")
    for findings, kind in (((note,), Wait), ((note, broken), Refusal)):
        upstream = replace(waiting.report.upstream, findings=findings)
        answer = asked(replace(waiting, drifting_since=0.0, report=replace(waiting.report, upstream=upstream)))
        assert isinstance(answer, kind)
        assert not isinstance(answer, Refusal) or "sync-failed" in answer.detail


def test_what_has_been_wrong_for_long_hides_nothing_that_has_just_begun() -> None:
    """A search is unknown for ever: once its Secret goes, too, no pod is sent away that would need it."""
    old = chain("password", State.UNKNOWN, since=NOW - 9 * DAY)
    (unknown,) = (replace(finding, kind=Kind.UNKNOWN, cause="unsupported") for finding in old.report.findings)
    gone = replace(unknown, kind=Kind.MISSING_SECRET, link=Link.SECRET, since=NOW - 5, cause="")
    for order in ((unknown, gone), (gone, unknown)):
        upstream = replace(old.report.upstream, secret=State.STALE, findings=order)
        report = replace(old.report, upstream=upstream)
        since = drifting_since(report, {"unknown": NOW - 9 * DAY})
        assert since == NOW - 5
        assert isinstance(asked(replace(old, report=report, drifting_since=since)), Refusal)
        assert drifting_since(report, {"unknown": NOW - 9 * DAY, "missing-secret": NOW - 2 * DAY}) == NOW - 2 * DAY


def test_a_version_that_was_disabled_long_ago_holds_nothing_up() -> None:
    """ESO may never read it: under OnChange, or outside its windows, the chain stays as it is."""
    for since, kind in ((NOW - 9 * DAY, type(None)), (NOW - 5, Refusal)):
        seen = chain("password", State.UNKNOWN, since=since)
        findings = tuple(replace(finding, kind=Kind.DISABLED, cause="") for finding in seen.report.findings)
        report = replace(seen.report, upstream=replace(seen.report.upstream, findings=findings))
        assert isinstance(asked(replace(seen, report=report, drifting_since=drifting_since(report, {}))), kind)


def test_a_change_of_the_secret_that_is_not_understood_yet_is_waited_for() -> None:
    """For some seconds a sync may explain it; till then nobody gets what was put there, however old all else is."""
    old = chain("password", State.UNKNOWN, since=NOW - 9 * DAY)
    upstream = replace(old.report.upstream, secret=State.UNKNOWN, wake_at=NOW + 9)
    assert isinstance(asked(replace(old, report=replace(old.report, upstream=upstream))), Wait)


def test_a_chain_that_has_been_broken_for_longer_than_a_day_holds_nothing_up() -> None:
    """Else a forgotten ExternalSecret would keep an outage going for ever."""
    assert asked(chain("password", since=NOW - DAY - 10)) is None
    assert asked(chain("password", State.FRESH)) is None
