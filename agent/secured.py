"""What the port is secured with: a certificate with its key, and a token, from files that change while we run.

cert-manager and projected volumes rotate files by moving a symbolic link. No time, size or inode tells safely that a
file has not changed, and these are small: they are read whole at each use and compared by content.
"""

from __future__ import annotations

import hashlib
import hmac
import ssl
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

import structlog

T = TypeVar("T")

_LARGEST = 256 * 1024
"""Bytes of a file; a chain of certificates has a few thousand."""


class BadFile(Exception):
    """A file that cannot be used: what it is to hold, where it is, what is wrong with it. Quotes nothing of it."""

    def __init__(self, what: str, where: str, why: str) -> None:
        super().__init__(f"{what}: {where}: {why}")
        self.what, self.where, self.why = what, where, why


class _Files(Generic[T]):
    """What is made of some files. Thread-safe."""

    def __init__(self, what: str, paths: Sequence[Path], make: Callable[[Sequence[bytes]], T]) -> None:
        """Raises BadFile: nothing is in use yet that could be kept."""
        self._what, self._paths, self._make = what, paths, make
        self._lock = threading.Lock()
        self._judged = self._read()
        self._made = make(self._judged)
        self._told = ""

    def now(self) -> T:
        """What the files hold now; while they cannot be used, what they held before, which is told once."""
        with self._lock:
            try:
                self._look()
            except BadFile as error:
                if str(error) != self._told:
                    self._told = str(error)
                    structlog.get_logger().warning(f"{error}; what was read before stays in use", problem="bad-file")
            return self._made

    def _look(self) -> None:
        found = self._read()
        if found == self._judged:
            return
        try:
            made = self._make(found)
        except BadFile:
            if self._read() == found:  # else they are being replaced this very moment
                self._judged = found
                raise
            return
        self._judged, self._made, self._told = found, made, ""
        structlog.get_logger().info(f"{self._what}: read anew")

    def _read(self) -> list[bytes]:
        return [_content(self._what, path) for path in self._paths]


class Certificate:
    """The server's certificate, with the chain that leads to its CA, and its key; PEM, without a passphrase."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises BadFile."""
        self._paths = certificate, key
        self._files = _Files("the TLS certificate", self._paths, self._context)

    def context(self) -> ssl.SSLContext:
        """For the next handshake."""
        return self._files.now()

    def _context(self, _: Sequence[bytes]) -> ssl.SSLContext:
        """Made from the paths, since the library takes nothing else; one that changes meanwhile is made anew later."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        certificate, key = self._paths
        try:
            context.load_cert_chain(certificate, key, password=lambda: "")  # never asks at a terminal
        except (OSError, ValueError) as error:  # SSLError is an OSError
            reason = getattr(error, "reason", None)
            why = (
                "the key is not that of the certificate"
                if reason == "KEY_VALUES_MISMATCH"
                else "they are no PEM certificate and its PEM key without a passphrase"
            )
            raise BadFile("the TLS certificate", f"{certificate} and {key}", why) from error
        return context


class Token:
    """The token that a scrape must bring."""

    def __init__(self, path: Path) -> None:
        """Raises BadFile."""
        self._files = _Files("the token for /metrics", [path], lambda contents: _digest(bearer(contents[0], path)))

    def admits(self, authorization: str) -> bool:
        """Whether this value of the header ``Authorization`` brings it. How long that takes says nothing of it."""
        scheme, _, given = authorization.partition(" ")
        brought = _digest(given.strip())
        return hmac.compare_digest(brought, self._files.now()) and scheme.lower() == "bearer"


def bearer(content: bytes, path: Path) -> str:
    """The token in a file's content, without its line end. Raises BadFile."""
    token = content.decode("ascii", "replace").strip()
    if not token:
        raise BadFile("the token", str(path), "it is empty")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise BadFile("the token", str(path), "it has characters that no token can have")
    return token


def read_token(path: Path) -> str:
    """The token in a file. Raises BadFile."""
    return bearer(_content("the token", path), path)


def _digest(token: str) -> bytes:
    """Digests have one length: not even that of the token can be measured."""
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()


def _content(what: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise BadFile(what, str(path), error.strerror or "it cannot be read") from error
    if len(content) > _LARGEST:
        raise BadFile(what, str(path), f"it is larger than {_LARGEST // 1024} KiB")
    return content
