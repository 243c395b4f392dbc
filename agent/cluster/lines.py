"""Lines of an answer that never ends, as they arrive; another thread can cut it off."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import urllib3

_CHUNK = 1 << 16
_LONGEST_LINE = 32 << 20
"""Far above the largest object etcd takes (1.5 MiB), whatever its escapes."""


class LineStream:
    """Iterate once, in one thread; ``close`` from any."""

    def __init__(self, response: urllib3.BaseHTTPResponse, on_bytes: Callable[[int], None]) -> None:
        self._response = response
        self._on_bytes = on_bytes
        self._closed = threading.Event()
        self.bytes_read = 0

    def __iter__(self) -> Iterator[bytes]:
        """Complete lines without their end. Ends when the server ends the answer, or at ``close``.

        Raises urllib3's HTTPError where the connection breaks or stays silent too long.
        """
        rest = b""
        try:
            for chunk in self._response.stream(_CHUNK):
                if self._closed.is_set():
                    return
                self.bytes_read += len(chunk)
                self._on_bytes(len(chunk))
                *lines, rest = (rest + chunk).split(b"\n") if b"\n" in chunk else (rest + chunk,)
                yield from (line for line in lines if line)
                if len(rest) > _LONGEST_LINE:
                    raise urllib3.exceptions.ProtocolError("a line without end")
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
            # ValueError and AttributeError: what reading from a socket that `close` took away looks like.
            if self._closed.is_set():
                return
            if isinstance(error, urllib3.exceptions.HTTPError):
                raise
            raise urllib3.exceptions.ProtocolError(type(error).__name__) from error

    def close(self) -> None:
        """End the iteration, also one that waits for bytes in another thread."""
        if self._closed.is_set():
            return
        self._closed.set()
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            self._response.shutdown()
        self._response.close()
