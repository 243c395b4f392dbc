"""One object for what thousands of objects have in common, for as long as a collection is being read.

sys.intern would share words, too, but its table never shrinks: 5 MB with 10,000 chains, for words of which most are
never looked up again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

_T = TypeVar("_T", bound=Hashable)

WORDS = 65_536
"""That are kept. Names are for anybody to invent, so whoever does costs us no more than that."""
LONGEST = 253
"""Characters of a word that is kept: the longest name of any object."""

_forgetting: list[Callable[[], None]] = []


class Pool(Generic[_T]):
    """The first of equal things. Bounded: emptied when full."""

    def __init__(self, most: int) -> None:
        self.known: dict[_T, _T] = {}
        self._most = most
        forgets(self.known.clear)

    def one(self, thing: _T) -> _T:
        """The first of all things that are equal to this one since the last ``forget``."""
        found = self.known.get(thing)
        if found is None:
            if len(self.known) >= self._most:
                self.known.clear()
            # Of two threads that come with it at once, one has its own.
            found = self.known[thing] = thing
        return found


def forgets(clear: Callable[[], None]) -> None:
    """Call it whenever all is forgotten."""
    _forgetting.append(clear)


def forget() -> None:
    """A collection has been read: what its objects have in common, they have. Also in mid-list, and from any thread."""
    for clear in _forgetting:
        clear()


words: Pool[str] = Pool(WORDS)
_one_word = words.one


def word(text: str) -> str:
    """The first of all equal words; what is longer than any name stays what it is."""
    return _one_word(text) if len(text) <= LONGEST else text
