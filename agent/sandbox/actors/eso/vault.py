"""How ESO reads a Key Vault: over HTTPS, with a client of its own for every sync.

TCP goes to one address whatever the vault is called; the names in SNI, ``Host`` and the certificate's check stay the
vault's own, as ``curl --connect-to`` does it.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from agent.sandbox.actors.eso import sdkerrors
from agent.sandbox.actors.eso.errors import NoSecret, ProviderError
from agent.sandbox.actors.eso.sdkerrors import Answer
from agent.sandbox.actors.eso.values import Listed
from agent.sandbox.clock import WorldClock

_RETRIED = frozenset({408, 429, 500, 502, 503, 504})
_RETRIES = 3
_RESOURCE = "https://vault.azure.net"
_LOGIN = "https://login.microsoftonline.com"
_LONGEST_WAIT = 60.0


class _ConnectTo(AbstractResolver):
    """Every name lives at one address."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=self._host, port=self._port, family=family, proto=0, flags=socket.AI_NUMERICHOST
            )
        ]

    async def close(self) -> None:
        """Nothing is held."""


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who reads: a client id with its secret, in a tenant ("": that of the vault, as its challenge names it)."""

    client_id: str = "eso"
    secret: str = "eso-secret"
    tenant: str = ""


class VaultReader:
    """Opens vaults as one identity. ``connect_to`` (host, port) is where all vaults and the login host are.

    The names ``*.vault.azure.net`` and ``login.microsoftonline.com`` are checked against ``tls`` as ever. Waits between
    retries pass on ``clock``.
    """

    def __init__(
        self, connect_to: tuple[str, int], *, tls: ssl.SSLContext, clock: WorldClock, identity: Identity | None = None
    ) -> None:
        self.clock = clock
        self._identity = identity or Identity()
        self._connect_to, self._tls = connect_to, tls
        self._session: aiohttp.ClientSession | None = None
        self._tokens: dict[tuple[str, str], str] = {}
        self._challenges: dict[str, tuple[str, str]] = {}

    async def __aenter__(self) -> VaultReader:
        connector = aiohttp.TCPConnector(
            ssl=self._tls, resolver=_ConnectTo(*self._connect_to), use_dns_cache=False, limit=0, family=socket.AF_INET
        )
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=timeout, headers={"User-Agent": "azsdk-go-azsecrets/v1.4.0 external-secrets"}
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session:
            await self._session.close()

    def open(self, url: str, *, new_sdk: bool, tenant: str = "") -> VaultClient:
        """A client for one vault, to be used for one sync. ``tenant`` is the store's, if it names one."""
        return VaultClient(self, url.rstrip("/"), new_sdk=new_sdk, tenant=tenant or self._identity.tenant)

    async def request(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, form: Mapping[str, str] | None = None
    ) -> tuple[Answer, Mapping[str, str]]:
        """One request as it is, without redirect or retry. Raises aiohttp.ClientError, TimeoutError."""
        if self._session is None:
            raise RuntimeError("VaultReader is used outside 'async with'")
        async with self._session.request(
            method, URL(url, encoded=True), headers=headers, data=form, allow_redirects=False
        ) as response:
            body = (await response.read()).decode("utf-8", "replace")
            code = response.headers.get("x-ms-error-code", "")
            bare = url.partition("?")[0]
            return Answer(method, bare, response.status, response.reason or "", body, code), response.headers

    async def token(self, authority: str, resource: str, *, anew: bool = False) -> str:
        """A bearer token for a resource, kept until it is refused. Raises LoginRefused."""
        key = (authority, resource)
        if anew or key not in self._tokens:
            form = {
                "grant_type": "client_credentials",
                "client_id": self._identity.client_id,
                "client_secret": self._identity.secret,
                "scope": f"{resource}/.default",
            }
            answer, _ = await self.request("POST", f"{authority}/oauth2/v2.0/token", form=form)
            if answer.status != 200:
                raise LoginRefused(answer)
            self._tokens[key] = json.loads(answer.body)["access_token"]
        return self._tokens[key]

    async def challenge(self, url: str) -> tuple[str, str] | None:
        """(authority, resource) that a vault names to who comes without a token; asked once for each vault."""
        if url not in self._challenges:
            _, headers = await self.request("GET", f"{url}/secrets?api-version=7.0")
            if found := _challenge(headers.get("WWW-Authenticate", "")):
                self._challenges[url] = found
        return self._challenges.get(url)


class LoginRefused(Exception):
    """The token endpoint gave no token."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"{answer.status} {answer.body}")
        self.answer = answer


class VaultClient:
    """One vault for the length of one sync.

    The new SDK asks without a token first, learns from the 401 challenge where to get one, and uses api-version 7.6;
    the legacy SDK knows its tenant and sends one request, api-version 7.0.
    """

    def __init__(self, reader: VaultReader, url: str, *, new_sdk: bool, tenant: str) -> None:
        self._reader, self._url, self._new_sdk = reader, url, new_sdk
        self._version = "7.6" if new_sdk else "7.0"
        self._challenge = None if new_sdk or not tenant else (f"{_LOGIN}/{tenant}", _RESOURCE)

    async def get(self, name: str, version: str) -> str:
        """The value of a secret; ``version`` "" is the newest. Raises NoSecret, ProviderError."""
        answer = await self._ask(f"{self._url}/secrets/{quote(name, safe='')}/{quote(version, safe='')}", "GetSecret")
        return str(_decoded(answer).get("value", ""))

    async def list(self) -> AsyncIterator[Listed]:
        """All secrets, page by page. Raises ProviderError."""
        link: str | None = f"{self._url}/secrets"
        while link:
            page = _decoded(await self._ask(link, "GetSecrets"))
            for item in page.get("value") or []:
                enabled = bool((item.get("attributes") or {}).get("enabled", True))
                yield Listed(urlsplit(item["id"]).path.rsplit("/", 1)[-1], enabled, item.get("tags") or {})
            link = page.get("nextLink")

    async def _ask(self, url: str, operation: str) -> Answer:
        """The answer 200 to a GET. Raises NoSecret for 404, ProviderError for all else."""
        full = url if "api-version=" in url else f"{url}?api-version={self._version}"
        try:
            answer = await self._retried(full)
        except LoginRefused as refused:
            raise ProviderError(self._login_text(url, refused.answer)) from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError) as error:
            text = sdkerrors.unreachable(full, _detail(error), operation="" if self._new_sdk else operation)
            raise ProviderError(text) from None
        if answer.status == 200:
            return answer
        if answer.status == 404:
            raise NoSecret
        raise ProviderError(sdkerrors.new_sdk(answer) if self._new_sdk else sdkerrors.legacy_sdk(operation, answer))

    async def _retried(self, url: str) -> Answer:
        """Both SDKs try four times; Retry-After is honoured, longer waits than a minute only by the legacy one."""
        for attempt in range(_RETRIES + 1):
            last = attempt == _RETRIES
            try:
                answer, headers = await self._authorized(url)
            except (aiohttp.ClientError, TimeoutError, OSError):
                if last:
                    raise
                await self._reader.clock.sleep(self._backoff(attempt))
                continue
            if answer.status not in _RETRIED or last:
                return answer
            asked = float(headers.get("Retry-After", 0) or 0)
            if asked > _LONGEST_WAIT and self._new_sdk:
                return answer
            await self._reader.clock.sleep(asked or self._backoff(attempt))
        raise AssertionError("the last attempt returns or raises")

    def _backoff(self, attempt: int) -> float:
        """Seconds: 0.8, 2.4, 5.6 with the new SDK (its jitter left out), 30, 60, 120 with the legacy one."""
        doubled: int = 2**attempt
        return 0.8 * (2 * doubled - 1) if self._new_sdk else 30.0 * doubled

    async def _authorized(self, url: str) -> tuple[Answer, Mapping[str, str]]:
        if self._challenge is None and not self._new_sdk:
            self._challenge = await self._reader.challenge(self._url)
        if self._challenge is None:
            answer, headers = await self._reader.request("GET", url)
            if answer.status != 401 or (challenge := _challenge(headers.get("WWW-Authenticate", ""))) is None:
                return answer, headers
            self._challenge = challenge
        token = await self._reader.token(*self._challenge)
        answer, headers = await self._reader.request("GET", url, headers={"Authorization": f"Bearer {token}"})
        if answer.status == 401:
            token = await self._reader.token(*self._challenge, anew=True)
            answer, headers = await self._reader.request("GET", url, headers={"Authorization": f"Bearer {token}"})
        return answer, headers

    def _login_text(self, url: str, answer: Answer) -> str:
        if self._new_sdk:
            return sdkerrors.authentication("WorkloadIdentityCredential", answer)
        return sdkerrors.legacy_authentication(url, answer)


def _challenge(header: str) -> tuple[str, str] | None:
    """(authority, resource) of a ``WWW-Authenticate: Bearer`` header."""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', header))
    authority = fields.get("authorization") or fields.get("authorization_uri")
    if not authority:
        return None
    return authority.rstrip("/"), fields.get("resource", _RESOURCE)


def _decoded(answer: Answer) -> Mapping[str, Any]:
    try:
        decoded = json.loads(answer.body)
    except ValueError as error:
        raise ProviderError(f"unmarshalling type *azsecrets.Secret: {error}") from None
    if not isinstance(decoded, dict):
        raise ProviderError("unmarshalling type *azsecrets.Secret: not an object")
    return decoded


def _detail(error: Exception) -> str:
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    if isinstance(error, asyncio.TimeoutError | TimeoutError):
        return "context deadline exceeded"
    return str(error) or type(error).__name__
