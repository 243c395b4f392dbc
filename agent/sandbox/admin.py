"""The way into a running world from another process: HTTPS on loopback, with a token that only its owner can read."""

from __future__ import annotations

import hmac
import http.client
import json
import logging
import secrets
import ssl
from pathlib import Path
from typing import Any

from aiohttp import web

from agent.sandbox.control import Control, ControlError
from agent.sandbox.files import private
from agent.sandbox.world import Sandbox

FILE = "admin.json"
_log = logging.getLogger(__name__)


class AdminServer:
    """Serves ``Control`` as ``POST /OPERATION``. ``async with``: writes ``admin.json``, and removes it at the end."""

    def __init__(self, sandbox: Sandbox, directory: Path) -> None:
        self._control = Control(sandbox)
        self._tls = sandbox.authority.server
        self._file = directory / FILE
        self._token = secrets.token_urlsafe(24)
        self._runner: web.ServerRunner | None = None

    async def __aenter__(self) -> AdminServer:
        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None), shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=self._tls).start()
        port = self._runner.addresses[0][1]
        private(self._file, json.dumps({"port": port, "token": self._token}))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._file.unlink(missing_ok=True)
        if self._runner:
            await self._runner.cleanup()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        offered = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(offered.encode(), self._token.encode()):
            return web.json_response({"error": "the token of admin.json is needed"}, status=401)
        try:
            arguments = json.loads(await request.content.read() or b"{}")
            if request.method != "POST" or not isinstance(arguments, dict):
                raise ControlError("expected POST with a JSON object")
            return web.json_response(await self._control.do(request.path.strip("/"), arguments))
        except (ControlError, UnicodeDecodeError, json.JSONDecodeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        except Exception:  # noqa: BLE001  # a world outlives its bugs: answered as 500 and logged
            _log.exception("request failed: %s", request.path)
            return web.json_response({"error": "the sandbox failed; its own terminal says why"}, status=500)


class NoSandbox(Exception):
    """There is no world in that directory, or it does not answer."""


class Refused(Exception):
    """The world will not do it; the message says why."""


def ask(directory: Path, operation: str, arguments: dict[str, Any] | None = None) -> Any:
    """One operation on the world of a directory. Raises NoSandbox, Refused."""
    file = directory / FILE
    try:
        told = json.loads(file.read_text())
        port, token = int(told["port"]), str(told["token"])
        tls = ssl.create_default_context(cafile=str(directory / "ca.pem"))
    except FileNotFoundError:
        raise NoSandbox(f"no sandbox runs in {directory}: there is no {file}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NoSandbox(f"{file} cannot be used: {error}") from None
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=tls)
    try:
        body = json.dumps(arguments or {}).encode()
        connection.request("POST", f"/{operation}", body, {"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        decoded = json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise NoSandbox(f"the sandbox of {directory} does not answer: {error}") from None
    finally:
        connection.close()
    if answer.status != 200:
        raise Refused(str(decoded.get("error", answer.status)))
    return decoded
