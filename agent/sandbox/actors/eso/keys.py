"""``remoteRef.key`` and the keys of a Secret: object types, conversion, validation, null bytes."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from agent.sandbox.actors.eso.errors import NotReproducible, ProviderError

_LONGEST = 253


def object_type(key: str) -> tuple[str, str]:
    """(type, name) of a remoteRef's key: ``secret/NAME`` or plain ``NAME``; what follows a second slash is ignored."""
    parts = key.split("/")
    return (parts[0], parts[1]) if len(parts) > 1 else ("secret", key)


def converted(strategy: str, values: Mapping[str, bytes]) -> dict[str, bytes]:
    """The keys with what no key may hold replaced. Raises ProviderError where two keys become one."""
    out: dict[str, bytes] = {}
    collisions: set[str] = set()
    for key, value in values.items():
        new = "".join(char if _is_plain(char) else _replacement(strategy, char) for char in key)
        if new in out:
            collisions.add(new)
        out[new] = value
    if len(collisions) > 1:
        raise NotReproducible("several key collisions: which one the error names is left to chance")
    if collisions:
        collision = collisions.pop()
        raise ProviderError(
            f"error applying conversion strategy {strategy} to keys: secret name collision during conversion: "
            f"{collision}"
        )
    return out


def validated(values: Mapping[str, bytes]) -> dict[str, bytes]:
    """The values without the empty key. Raises ProviderError for keys that are too long or hold odd characters."""
    faults = [fault for key in values if (fault := _fault(key))]
    if len(faults) > 1:
        raise NotReproducible("several invalid keys: which one the error names is left to chance")
    if faults:
        raise ProviderError(f"invalid secret keys (TIP: use rewrite or conversionStrategy to change keys): {faults[0]}")
    return {key: value for key, value in values.items() if key}


def check_null_bytes(policy: str, values: Mapping[str, bytes]) -> None:
    """Raises ProviderError for the first key, in order, whose value holds a NUL under ``nullBytePolicy: Fail``."""
    if policy != "Fail":
        return
    for key in sorted(values):
        if b"\0" in values[key]:
            raise ProviderError(
                f'fetched secret value for key "{key}" contains null bytes; use a text-safe format such as PEM/base64 '
                "or leave nullBytePolicy unset for intentional binary data"
            )


def _is_plain(char: str) -> bool:
    return char in "-._" or unicodedata.category(char)[0] in "LN"


def _replacement(strategy: str, char: str) -> str:
    if strategy in ("", "Default"):
        return "_"
    if strategy == "Unicode":
        return f"_U{ord(char):04x}_"
    raise NotReproducible(f"conversionStrategy {strategy!r}")


def _fault(key: str) -> str:
    encoded = key.encode("utf-8", "replace")
    if len(encoded) > _LONGEST:
        head = encoded[:_LONGEST].decode("utf-8", "replace")
        return f"key has length {len(encoded)} but max is {_LONGEST}: (following is truncated): {head}"
    odd = next((char for char in key if not _is_plain(char)), None)
    if odd is not None:
        return f"key has invalid character {odd}, only alphanumeric, '-', '.' and '_' are allowed: {key}"
    return ""
