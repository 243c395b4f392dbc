"""One object for what thousands of objects have in common, for as long as a collection is being read.

sys.intern would share words, too, but its table never shrinks: 5 MB with 10,000 chains, for words of which most are
never looked up again.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

_T = TypeVar("_T", bound=Hashable)
_V = TypeVar("_V")

WORDS = 65_536
"""That are kept. Names are for anybody to invent, so whoever does costs us no more than that."""
LONGEST = 253
"""Characters of a word that is kept: the longest name of any object."""

_forgetting: list[Callable[[], None]] = []


class Pool(dict[_T, _T]):
    """``pool[thing]`` is the first of all things equal to this one since the last ``forget``. Emptied when full.

    Looking up what is missing puts it there: so a hit costs what a dict's does, and there are a million of them.
    """

    __slots__ = ("_longest", "_most")

    def __init__(self, most: int, longest: int = 1 << 30) -> None:
        """``longest``: what has a greater length is its own, and not kept."""
        super().__init__()
        self._most, self._longest = most, longest
        forgets(self.clear)

    def __missing__(self, thing: _T) -> _T:
        if len(thing) > self._longest:  # type: ignore[arg-type]
            return thing
        if len(self) >= self._most:
            self.clear()
        self[thing] = thing  # of two threads that come with it at once, one has its own
        return thing


class Made(dict[bytes, _V]):
    """``made[text]`` is what is made of a text, made once for all who have the same. Emptied when full."""

    __slots__ = ("_longest", "_make", "_most")

    def __init__(self, make: Callable[[bytes], _V], longest: int, most: int = 16_384) -> None:
        """``longest``: a text of more bytes is made something of each time. What ``make`` raises is raised."""
        super().__init__()
        self._make, self._most, self._longest = make, most, longest
        forgets(self.clear)

    def __missing__(self, text: bytes) -> _V:
        made = self._make(text)
        if len(text) <= self._longest:
            if len(self) >= self._most:
                self.clear()
            self[text] = made
        return made


def forgets(clear: Callable[[], None]) -> None:
    """Call it whenever all is forgotten."""
    _forgetting.append(clear)


def forget() -> None:
    """A collection has been read: what its objects have in common, they have. Also in mid-list, and from any thread."""
    for clear in _forgetting:
        clear()


words: Pool[str] = Pool(WORDS, LONGEST)
word: Callable[[str], str] = words.__getitem__
"""The first of all equal words; what is longer than any name stays what it is."""
