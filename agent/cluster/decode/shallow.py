"""A text without its depths: msgspec cannot even skip over a thousand levels, and the API server keeps ten thousand.

Only what msgspec has given up on comes here, so that the free-form part of one object does not cost a collection.
"""

from __future__ import annotations

import re

DEEPEST = 100
"""No field that is read lies nearly as deep as this below the list."""
WRITTEN = 10_100
"""An object that the API server has taken has 10,000 levels at most, and lies in a list: deeper is no word of its."""
# A string that does not end takes all the rest: were its quotes tried one by one, the time would grow as the square.
_MARK = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{}\[\]]', re.DOTALL)


def shallow(text: bytes) -> bytes:
    """The same JSON, with ``null`` for what lies deeper than DEEPEST; as it is, where it is deeper than WRITTEN."""
    kept: list[bytes] = []
    depth = since = 0
    for mark in _MARK.finditer(text):
        found = mark[0]
        if found in (b"{", b"["):
            if depth == DEEPEST:
                kept.append(text[since : mark.start()])
            depth += 1
            if depth > WRITTEN:
                return text
        elif found in (b"}", b"]"):
            depth -= 1
            if depth == DEEPEST:
                kept.append(b"null")
                since = mark.end()
    return b"".join((*kept, text[since:])) if depth <= DEEPEST else b"".join(kept)
