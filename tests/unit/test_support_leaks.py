"""The search for leaked values finds what it is meant to find; else its silence would prove nothing."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from support.leaks import Marked, Searcher

from agent.esohash import data_hash
from agent.report.words import escape

VALUE = 'kX9%fV"q Zü7\\w\nLm3&'
PASSWORD = b"pA5!wXy2"
BINARY = bytes([0, 255, 13, 10, 200, 7, 128, 34, 92, 254, 1, 66])

PLANTED: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda v: v,
    "first eight characters": lambda v: v[:8],
    "last eight characters": lambda v: v[-8:],
    "JSON": lambda v: json.dumps(v.decode("utf-8", "replace")).encode(),
    "JSON, not ASCII": lambda v: json.dumps(v.decode("utf-8", "replace"), ensure_ascii=False).encode(),
    "URL": lambda v: quote(v, safe="").encode(),
    "form": lambda v: quote_plus(v).encode(),
    "repr of text": lambda v: repr(v.decode("utf-8", "replace")).encode(),
    "repr of bytes": lambda v: repr(v).encode(),
    "ascii": lambda v: ascii(v.decode("utf-8", "replace")).encode(),
    "as the log escapes it": lambda v: escape(v.decode("utf-8", "replace")).encode(),
    "latin-1": lambda v: v.decode("latin-1").encode(),
    "hexadecimal": lambda v: v.hex().encode(),
    "hexadecimal in capitals": lambda v: v.hex().upper().encode(),
    "as Go prints bytes": lambda v: f"[{' '.join(map(str, v))}]".encode(),
    "as JSON prints bytes": lambda v: json.dumps(list(v)).encode(),
    **{
        f"base64 after {n} bytes": lambda v, n=n: base64.b64encode(b"x" * n + v + b"y")  # type: ignore[misc]
        for n in range(3)
    },
    **{
        f"base64 for URLs after {n} bytes": lambda v, n=n: base64.urlsafe_b64encode(b"x" * n + v + b"y")  # type: ignore[misc]
        for n in range(3)
    },
    "base64 alone": base64.b64encode,
    **{
        name: lambda v, name=name: hashlib.new(name, v).hexdigest().encode()  # type: ignore[misc]
        for name in ("md5", "sha1", "sha256", "sha512", "sha3_224")
    },
    "sha256, shortened": lambda v: hashlib.sha256(v).hexdigest()[:16].encode(),
    "sha256 in base64": lambda v: base64.b64encode(hashlib.sha256(v).digest()),
    "md5 in base64 for URLs": lambda v: base64.urlsafe_b64encode(hashlib.md5(v).digest()),  # noqa: S324
}


@pytest.mark.parametrize("planted", PLANTED.values(), ids=PLANTED)
@pytest.mark.parametrize("value", [VALUE.encode(), PASSWORD, BINARY], ids=["text", "password", "binary"])
def test_each_form_of_a_value_is_found(value: bytes, planted: Callable[[bytes], bytes]) -> None:
    """A value in the middle of a text is found in every form in which it could come there."""
    searcher = Searcher([Marked("other", b"nothing of that"), Marked("marked", value)])
    found = searcher.found(b'{"event":"a line about ' + planted(value) + b' and more"}')
    assert found
    assert all(each.startswith("marked, ") for each in found)


def test_a_piece_of_eight_characters_is_found_wherever_it_is_cut() -> None:
    """Any eight characters in a row are a leak; seven are none."""
    searcher = Searcher([Marked("marked", VALUE.encode())])
    raw = VALUE.encode()
    for i in range(len(raw) - 7):
        assert searcher.found(b"<" + raw[i : i + 8] + b">")
    assert not any(searcher.found(b"<" + raw[i : i + 7] + b">") for i in range(len(raw) - 6))


def test_what_is_no_value_is_not_found() -> None:
    """Ordinary words, and parts of a value that it shares with ordinary words, are no leak."""
    document = b'{"username":"' + PASSWORD + b'"}'
    searcher = Searcher([Marked("marked", document, telling=(PASSWORD,))])
    assert not searcher.found(b'{"username":"somebody"} and base64 ' + base64.b64encode(b'{"username":"somebody"}'))
    assert searcher.found(b"sha256 " + hashlib.sha256(document).hexdigest().encode())
    assert searcher.found(base64.b64encode(b"x" + document))


def test_the_hash_by_which_eso_marks_data_is_found() -> None:
    """ESO's own mark of a Secret's data can be tried against guesses, so it counts as a leak where we say it."""
    searcher = Searcher([])
    searcher.add_data("app-secrets", {"KEY": PASSWORD})
    assert searcher.found(b"hash " + data_hash({"KEY": PASSWORD}).encode()) == {"app-secrets, ESO's hash of the data"}
    assert not searcher.found(b"hash " + data_hash({"KEY": b"another"}).encode())


def test_compressed_text_has_to_be_unpacked_first() -> None:
    """What the search cannot see is known: it looks at bytes as they are."""
    searcher = Searcher([Marked("marked", VALUE.encode())])
    packed = gzip.compress(VALUE.encode() * 2)
    assert not searcher.found(packed)
    assert searcher.found(gzip.decompress(packed))
