"""The token that goes with each request, and where a newer one comes from.

In-cluster tokens rotate and exec plugins expire; the `kubernetes` client's hook renews both in time. The token file
that a kubeconfig names it reads once only: so what was configured is read again when it is accepted no more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from kubernetes.client.configuration import Configuration
from kubernetes.config import ConfigException

from agent.cluster.errors import Unreachable

T = TypeVar("T")


class Credentials:
    """Thread-safe."""

    def __init__(self, configuration: Configuration, reload: Callable[[], Configuration] | None = None) -> None:
        self._configuration, self._reload = configuration, reload
        self._lock = threading.Lock()

    def token(self) -> str:
        """The value of the header ``Authorization``; empty where none is configured. Raises Unreachable."""
        with self._lock:
            return _token(self._configuration)

    def renewed(self, refused: str) -> bool:
        """Whether there is another token than the one that was refused. Raises Unreachable."""
        with self._lock:
            if self._reload is not None and _token(self._configuration) == refused:
                self._configuration = _readable(self._reload)
            return _token(self._configuration) != refused


def _token(configuration: Configuration) -> str:
    settings = _readable(configuration.auth_settings).get("BearerToken")
    if not settings or not settings["value"]:
        return ""
    value = str(settings["value"]).strip()  # files of tokens often end with a line end
    if not value.isascii() or not value.isprintable():
        # The HTTP library would refuse it, too, and quote it.
        raise Unreachable("the token has characters that no HTTP header can carry", maybe_applied=False)
    return value


def _readable(read: Callable[[], T]) -> T:
    try:
        return read()
    except (OSError, ValueError, ConfigException) as error:
        detail = f"the credentials cannot be renewed: {type(error).__name__}"
        raise Unreachable(detail, maybe_applied=False) from error
