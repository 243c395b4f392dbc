"""Whether a Secret that target.immutable froze was written from the newest version of a vault secret."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from test_diagnose_chain import KEY, LONG_AGO, NOW, POLICY, SOURCE, external_secret, full, view

from agent.diagnose import frozen, sources
from agent.diagnose.view import ChainView
from agent.memory import ChainMemory, Made, SourceMemory
from agent.model import Kind, SecretView, SourceKey, SourceState, State

MADE = NOW - 5000
MARGIN = POLICY.margins.vault
ABSENT = sources.look(None, SourceState(present=False), at=MADE - 600)
IDENTITY = SourceState(created=MADE + 5).identity


def seen(created: float, chain: ChainMemory | None = None, **source: Any) -> ChainView:
    """A chain with an immutable target, made at MADE, whose vault secret has a version of ``created``."""
    known = SourceMemory(state=SourceState(created=created), event_at=created, seen_at=created + 1, **source)
    secret = SecretView(
        key=KEY, uid="s", resource_version="1", created=MADE, touched=MADE, prints={"API_KEY": "a"}, managed=True,
        immutable=True, hash_fits=True,
    )  # fmt: skip
    found = view(es=external_secret(immutable=True), sources={SOURCE: known}, secret=secret)
    return replace(found, memory=chain or ChainMemory())


@pytest.mark.parametrize(
    ("moment", "told", "held"),
    [
        (seen(MADE - MARGIN - 1, witnessed=True), "older by more than the margin", True),
        (seen(MADE + MARGIN + 1, witnessed=True), "younger by more than the margin", False),
        (seen(MADE + 5, witnessed=True), "of the same moment", None),
        (seen(MADE - 5, witnessed=True), "of the same moment, seen to change", None),
        (seen(MADE - 5), "found beside it, the earlier one", True),
        (seen(MADE + 5), "found beside it, the later one", None),
        (seen(MADE - 5, witnessed=True, former=ABSENT, earliest=MADE - 5), "the first and only one", True),
        (seen(MADE - 5, witnessed=True, former=ABSENT, earliest=MADE - 50), "not the only one", None),
        (seen(MADE - 5, witnessed=True, former=ABSENT), "perhaps not the only one", None),
        (seen(MADE + 5, witnessed=True, unseen_at=MADE + 2), "an answer of after it did not have it", False),
        (seen(MADE + 5, witnessed=True, unseen_at=MADE + 1), "an answer of perhaps before it did not have it", None),
        (
            seen(MADE + 5, ChainMemory(made=Made(uid="s", holds={str(SOURCE): IDENTITY})), witnessed=True),
            "seen before we deleted the former Secret",
            True,
        ),
        (
            seen(MADE + 5, ChainMemory(made=Made(uid="t", holds={str(SOURCE): IDENTITY})), witnessed=True),
            "that was another Secret",
            None,
        ),
        (
            seen(MADE + 5, ChainMemory(covered={str(SOURCE): IDENTITY}, covered_at=MADE - 0.1), witnessed=True),
            "fetched by a force-sync before it was made",
            True,
        ),
        (
            seen(MADE + 5, ChainMemory(covered={str(SOURCE): IDENTITY}, covered_at=MADE), witnessed=True),
            "fetched by a force-sync of perhaps after that",
            None,
        ),
    ],
)
def test_a_frozen_secret_holds_what_clocks_or_the_order_of_things_prove(
    moment: ChainView, told: str, held: bool | None
) -> None:
    """Within the margin of the clocks only what we caused and saw tells; else it is not known."""
    assert frozen.held(moment, SOURCE, moment.sources[SOURCE], POLICY) is held, told
    report = full(moment)
    assert report.upstream.secret is {True: State.FRESH, False: State.STALE, None: State.UNKNOWN}[held], told
    kinds = [finding.kind for finding in report.findings]
    assert kinds == {True: [], False: [Kind.STUCK], None: [Kind.UNKNOWN]}[held], told


def test_of_a_pinned_version_a_frozen_secret_need_not_hold_a_newer_one() -> None:
    """Where the spec names the version, the vault's newest one is nothing that the Secret lacks."""
    moment = seen(MADE + MARGIN + 1, witnessed=True)
    (use, source), *_ = moment.resolved
    floating = replace(use, name="another")
    other = SourceMemory(state=SourceState(created=LONG_AGO), event_at=LONG_AGO, seen_at=LONG_AGO)
    another = SourceKey(source.vault, "another")
    fixed = replace(
        moment,
        resolved=((replace(use, version="v1"), source), (floating, another)),
        sources={source: moment.sources[SOURCE], another: other},
    )
    assert full(fixed).upstream.secret is State.FRESH


def test_a_vault_secret_that_was_deleted_and_recovered_leaves_a_frozen_secret_as_good_as_it_was() -> None:
    """An answer of the time at which it was hidden does not prove that its version is younger than the Secret."""
    moment = seen(LONG_AGO)
    known = sources.look(moment.sources[SOURCE], SourceState(present=False), at=MADE + 100, before=MADE + 90)
    known = sources.look(known, SourceState(created=LONG_AGO), at=MADE + 200, before=MADE + 190)
    assert full(replace(moment, sources={SOURCE: known})).findings == ()
