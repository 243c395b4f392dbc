"""Finds marked values in whatever was said: as they are, escaped, encoded, hashed, whole or in pieces.

A value is taken to have leaked where eight of its characters stand together, in any of the forms below. So the values
must be random: markers, not words.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote, quote_plus

from agent.esohash import data_hash

PIECE = 8
"""Characters of a value that are enough to call it a leak."""
_LONG_PIECE = 2 * PIECE
"""The same in notations that spend two characters or more on one: shorter pieces would occur by chance."""
_HASHES = (
    "md5",
    "sha1",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "sha3_224",
    "sha3_256",
    "sha3_512",
    "blake2b",
    "blake2s",
)


@dataclass(frozen=True)
class Marked:
    """A value that nobody may say.

    ``telling``: the parts of it that occur nowhere else, where it has others too (a PEM's first line, JSON's braces).
    """

    name: str
    value: bytes
    telling: tuple[bytes, ...] = ()


class Searcher:
    """Looks for all of some marked values at once."""

    def __init__(self, marked: Iterable[Marked]) -> None:
        self._pieces: defaultdict[int, dict[bytes, str]] = defaultdict(dict)
        for each in marked:
            for form, text, size in _forms(each):
                self._add(text, size, f"{each.name}, {form}")

    def add_data(self, name: str, data: Mapping[str, bytes]) -> None:
        """The hash that ESO makes of a Secret's data, too: whoever has it can try values against it."""
        self._add(data_hash(data).encode(), _LONG_PIECE, f"{name}, ESO's hash of the data")

    def found(self, text: bytes) -> set[str]:
        """Which values stand in a text, and in which form."""
        hits: set[str] = set()
        for size, pieces in self._pieces.items():
            there = {text[i : i + size] for i in range(len(text) - size + 1)}
            hits.update(pieces[piece] for piece in there & pieces.keys())
        return hits

    def _add(self, text: bytes, size: int, what: str) -> None:
        for i in range(len(text) - size + 1):
            self._pieces[size].setdefault(text[i : i + size], what)


def _forms(marked: Marked) -> Iterator[tuple[str, bytes, int]]:
    """(form, text in that form, how much of it is a leak) of a value."""
    for part in marked.telling or (marked.value,):
        yield "as it is", part, PIECE
        yield from ((form, text, PIECE) for form, text in _escaped(part))
        yield from (("base64", text, PIECE) for text in _base64(part))
        yield from (("hexadecimal", text, _LONG_PIECE) for text in (part.hex().encode(), part.hex().upper().encode()))
        for between in (" ", ",", ", "):
            yield "byte by byte", between.join(map(str, part)).encode(), _LONG_PIECE
    for name in _HASHES:
        digest = hashlib.new(name, marked.value).digest()
        yield name, digest.hex().encode(), _LONG_PIECE
        yield name, digest.hex().upper().encode(), _LONG_PIECE
        yield from ((name, text, PIECE) for text in (base64.b64encode(digest), base64.urlsafe_b64encode(digest)))


def _escaped(part: bytes) -> Iterator[tuple[str, bytes]]:
    yield "URL", quote(part, safe="").encode()
    yield "URL", quote(part, safe="").lower().encode()
    yield "form", quote_plus(part).encode()
    yield "Python", repr(part)[2:-1].encode()
    text = part.decode("utf-8", "replace")
    for plain in (True, False):
        yield "JSON", json.dumps(text, ensure_ascii=plain)[1:-1].encode()
    yield "Python", repr(text)[1:-1].encode()
    yield "Python", ascii(text)[1:-1].encode()
    yield "UTF-8 as far as it is", text.encode()
    yield "bytes as characters", part.decode("latin-1").encode()


def _base64(part: bytes) -> Iterator[bytes]:
    """At each of the three places that it can have in a longer text: the characters that it alone decides."""
    for before in range(3):
        first, last = -(-8 * before // 6), 8 * (before + len(part)) // 6
        text = base64.b64encode(bytes(before) + part)[first:last]
        yield text
        yield text.translate(bytes.maketrans(b"+/", b"-_"))
