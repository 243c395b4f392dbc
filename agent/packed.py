"""A table whose values are kept as bytes, and made anew for whoever asks.

What is remembered of a thing that rests is read once an interval at most, and there are ten thousand such things: as
objects a history takes 1.6 kB, of which most are numbers and the heads of strings; packed 0.4, and 3 us to read.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Generic, TypeVar

import msgspec

_K = TypeVar("_K")
_V = TypeVar("_V")


class Packed(MutableMapping[_K, _V], Generic[_K, _V]):
    """A dict, but that what it gives is a copy each time. Values must be such as are replaced, never edited.

    What a value is given as, it is given back as: numbers to the last bit, an empty tuple as one.
    """

    __slots__ = ("_decode", "_encode", "_values")

    def __init__(self, kind: type[_V]) -> None:
        """``kind``: the type of the values, one that msgspec can write and read."""
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._values: dict[_K, bytes] = {}

    def __getitem__(self, key: _K) -> _V:
        return self._decode(self._values[key])

    def __setitem__(self, key: _K, value: _V) -> None:
        self._values[key] = self._encode(value)

    def __delitem__(self, key: _K) -> None:
        del self._values[key]

    def __iter__(self) -> Iterator[_K]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, key: object) -> bool:
        return key in self._values
