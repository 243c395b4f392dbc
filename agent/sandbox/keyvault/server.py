"""The HTTP face of all vaults and of the login host: one TLS port, told apart by the Host header.

Clients reach it as ``https://NAME.vault.azure.net`` and ``https://login.microsoftonline.com``, names and certificate
checks as on Azure; only the TCP connection is led here.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from email.utils import formatdate
from uuid import uuid4

from aiohttp import web

from agent.sandbox.clock import WorldClock
from agent.sandbox.keyvault import errors, plane
from agent.sandbox.keyvault.faults import Fault, FaultRule
from agent.sandbox.keyvault.journal import Hook, Journal, VaultRequest
from agent.sandbox.keyvault.login import Login
from agent.sandbox.keyvault.outages import Outages, drop
from agent.sandbox.keyvault.rights import Grants, Rights
from agent.sandbox.keyvault.store import Vault
from agent.sandbox.keyvault.wire import Reply

DEFAULT_TENANT = "72f988bf-0000-4000-8000-0000000005ab"

_LOGIN_HOSTS = {
    "vault.azure.net": "login.microsoftonline.com",
    "vault.azure.cn": "login.chinacloudapi.cn",
    "vault.usgovcloudapi.net": "login.microsoftonline.us",
    "vault.microsoftazure.de": "login.microsoftonline.de",
}
_ALL_LOGIN_HOSTS = frozenset({*_LOGIN_HOSTS.values(), "login.windows.net", "login.partner.microsoftonline.cn"})

_FIXED_HEADERS = {
    "Cache-Control": "no-cache",
    "Pragma": "no-cache",
    "Expires": "-1",
    "Strict-Transport-Security": "max-age=31536000;includeSubDomains",
    "X-Content-Type-Options": "nosniff",
}
_VAULT_HEADERS = {
    "x-ms-keyvault-region": errors.LOCATION,
    "x-ms-keyvault-service-version": "1.9.2784.1",
    "x-ms-keyvault-network-info": "conn_type=Ipv4;addr=10.240.0.4;act_addr_fam=InterNetwork;",
}


class KeyVault:
    """All vaults of a world, with their login host.

    ``vault(name)`` gives the store behind a host, ``login`` the token endpoint, ``grant`` sets rights, ``fault`` makes
    trouble, ``audit`` holds every request, ``on_request`` is called before and after each. ``suffixes`` are further DNS
    suffixes of vaults, each its own token audience (``https://SUFFIX``). All methods belong to the world's event loop.
    """

    def __init__(
        self,
        clock: WorldClock,
        *,
        tls: ssl.SSLContext,
        tenant: str = DEFAULT_TENANT,
        suffixes: Iterable[str] = (),
        expires_in: int = 3599,
    ) -> None:
        self.tenant = tenant
        self.login = Login(clock, expires_in=expires_in)
        self.grants = Grants()
        self.faults: list[FaultRule] = []
        self._clock = clock
        self.ahead = 0.0
        """Seconds by which the ``Date`` of its answers runs ahead of the world's clock."""
        self._tls = tls
        self._logins = _LOGIN_HOSTS | {suffix.lower().lstrip("."): "login.microsoftonline.com" for suffix in suffixes}
        self._vaults: dict[str, Vault] = {}
        self._journal = Journal()
        self._outages = Outages(clock)
        self._runner: web.ServerRunner | None = None
        self._port = 0

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; then ``port`` is known."""
        server = web.Server(self._serve, handler_cancellation=True, access_log=None)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port, ssl_context=self._tls).start()
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """End all connections, also those that hang."""
        self._outages.end()
        if self._runner is None:
            return
        server = self._runner.server
        transports = [handler.transport for handler in server.connections] if server else []
        await self._runner.cleanup()
        self._runner = None
        for transport in transports:
            if transport is not None:
                transport.abort()  # a TLS transport would wait for the client's goodbye
        await asyncio.sleep(0)

    @property
    def port(self) -> int:
        """The TCP port, once started."""
        return self._port

    @property
    def audit(self) -> list[VaultRequest]:
        """Every request since the start (or since it was cleared), in the order in which they came in."""
        return self._journal.entries

    @property
    def on_request(self) -> Hook | None:
        """Awaited with ("before", request) and, once applied but not yet answered, ("after", request with code)."""
        return self._journal.hook

    @on_request.setter
    def on_request(self, hook: Hook | None) -> None:
        self._journal.hook = hook

    def vault(self, name: str) -> Vault:
        """The vault of this name, made if need be: ``prod-kv`` is ``prod-kv.vault.azure.net``; a full host works too.

        A vault that nobody has named here does not exist: connections to it end without an answer.
        Raises ValueError for a host under a suffix that is not served.
        """
        host = self._host(name)
        if host not in self._vaults:
            if self._suffix(host) not in self._logins:
                raise ValueError(f"{host}: not a vault of a known cloud; name its suffix in KeyVault(suffixes=...)")
            self._vaults[host] = Vault(host, self._clock, tenant=self.tenant)
        return self._vaults[host]

    @property
    def vaults(self) -> list[Vault]:
        """All vaults, in the order in which they were made."""
        return list(self._vaults.values())

    def grant(
        self,
        identity: str,
        vault: str | None = None,
        *,
        list: bool = True,
        get: bool = False,
        set: bool = False,
    ) -> None:
        """Set the rights of an identity (client id) on a vault (None: on all), in place of those set before.

        Whoever was granted nothing anywhere has ``grants.default``: list and get everywhere.
        """
        self.grants.grant(identity, None if vault is None else self._host(vault), Rights(list, get, set))

    def fault(
        self,
        fault: Fault | str,
        *,
        identity: str | None = None,
        vault: str | None = None,
        operation: str | None = None,
        secret: str | None = None,
        times: int | None = None,
    ) -> FaultRule:
        """Add a rule to ``faults``, in the words of ``Fault.parse``; None matches all, ``times``: how often it strikes.

        Without an operation it strikes vault requests with a valid token; ``token`` and ``challenge`` must be named.
        """
        parsed = Fault.parse(fault) if isinstance(fault, str) else fault
        rule = FaultRule(
            fault=parsed, identity=identity, vault=vault, operation=operation, secret=secret, remaining=times
        )
        self.faults.append(rule)
        return rule

    def _host(self, name: str) -> str:
        return name.lower() if "." in name else f"{name.lower()}.vault.azure.net"

    def _suffix(self, host: str) -> str:
        return host.partition(".")[2]

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        host = request.host.partition(":")[0].lower().rstrip(".")
        if host in _ALL_LOGIN_HOSTS:
            return await self._log_in(request, host)
        if vault := self._vaults.get(host):
            return await self._use(request, vault)
        return drop(request)

    async def _log_in(self, request: web.BaseRequest, host: str) -> web.StreamResponse:
        form = {key: str(value) for key, value in (await request.post()).items()} | dict(request.query)
        identity = form.get("client_id", "")
        entry = VaultRequest(
            at=self._clock.now(),
            identity=identity,
            vault="",
            operation="token" if request.method == "POST" else "discovery",
            user_agent=request.headers.get("User-Agent", ""),
            url=request.raw_path,
            body_size=request.content_length or 0,
        )
        await self._journal.begin(entry)
        fault = await self._strike(entry, "")
        reply = self.login.answer(request.method, host, request.path, form, fault)
        return await self._send(request, entry, fault, reply, _FIXED_HEADERS)

    async def _use(self, request: web.BaseRequest, vault: Vault) -> web.StreamResponse:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        asked = plane.read(vault, request.method, request.path, request.query, bearer, self.login.token(bearer))
        entry = VaultRequest(
            at=self._clock.now(),
            identity=asked.token.identity if asked.token else "",
            vault=vault.name,
            operation=asked.operation,
            secret=asked.call.secret if asked.call else "",
            version=asked.call.version if asked.call else "",
            api_version=asked.query.get("api-version", ""),
            user_agent=request.headers.get("User-Agent", ""),
            url=request.raw_path,
            body_size=request.content_length or 0,
        )
        await self._journal.begin(entry)
        fault = await self._strike(entry, vault.host)
        suffix = self._suffix(vault.host)
        try:
            body = await request.read() if request.body_exists else b""
            reply = plane.answer(asked, body, self.grants, fault, f"https://{suffix}")
        except errors.VaultError as error:
            headers = error.headers
            if error.status == 401:
                headers = headers | plane.challenge(vault, self._logins[suffix], f"https://{suffix}", fault)
            reply = Reply(error.status, error.body(), headers)
        return await self._send(request, entry, fault, reply, _FIXED_HEADERS | _VAULT_HEADERS)

    async def _strike(self, entry: VaultRequest, host: str) -> Fault | None:
        """The fault that this request meets; one that only delays is over when this returns."""
        for rule in list(self.faults):
            if rule.matches(identity=entry.identity, vault=host, operation=entry.operation, secret=entry.secret):
                fault = rule.strike()
                if fault.kind != "slow":
                    return fault
                await self._outages.delay(fault)
        return None

    async def _send(
        self, request: web.BaseRequest, entry: VaultRequest, fault: Fault | None, reply: Reply, fixed: dict[str, str]
    ) -> web.StreamResponse:
        headers = {
            **fixed,
            **reply.headers,
            "Date": formatdate(self._clock.now() + self.ahead, usegmt=True),
            "x-ms-request-id": str(uuid4()),
        }
        if client_request := request.headers.get("x-ms-client-request-id"):
            headers["x-ms-client-request-id"] = client_request
        if fault is not None and fault.breaks_connection:
            await self._journal.end(entry, 0 if fault.kind in ("drop", "hang") else 200)
            return await self._outages.send(request, fault, reply, headers)
        await self._journal.end(entry, reply.status)
        return web.Response(
            status=reply.status,
            body=reply.body or None,
            headers=headers,
            content_type=reply.content_type if reply.body else None,
            charset="utf-8" if reply.body else None,
        )
