"""What can be done to a running world from outside, each by a name and JSON arguments."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from agent.sandbox import faulttext, worldfile
from agent.sandbox.ages import moment, seconds
from agent.sandbox.census import census
from agent.sandbox.client import ApiError
from agent.sandbox.keyvault import VaultError
from agent.sandbox.world import Sandbox

Arguments = dict[str, Any]


class ControlError(Exception):
    """Something that cannot be done, in words for the operator."""


class Control:
    """The operations on one world. To be called in its loop; no answer holds a value of a secret."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._operations: dict[str, Callable[[Arguments], Awaitable[Any]]] = {
            "status": self._status,
            "load": self._load,
            "rotate": self._rotate,
            "secret": self._secret,
            "fault": self._fault,
            "clear": self._clear,
            "advance": self._advance,
            "backend": self._backend,
            "restart": self._restart,
        }

    async def do(self, operation: str, arguments: Arguments) -> Any:
        """Carry out one operation; the answer is JSON. Raises ControlError."""
        if operation not in self._operations:
            raise ControlError(f"no such operation: {operation}; known are {', '.join(self._operations)}")
        try:
            return await self._operations[operation](arguments)
        except KeyError as error:
            raise ControlError(str(error.args[0])) from None
        except (ValueError, VaultError, ApiError) as error:
            raise ControlError(str(error)) from None

    async def _status(self, _: Arguments) -> Any:
        return census(self._sandbox)

    async def _load(self, arguments: Arguments) -> Any:
        world = worldfile.parse(_text(arguments, "text"))
        await worldfile.load(self._sandbox, world)
        return {"loaded": world.summary}

    async def _rotate(self, arguments: Arguments) -> Any:
        """A new version, random unless a value is given."""
        name, vault = _text(arguments, "secret"), self._vault(arguments)
        created, clock = arguments.get("created"), self._sandbox.clock
        written = vault.set(
            name,
            arguments.get("value") or secrets.token_urlsafe(24),
            created=None if created is None else moment(created, clock),
            enabled=bool(arguments.get("enabled", True)),
        )
        return {"version": written.version, "label": f"v{len(vault.versions(name))}", "enabled": written.enabled}

    async def _secret(self, arguments: Arguments) -> Any:
        """Enable or disable the newest version, delete or recover the secret."""
        name, vault, action = _text(arguments, "secret"), self._vault(arguments), _text(arguments, "action")
        match action:
            case "enable" | "disable":
                vault.update(name, enabled=action == "enable")
            case "delete":
                vault.delete(name)
            case "recover":
                vault.recover(name)
            case _:
                raise ControlError(f"no such action: {action!r}; expected enable, disable, delete or recover")
        return {"done": action}

    async def _fault(self, arguments: Arguments) -> Any:
        select = {str(key): str(value) for key, value in (arguments.get("select") or {}).items()}
        await faulttext.cause(self._sandbox, _text(arguments, "target"), _text(arguments, "fault"), select)
        return {"faults": faulttext.in_force(self._sandbox)}

    async def _clear(self, _: Arguments) -> Any:
        await faulttext.clear(self._sandbox)
        return {"faults": []}

    async def _advance(self, arguments: Arguments) -> Any:
        span = arguments.get("by")
        self._sandbox.clock.advance(seconds(span) if isinstance(span, str) else float(span or 0))
        return {"time": self._sandbox.clock.rfc3339()}

    async def _backend(self, arguments: Arguments) -> Any:
        """Say whether a backend accepts a value, given itself or as the newest value of a vault secret."""
        name, action = _text(arguments, "backend"), _text(arguments, "action")
        value = arguments.get("value")
        if value is None:
            value = self._vault(arguments).get(_text(arguments, "secret")).value
        actions: dict[str, Callable[[str, str], None]] = {
            "accept": self._sandbox.backends.accept,
            "reject": self._sandbox.backends.reject,
            "only": self._sandbox.backends.accept_only,
        }
        if action not in actions:
            raise ControlError(f"no such action: {action!r}; expected accept, reject or only")
        actions[action](name, str(value))
        return {"done": action}

    async def _restart(self, arguments: Arguments) -> Any:
        where = [_text(arguments, part) for part in ("namespace", "pod", "container")]
        self._sandbox.kubelet.restart_container(*where)
        return {"done": "restart"}

    def _vault(self, arguments: Arguments) -> Any:
        name = _text(arguments, "vault")
        known = [vault.name for vault in self._sandbox.vaults.vaults]
        if name.partition(".")[0] not in known:
            raise ControlError(
                f"there is no vault {name}; there are {', '.join(known) or 'none'}: load a file with some"
            )
        return self._sandbox.vaults.vault(name)


def _text(arguments: Arguments, name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise ControlError(f"{name}: expected a text")
    return value
