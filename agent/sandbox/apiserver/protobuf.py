"""As much of protobuf as kubectl needs: some of its requests come in nothing else; it takes JSON back."""

from __future__ import annotations

from collections.abc import Iterator

from agent.sandbox.apiserver.status import bad_request

PROTOBUF = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_VARINT, _BYTES = 0, 2


def spec_of(body: bytes) -> dict[int, list[int | bytes]]:
    """The fields of an object's ``spec`` by number. Raises StatusError 400.

    An object is field 2 of the envelope behind the magic number, and its spec field 2 of that.
    """
    if not body.startswith(_MAGIC):
        raise bad_request("the request body is not protobuf")
    try:
        for _ in range(2):
            found = dict(_fields(body.removeprefix(_MAGIC))).get(2, b"")
            body = found if isinstance(found, bytes) else b""
        fields: dict[int, list[int | bytes]] = {}
        for number, value in _fields(body):
            fields.setdefault(number, []).append(value)
    except IndexError:
        raise bad_request("the request body ends in the middle of a field") from None
    return fields


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        value, at = _varint(data, at)
        if key & 7 == _BYTES:
            if at + value > len(data):
                raise IndexError
            yield key >> 3, data[at : at + value]
            at += value
        elif key & 7 == _VARINT:
            yield key >> 3, value
        else:
            raise bad_request(f"a field of wire type {key & 7} is not understood here")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not data[at - 1] & 0x80:
            return value, at
