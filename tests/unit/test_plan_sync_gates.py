"""What keeps the upper rungs of the ladder from being climbed in vain, or for what may not be judged."""

from __future__ import annotations

from agent.diagnose.view import ChainReport, ChainView, Upstream
from agent.memory import ChainMemory, SourceMemory, Tries
from agent.model import (
    ExternalSecret,
    Finding,
    Kind,
    Link,
    ObjectKey,
    SecretView,
    SourceKey,
    SourceState,
    State,
    StoreKey,
    Trouble,
)
from agent.plan import sync
from agent.plan.decisions import ForceSync, Recreate, Refuse, SyncDecision, Wait
from agent.policy import Limits, Policy, SyncRule

NOW = 2_000_000.0
CHAIN = ObjectKey("shop", "app")
SOURCE = SourceKey("prod-kv.vault.azure.net", "api-key")
SEEN = SourceMemory(state=SourceState(created=NOW - 50), event_at=NOW - 50, seen_at=NOW - 40, witnessed=True)


def decided(
    kind: Kind,
    *steps: str,
    proved_at: float = NOW - 5,
    blind: tuple[Trouble, ...] = (),
    ready_since: float | None = None,
    source: SourceMemory = SEEN,
    deletion_policy: str = "Retain",
) -> SyncDecision:
    """What is done about an immutable target that drifts for a minute, last force-synced at ``proved_at``."""
    es = ExternalSecret(
        key=CHAIN, uid="es", resource_version="1", generation=1, created=1.0,
        stores=(StoreKey("SecretStore", "shop", "vault"),), uses=(), target="app", immutable=True, ready=True,
        ready_since=ready_since, deletion_policy=deletion_policy,
    )  # fmt: skip
    secret = SecretView(
        key=CHAIN, uid="s", resource_version="9", created=1.0, touched=1.0, prints={}, immutable=True, owner_uid="es"
    )
    memory = ChainMemory(covered={str(SOURCE): SEEN.state.identity}, covered_at=proved_at, since={kind.value: NOW - 60})
    view = ChainView(es=es, stores={}, sources={SOURCE: source}, secret=secret, memory=memory, blind=blind)
    found = Finding(chain=CHAIN, link=Link.SECRET, kind=kind, since=NOW - 60, evidence="e")
    above = Upstream(vault=State.FRESH, secret=State.STALE, findings=(found,))
    report = ChainReport(chain=CHAIN, upstream=above, containers=State.AWAITING, findings=above.findings)
    rule = SyncRule.model_validate({"namespaces": ("shop",), "steps": steps})
    policy = Policy(mode="heal", sync=(rule,))
    return sync.decide(sync.SyncCase(view=view, report=report, policy=policy, now=NOW))


def reason(decision: SyncDecision) -> str:
    """Of a refusal."""
    assert isinstance(decision, Refuse)
    return decision.refusal.reason


def test_a_stuck_secret_is_recreated_right_after_eso_has_proved_that_it_can_read_everything() -> None:
    """The force-sync acknowledged seconds ago is the proof."""
    assert isinstance(decided(Kind.STUCK, "force-sync", "recreate"), Recreate)


def test_an_old_proof_is_renewed_by_a_force_sync_before_anything_is_deleted() -> None:
    """After a minute ESO may have lost its access."""
    assert isinstance(decided(Kind.STUCK, "force-sync", "recreate", proved_at=NOW - 61), ForceSync)


def test_no_proof_is_fetched_for_a_recreate_that_is_refused_anyway() -> None:
    """A force-sync would change nothing, every minute anew."""
    assert reason(decided(Kind.STUCK, "force-sync", proved_at=NOW - 61)) == "step-not-allowed"


def test_what_may_not_be_looked_at_is_not_synced_either() -> None:
    """A store whose vault is refused, or not in the policy's list, gets no request on its account, not even by ESO."""
    for cause in ("store", "vault-not-listed"):
        trouble = Trouble(cause=cause, detail="why")
        assert reason(decided(Kind.MISSING_SECRET, "force-sync", blind=(trouble,))) == cause


def test_a_vault_that_only_we_cannot_reach_does_not_keep_eso_from_bringing_a_secret_back() -> None:
    """ESO may well reach it."""
    down = Trouble(cause="unreachable", detail="why")
    assert isinstance(decided(Kind.MISSING_SECRET, "force-sync", blind=(down,)), ForceSync)


def test_an_eso_that_has_just_recovered_gets_the_time_to_do_it_by_itself() -> None:
    """The Secret was missing all the while that ESO failed; what it writes now may come to us after its status."""
    for kind, patience in ((Kind.MISSING_SECRET, 10.0), (Kind.MISSING_KEY, 10.0), (Kind.CHANGED_ELSEWHERE, 2.0)):
        waits = decided(kind, "force-sync", ready_since=NOW - 1)
        assert isinstance(waits, Wait)
        assert waits.until == NOW - 1 + patience
        assert isinstance(decided(kind, "force-sync", ready_since=NOW - patience), ForceSync)


def test_no_sync_is_asked_for_while_a_vault_secret_is_gone_and_the_reason_is_the_true_one() -> None:
    """Under Retain it would fail; else it would take away what is still there, and ESO does that in its own time."""
    gone = SourceMemory(state=SourceState(present=False), event_at=NOW - 50, seen_at=NOW - 50, witnessed=True)
    for policy, words in (("Retain", "would fail"), ("Delete", "would take what it fed"), ("Merge", "would take")):
        refused = decided(Kind.CHANGED_ELSEWHERE, "force-sync", source=gone, deletion_policy=policy)
        assert reason(refused) == "source-gone"
        assert isinstance(refused, Refuse)
        assert words in refused.refusal.detail


def test_the_wait_between_attempts_ends_growing_however_many_there_were() -> None:
    """A policy may allow a hundred thousand of them; each doubles the wait up to its longest."""
    policy, tries, waits = Policy(limits=Limits(attempts=100_000)), None, []
    for _ in range(3):
        tries = sync.tried(tries, "k", policy, NOW)
        waits.append(tries.next_at - NOW)
    assert waits == [30.0, 60.0, 120.0]
    late = sync.tried(Tries(key="k", count=99_999, next_at=NOW), "k", policy, NOW)
    assert (late.count, late.next_at) == (100_000, NOW + 3600.0)
    assert sync.tried(late, "k", policy, NOW, longest=90.0).next_at == NOW + 90.0
