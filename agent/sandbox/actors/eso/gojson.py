"""JSON as Go reads it: the words of its syntax errors, its members in their order, and its indentation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NoReturn

_SPACE = b" \t\r\n"
_DIGITS = b"0123456789"
_HEX = b"0123456789abcdefABCDEF"
_ESCAPES = b'bfnrt\\/"'
_LITERALS = {ord("t"): b"true", ord("f"): b"false", ord("n"): b"null"}
_KINDS = {"[": "array", '"': "string", "t": "bool", "f": "bool"}


class GoJsonError(ValueError):
    """The text is no JSON; the message is that of ``encoding/json``."""


def check(text: str) -> None:
    """Raises GoJsonError with the very words of Go's scanner if the text is not one JSON value."""
    _Scanner(text.encode("utf-8", "surrogatepass")).document()


class _Scanner:
    def __init__(self, text: bytes) -> None:
        self.text, self.at = text, 0

    def document(self) -> None:
        self._value("looking for beginning of value")
        self._skip_space()
        if self.at < len(self.text):
            self._fail("after top-level value")

    def _peek(self) -> int:
        if self.at >= len(self.text):
            raise GoJsonError("unexpected end of JSON input")
        return self.text[self.at]

    def _skip_space(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in _SPACE:
            self.at += 1

    def _fail(self, context: str) -> NoReturn:
        raise GoJsonError(f"invalid character {_quoted(self._peek())} {context}")

    def _value(self, context: str) -> None:
        self._skip_space()
        first = self._peek()
        if first == ord("{"):
            self._object()
        elif first == ord("["):
            self._array()
        elif first == ord('"'):
            self._string()
        elif first in _DIGITS or first == ord("-"):
            self._number()
        elif first in _LITERALS:
            self._literal(_LITERALS[first])
        else:
            self._fail(context)

    def _object(self) -> None:
        self.at += 1
        self._skip_space()
        if self._peek() == ord("}"):
            self.at += 1
            return
        while True:
            self._skip_space()
            if self._peek() != ord('"'):
                self._fail("looking for beginning of object key string")
            self._string()
            self._expect(b":", "after object key")
            self._value("looking for beginning of value")
            if self._expect(b",}", "after object key:value pair") == ord("}"):
                return

    def _array(self) -> None:
        self.at += 1
        self._skip_space()
        if self._peek() == ord("]"):
            self.at += 1
            return
        while True:
            self._value("looking for beginning of value")
            if self._expect(b",]", "after array element") == ord("]"):
                return

    def _expect(self, wanted: bytes, context: str) -> int:
        self._skip_space()
        found = self._peek()
        if found not in wanted:
            self._fail(context)
        self.at += 1
        return found

    def _string(self) -> None:
        self.at += 1
        while (char := self._peek()) != ord('"'):
            if char < 0x20:
                self._fail("in string literal")
            self.at += 1
            if char == ord("\\"):
                self._escape()
        self.at += 1

    def _escape(self) -> None:
        char = self._peek()
        if char == ord("u"):
            self.at += 1
            for _ in range(4):
                self._one_of(_HEX, "in \\u hexadecimal character escape")
        else:
            self._one_of(_ESCAPES, "in string escape code")

    def _one_of(self, wanted: bytes, context: str) -> None:
        if self._peek() not in wanted:
            self._fail(context)
        self.at += 1

    def _digits(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in _DIGITS:
            self.at += 1

    def _number(self) -> None:
        if self._peek() == ord("-"):
            self.at += 1
            if self._peek() not in _DIGITS:
                self._fail("in numeric literal")
        if self._peek() == ord("0"):
            self.at += 1
        else:
            self._digits()
        if self.text[self.at : self.at + 1] == b".":
            self.at += 1
            self._one_of(_DIGITS, "after decimal point in numeric literal")
            self._digits()
        if self.text[self.at : self.at + 1] in (b"e", b"E"):
            self.at += 1
            if self._peek() in b"+-":
                self.at += 1
            self._one_of(_DIGITS, "in exponent of numeric literal")
            self._digits()

    def _literal(self, word: bytes) -> None:
        for expected in word:
            self._one_of(bytes([expected]), f"in literal {word.decode()} (expecting {_quoted(expected)})")


def _quoted(char: int) -> str:
    special = {
        0x27: "'\\''",
        0x22: "'\"'",
        0x5C: "'\\\\'",
        7: "'\\a'",
        8: "'\\b'",
        12: "'\\f'",
        10: "'\\n'",
        13: "'\\r'",
    }
    special |= {9: "'\\t'", 11: "'\\v'"}
    if char in special:
        return special[char]
    if char < 0x20 or char == 0x7F:
        return f"'\\x{char:02x}'"
    if 0x80 <= char < 0xA1 or char == 0xAD:
        return f"'\\u{char:04x}'"
    return f"'{chr(char)}'"


_decoder = json.JSONDecoder(parse_int=str, parse_float=str)


def kind(text: str) -> str:
    """Go's word for the value that a valid text holds: object, array, string, number, bool or null."""
    first = text.lstrip(" \t\r\n")[:1]
    return {"{": "object", "n": "null"}.get(first) or _KINDS.get(first, "number")


def string(raw: str) -> str:
    """The text of a valid JSON string; lone surrogates stay lone."""
    text: str = _decoder.raw_decode(raw)[0]
    return text


def members(text: str, at: int = 0) -> Iterator[tuple[str, str]]:
    """(key, the value's text as it stands), in order, of the object that begins at or after ``at`` in valid JSON."""
    at = _next(text, at) + 1
    while text[at := _next(text, at)] != "}":
        key, at = _decoder.raw_decode(text, _next(text, at))
        begin = _next(text, _next(text, at) + 1)
        _, at = _decoder.raw_decode(text, begin)
        yield key, text[begin:at]
        at = _next(text, at)
        if text[at] == ",":
            at += 1


def elements(text: str) -> Iterator[str]:
    """The elements' texts of the array in a valid text."""
    at = _next(text, 0) + 1
    while text[at := _next(text, at)] != "]":
        begin = at
        _, at = _decoder.raw_decode(text, begin)
        yield text[begin:at]
        at = _next(text, at)
        if text[at] == ",":
            at += 1


def _next(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at


def indented(body: str) -> str | None:
    """What ``json.Indent(body, "", "  ")`` makes of it: values as they stand, one a line. None if it is no JSON."""
    try:
        check(body)
    except GoJsonError:
        return None
    out: list[str] = []
    depth, at, empty = 0, 0, False
    while at < len(body):
        char = body[at]
        if char in " \t\r\n":
            at += 1
            continue
        if empty and char not in "}]":
            out.append("\n" + "  " * depth)
        closing_empty, empty = empty, False
        end = at + 1
        if char in "{[":
            depth, empty = depth + 1, True
            out.append(char)
        elif char in "}]":
            depth -= 1
            out.append(char if closing_empty else "\n" + "  " * depth + char)
        elif char == ",":
            out.append(",\n" + "  " * depth)
        elif char == ":":
            out.append(": ")
        else:
            _, end = _decoder.raw_decode(body, at)
            out.append(body[at:end])
        at = end
    return "".join(out)
