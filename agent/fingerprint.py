"""Fingerprints of Secret values: enough to see that a value moved or came back, nothing that tells what it is.

The name of the place goes in with the value, so that equal values in two Secrets do not show as equal.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from typing import NoReturn


class Fingerprints:
    """Makes fingerprints under one installation's key.

    ``key`` is secret (32 random bytes); ``key_id`` is public and tells which key made a fingerprint, so that one made
    under another key reads as unknown history and never as a change.
    """

    __slots__ = ("__begun", "key_id")

    def __init__(self, key: bytes, key_id: str) -> None:
        if len(key) < 16:
            raise ValueError("the key of an installation has at least 16 bytes")
        if not key_id or ":" in key_id:
            raise ValueError("a key id is not empty and has no colon")
        self.__begun = hmac.new(key, digestmod="sha256")
        self.key_id = key_id

    def of(self, namespace: str, secret: str, key: str, value: bytes) -> str:
        """``KEYID:`` and 22 characters (132 bits) that stand for ``value`` at this key of this Secret."""
        return self.of_all(namespace, secret, {key: value})[key]

    def of_all(self, namespace: str, secret: str, data: Mapping[str, bytes]) -> dict[str, str]:
        """The same for every key of a Secret."""
        place = _sized(namespace) + _sized(secret)
        return {key: self._print(place + _sized(key) + value) for key, value in data.items()}

    def _print(self, message: bytes) -> str:
        # A copy of what the key has begun: hmac.digest lets other threads in, and then waits for its turn each time.
        made = self.__begun.copy()
        made.update(message)
        return f"{self.key_id}:{base64.urlsafe_b64encode(made.digest())[:22].decode()}"

    def knows(self, fingerprint: str) -> bool:
        """Whether it was made under this key and in this format, and so may be compared."""
        key_id, colon, rest = fingerprint.partition(":")
        return key_id == self.key_id and bool(colon) and len(rest) == 22

    def __repr__(self) -> str:
        return f"<Fingerprints {self.key_id}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("the key of an installation is not copied or written anywhere")


def _sized(text: str) -> bytes:
    """With its length in front, so that no two places run together into the same bytes."""
    part = text.encode("utf-8", "surrogatepass")
    return len(part).to_bytes(4, "big") + part
