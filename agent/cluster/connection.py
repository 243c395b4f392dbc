"""Raw bytes to and from the API server, with the `kubernetes` client's configuration, authentication and TLS.

The generated client is used for what it does well (kubeconfig, in-cluster tokens that rotate, exec plugins,
certificates, the connection pool) and bypassed for the requests themselves: its typed models cost a hundred times the
wire time.
"""

from __future__ import annotations

import contextlib
import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple
from urllib.parse import urlencode

import urllib3
import yaml
from kubernetes.client.configuration import Configuration
from kubernetes.client.rest import RESTClientObject
from kubernetes.config import ConfigException, load_incluster_config, load_kube_config

from agent.clock import Clock, retry_after
from agent.cluster.credentials import Credentials
from agent.cluster.errors import ApiProblem, ConnectionProblem, Unreachable, problem, unreachable
from agent.cluster.lines import LineStream

OnRequest = Callable[[str, str, int, float, int], None]
"""Told of every request: verb, resource (``pods/eviction`` with subresource), status (0: no answer), seconds, bytes."""

_POOL = 64
_LONGEST_PAUSE = 8.0
_DROPPED = (urllib3.exceptions.ProtocolError,)


class Answer(NamedTuple):
    """A successful answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Pending = Callable[[], Answer]
"""Waits for the answer of a request that was sent. Raises ApiProblem, Unreachable. Unused, its connection is closed."""


class Connection:
    """Requests to one API server. Thread-safe; one for the whole process."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        clock: Clock,
        on_request: OnRequest | None = None,
        user_agent: str,
        patience: float = 10.0,
        reload: Callable[[], Configuration] | None = None,
    ) -> None:
        """``patience``: seconds that a GET answered 429 or 5xx may be repeated for, where the caller does not say.

        ``reload`` reads the configuration anew, for a token that is accepted in place of one that is no more.
        """
        self.clock = clock
        self.stopping = threading.Event()
        self.bytes_read = 0
        self._configuration = configuration
        self._credentials = Credentials(configuration, reload)
        self._pool = RESTClientObject(configuration).pool_manager
        self._on_request = on_request
        self._user_agent = user_agent
        self._patience = patience
        self._jitter = random.SystemRandom()

    @property
    def host(self) -> str:
        """``https://10.0.0.1:443``, for messages."""
        return str(self._configuration.host).rstrip("/")

    def server_now(self) -> float:
        """Unix seconds by the API server's clock; asks it first if it has not answered yet."""
        if not self.clock.knows_server:
            self.request("GET", "/version")
        return self.clock.server_now()

    def close(self) -> None:
        """Give up waits between retries and drop idle connections."""
        self.stopping.set()
        self._pool.clear()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
        read_timeout: float = 30.0,
        connect_timeout: float = 5.0,
        patience: float | None = None,
    ) -> Answer:
        """One request, its whole answer.

        A GET is repeated once where the server dropped the connection, and for up to ``patience`` seconds where it says
        429 or 5xx, waiting as long as it asks. Writes are never repeated here. Raises ApiProblem (Conflict for 409) for
        an answer of 400 and above, Unreachable where none came.
        """
        attempt = _Attempt(method, path, query, body, content_type, accept, read_timeout, connect_timeout)
        left = (self._patience if patience is None else patience) if method == "GET" else 0.0
        pause, dropped = 0.2, False
        while True:
            try:
                return self._once(attempt)
            except Unreachable as error:
                if dropped or method != "GET" or not isinstance(error.__cause__, _DROPPED):
                    raise
                dropped = True
            except ApiProblem as error:
                wait = error.retry_after if error.retry_after is not None else pause * self._jitter.uniform(0.5, 1.0)
                if not (error.code == 429 or error.code >= 500) or wait > left:
                    raise
                left -= max(wait, 0.05)
                pause = min(pause * 2, _LONGEST_PAUSE)
                if self.clock.wait(self.stopping, max(wait, 0.05)):
                    raise

    def begin(
        self,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        accept: str = "application/json",
        read_timeout: float = 30.0,
    ) -> Pending:
        """Send a GET whose body is read later: what the server sends meanwhile waits in the kernel.

        Reading it in a thread beside one that decodes would be slower: each 16 KiB would wait for the interpreter's
        lock. Nothing is repeated here. Raises ApiProblem, Unreachable.
        """
        attempt = _Attempt("GET", path, query, None, "", accept, read_timeout, 5.0)
        began = self.clock.monotonic()
        response = self._send(attempt, began)
        return lambda: self._receive(attempt, response, began)

    @contextlib.contextmanager
    def stream(
        self,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        accept: str = "application/json",
        read_timeout: float,
        connect_timeout: float = 5.0,
    ) -> Iterator[LineStream]:
        """A watch: iterate over the lines of the answer; ``close()`` of the stream ends it from any thread.

        ``read_timeout``: seconds without a single byte after which the stream is given up as Unreachable.
        """
        attempt = _Attempt("GET", path, query, None, "", accept, read_timeout, connect_timeout)
        began = self.clock.monotonic()
        response = self._send(attempt, began)
        stream = LineStream(response, self._count)
        try:
            if response.status >= 400:
                raise _problem(response, response.read())
            yield stream
        except urllib3.exceptions.HTTPError as error:
            raise unreachable(self.host, error, read_timeout) from error
        finally:
            stream.close()
            self._tell(attempt, response.status, began, stream.bytes_read)

    def _once(self, attempt: _Attempt) -> Answer:
        began = self.clock.monotonic()
        return self._receive(attempt, self._send(attempt, began), began)

    def _receive(self, attempt: _Attempt, response: urllib3.BaseHTTPResponse, began: float) -> Answer:
        try:
            body = response.read()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            response.close()
            self._tell(attempt, 0, began, 0)
            raise unreachable(self.host, error, attempt.read_timeout) from error
        response.release_conn()
        self._count(len(body))
        self._tell(attempt, response.status, began, len(body))
        if response.status >= 300:
            raise _problem(response, body)
        return Answer(response.status, response.headers, body)

    def _send(self, attempt: _Attempt, began: float) -> urllib3.BaseHTTPResponse:
        token = self._credentials.token()
        response = self._sent(attempt, began, token)
        if response.status == 401 and self._credentials.renewed(token):
            response.close()
            response = self._sent(attempt, began, self._credentials.token())
        self.clock.observe_date(response.headers.get("Date"), began, self.clock.monotonic())
        return response

    def _sent(self, attempt: _Attempt, began: float, token: str) -> urllib3.BaseHTTPResponse:
        headers = {"User-Agent": self._user_agent, "Accept": attempt.accept}
        if token:
            headers["Authorization"] = token
        if attempt.body is not None:
            headers["Content-Type"] = attempt.content_type
        url = self.host + attempt.path + ("?" + urlencode(attempt.query) if attempt.query else "")
        try:
            return self._pool.request(
                attempt.method,
                url,
                body=attempt.body,
                headers=headers,
                timeout=urllib3.Timeout(connect=attempt.connect_timeout, read=attempt.read_timeout),
                preload_content=False,
                redirect=False,
                retries=False,
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self._tell(attempt, 0, began, 0)
            raise unreachable(self.host, error, attempt.read_timeout) from error

    def _count(self, size: int) -> None:
        self.bytes_read += size

    def _tell(self, attempt: _Attempt, code: int, began: float, size: int) -> None:
        if self._on_request:
            verb, resource = _described(attempt)
            self._on_request(verb, resource, code, self.clock.monotonic() - began, size)


class _Attempt(NamedTuple):
    method: str
    path: str
    query: Mapping[str, str] | None
    body: bytes | None
    content_type: str
    accept: str
    read_timeout: float
    connect_timeout: float


def _problem(response: urllib3.BaseHTTPResponse, body: bytes) -> ApiProblem:
    asked = retry_after(response.headers.get("Retry-After"), response.headers.get("Date"))
    return problem(response.status, body, retry_after=asked)


def _described(attempt: _Attempt) -> tuple[str, str]:
    """Verb and resource as RBAC and audit name them, from method and path."""
    parts = attempt.path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    resource = "/".join(rest[:1] + rest[2:3]) if rest else attempt.path.strip("/").split("/")[0]
    if attempt.method != "GET":
        return {"POST": "create", "PUT": "update"}.get(attempt.method, attempt.method.lower()), resource
    if attempt.query and attempt.query.get("watch"):
        return "watch", resource
    return ("list" if len(rest) == 1 else "get"), resource


def connect(
    kubeconfig: str | None, context: str | None, *, clock: Clock, on_request: OnRequest | None = None, user_agent: str
) -> Connection:
    """A connection by the kubeconfig or context given; else by the pod's service account; else the default kubeconfig.

    Sends nothing yet. Raises ConnectionProblem.
    """

    def configured() -> Configuration:
        configuration = Configuration(connection_pool_maxsize=_POOL)
        if in_pod:
            load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        else:
            load_kube_config(path, context, configuration, persist_config=False)  # type: ignore[no-untyped-call]
        return configuration

    in_pod = kubeconfig is None and context is None and bool(os.environ.get("KUBERNETES_SERVICE_HOST"))
    path = os.path.expanduser(kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config")
    if in_pod:
        where, next_step = "the pod's service account", "Check that automountServiceAccountToken is on."
    else:
        where, next_step = path, "Name another file by --kubeconfig (or KUBECONFIG), or another context by --context."
    first = _load(where, next_step, configured)
    return Connection(first, clock=clock, on_request=on_request, user_agent=user_agent, reload=configured)


def _load(where: str, next_step: str, load: Callable[[], Configuration]) -> Configuration:
    try:
        return load()
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConnectionProblem("not valid YAML", where + line, next_step) from None
    except (ConfigException, OSError) as error:
        raise ConnectionProblem(" ".join(str(error).split())[:300].rstrip("."), where, next_step) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConnectionProblem(f"not a usable configuration ({type(error).__name__})", where, next_step) from None
