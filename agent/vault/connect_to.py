"""HTTP sessions to Azure whose TCP connections may be led elsewhere, as ``curl --connect-to`` does.

``SECRET_DRIFT_AGENT_VAULT_CONNECT_TO=HOST:PORT`` sends the connections for vaults and login hosts to one address.
Nothing else changes: the URL, the Host header, the name sent in the TLS handshake and the name that the certificate
must carry are those of the real host, so whoever answers there must hold a certificate for it that the trust store
accepts. That is how an embedded world is reached; a private endpoint without DNS is the other use.

A session made here is meant for ``RequestsTransport(session=..., session_owner=False)``. It is used by one client at a
time or by several on different threads, each connection being one thread's at a time; the pools are per host.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util import Retry, parse_url

VAULT_SUFFIXES = ("vault.azure.net", "vault.azure.cn", "vault.usgovcloudapi.net", "vault.microsoftazure.de")
"""The DNS suffixes of vaults in the public cloud and the sovereign ones."""

LOGIN_HOSTS = frozenset(
    {
        "login.microsoftonline.com",
        "login.windows.net",
        "login.microsoft.com",
        "login.chinacloudapi.cn",
        "login.partner.microsoftonline.cn",
        "login.microsoftonline.us",
        "login.microsoftonline.de",
    }
)


class WrongAddress(ValueError):
    """An address to connect to that is none; the text says what was expected."""


def is_redirected(host: str) -> bool:
    """Whether connections for this host are led elsewhere: vaults (one label below a suffix) and login hosts."""
    host = host.lower().rstrip(".")
    return host in LOGIN_HOSTS or host.partition(".")[2] in VAULT_SUFFIXES


def parse_address(connect_to: str) -> tuple[str, int]:
    """``127.0.0.1:8443``, ``kv.local:443`` or ``[::1]:8443``. Raises WrongAddress."""
    host, colon, port = connect_to.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1] if bracketed else host
    plain = bare and not set(bare) & set("/@[] ") and (bracketed or ":" not in bare)
    if not colon or not plain or not (port.isascii() and port.isdecimal()) or not 1 <= int(port) <= 65535:
        raise WrongAddress(
            f"{connect_to!r} is not an address to connect to; expected HOST:PORT, for example 127.0.0.1:8443"
        )
    return bare, int(port)


def session(connect_to: str | None, *, pool_size: int = 10, ca_bundle: str | None = None) -> requests.Session:
    """A session for the SDK's transport. None: connections go where DNS says.

    ``pool_size`` is how many connections a host may keep open. ``ca_bundle`` is a PEM file to trust in place of the
    default and of what REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE say. There are no retries here: they are the caller's.
    Raises WrongAddress.
    """
    made = _Session()
    made.mount("https://", _Adapter(parse_address(connect_to) if connect_to else None, pool_size, ca_bundle))
    return made


class _Session(requests.Session):
    """Spares a GET what it never needs here: cookies, redirects, a netrc. That is a fifth of a request's cost."""

    def request(self, method: str, url: Any, *args: Any, **asked: Any) -> requests.Response:
        """One request, as the SDK's transport makes it; any but a plain GET goes the usual way."""
        plain = method == "GET" and not args and not self.trust_env and asked.get("allow_redirects") is False
        if not plain or any(value for name, value in asked.items() if name not in _PLAIN):
            return super().request(method, url, *args, **asked)
        request = requests.PreparedRequest()
        request.method, request.url, request.hooks = method, url, {}
        request.headers = CaseInsensitiveDict(self.headers, **(asked.pop("headers", None) or {}))
        return self.get_adapter(url).send(
            request, stream=bool(asked.get("stream")), timeout=asked.get("timeout"), verify=asked.get("verify", True),
            cert=asked.get("cert"), proxies={},
        )  # fmt: skip


_PLAIN = frozenset({"headers", "stream", "timeout", "verify", "cert"})


class _Adapter(HTTPAdapter):
    """Keeps the pools of requests, by host, with connections of our own."""

    def __init__(self, target: tuple[str, int] | None, pool_size: int, ca_bundle: str | None) -> None:
        self._target = target
        self._ca_bundle = ca_bundle
        retries = Retry(total=False, redirect=False, raise_on_status=False)
        super().__init__(pool_connections=64, pool_maxsize=pool_size, max_retries=retries)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        if self._target is not None:
            self.poolmanager.pool_classes_by_scheme = {"http": HTTPConnectionPool, "https": _pool_class(self._target)}

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Any = None,
    ) -> requests.Response:
        """Send one request.

        The SDK's transport asks for ``verify=True`` with each request, which overrides whatever is set on the session:
        so the bundle is put in here. A proxy would resolve the name itself and lead past the address: redirected hosts
        use none.
        """
        if verify and self._ca_bundle:
            verify = self._ca_bundle
        if self._target is not None and is_redirected(parse_url(request.url or "").host or ""):
            proxies = None
        return super().send(request, stream=stream, timeout=timeout, verify=verify, cert=cert, proxies=proxies)

    def cert_verify(self, conn: HTTPConnectionPool, url: str, verify: Any, cert: Any) -> None:
        """Have a pool verify by the bundle; once, since looking for its file is a fifth of a request's cost."""
        asked = verify, cert
        if getattr(conn, "verifies_by", None) != asked:
            super().cert_verify(conn, url, verify, cert)
            conn.verifies_by = asked  # type: ignore[attr-defined]


def _pool_class(target: tuple[str, int]) -> type[HTTPSConnectionPool]:
    class Connection(HTTPSConnection):
        """Resolves and dials ``target``; all the rest sees the host of the URL."""

        def _new_conn(self) -> socket.socket:
            if not is_redirected(self.host):
                return super()._new_conn()
            named = self._dns_host, self.port
            self._dns_host, self.port = target
            try:
                return super()._new_conn()
            finally:
                self._dns_host, self.port = named

    class Pool(HTTPSConnectionPool):
        ConnectionCls = Connection

    return Pool


def environment_address(environment: Mapping[str, str]) -> str | None:
    """The address that the environment names, None if it names none."""
    return environment.get("SECRET_DRIFT_AGENT_VAULT_CONNECT_TO") or None
