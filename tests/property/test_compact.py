"""What is kept small behaves as what is kept plainly."""

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from agent.cluster.decode import sharing
from agent.engine.index import FEW, Index
from agent.memory import Entry, SecretMemory
from agent.model import ObjectKey
from agent.packed import Packed

_NAMES = st.sampled_from(["a", "b", "c"])
_KEYS = st.integers(0, 3 * FEW).map(lambda number: ObjectKey("shop", f"pod-{number}"))
_TIMES = st.floats(0, 4e9, allow_nan=False)
_ENTRIES = st.builds(
    Entry, value=st.text(max_size=40), lo=_TIMES, hi=_TIMES, born=_TIMES, gone=st.booleans()
)  # fmt: skip
_MEMORIES = st.builds(
    SecretMemory, uid=st.text(max_size=40), resource_version=st.text(max_size=12), touched=_TIMES, first_look=_TIMES,
    keys=st.dictionaries(st.text(max_size=20), st.lists(_ENTRIES, max_size=4).map(tuple), max_size=4),
    immutable=st.booleans(), assumed_from=st.none() | _TIMES, others=st.lists(_ENTRIES, max_size=2).map(tuple),
)  # fmt: skip


@given(st.lists(st.tuples(st.booleans(), _NAMES, _KEYS), max_size=120))
def test_an_index_holds_what_was_linked_and_no_name_of_nothing(steps: Iterable[tuple[bool, str, ObjectKey]]) -> None:
    """Few members or many, an index gives what was linked and not unlinked since, and has no name without a member."""
    index: Index[str] = Index()
    plain: dict[str, set[ObjectKey]] = {}
    for link, name, key in steps:
        if link:
            index.link(name, key)
            plain.setdefault(name, set()).add(key)
        else:
            index.unlink(name, key)
            plain.get(name, set()).discard(key)
    left = {name: members for name, members in plain.items() if members}
    assert {name: set(index.of(name)) for name in index} == left
    assert all(len(index.of(name)) == len(members) and name in index for name, members in left.items())


@given(st.lists(st.tuples(_KEYS, st.none() | _MEMORIES), max_size=20))
def test_a_packed_table_gives_back_what_it_was_given(steps: Iterable[tuple[ObjectKey, SecretMemory | None]]) -> None:
    """A history comes out of a packed table as it went in, to the last bit of its times; what was taken out is gone."""
    packed, plain = Packed[ObjectKey, SecretMemory](SecretMemory), dict[ObjectKey, SecretMemory]()
    for key, memory in steps:
        if memory is None:
            assert packed.pop(key, None) == plain.pop(key, None)
        else:
            packed[key] = plain[key] = memory
    assert dict(packed) == plain
    assert list(packed) == list(plain)
    assert all(key in packed for key in plain)


@given(st.lists(st.text(max_size=300)))
def test_equal_words_are_one_object_and_others_stay_what_they_are(texts: list[str]) -> None:
    """A word that is shared reads as before, and is one and the same for all, if no longer than a name."""
    sharing.forget()
    for text in texts:
        assert sharing.word(text) == text
        assert len(text) > sharing.LONGEST or sharing.word("".join([*text])) is sharing.word(text)


def test_words_that_are_invented_one_after_another_cost_no_more_than_is_kept() -> None:
    """However many names come, no more than the bound of them are kept to be shared."""
    sharing.forget()
    for number in range(2 * sharing.WORDS):
        sharing.word(f"name-{number}")
    assert len(sharing.words) <= sharing.WORDS
    sharing.forget()
    assert not sharing.words
