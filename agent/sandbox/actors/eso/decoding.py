"""``decodingStrategy``: base64 as Go decodes it, with its error texts."""

from __future__ import annotations

from agent.sandbox.actors.eso.errors import NotReproducible, ProviderError

_STD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_URL = _STD[:-2] + b"-_"
_NEWLINES = b"\r\n"
_PAD = ord("=")


class CorruptInput(ValueError):
    """Not base64; the message names the byte as Go does."""

    def __init__(self, at: int) -> None:
        super().__init__(f"illegal base64 data at input byte {at}")


def decode(strategy: str, value: bytes) -> bytes:
    """The value decoded. Raises CorruptInput; Auto never does, it gives back what does not decode."""
    if strategy in ("", "None"):
        return value
    if strategy == "Base64":
        return _base64(value, _STD)
    if strategy == "Base64URL":
        return _base64(value, _URL)
    if strategy != "Auto":
        raise NotReproducible(f"decodingStrategy {strategy!r}")
    for alphabet in (_STD, _URL):
        try:
            return _base64(value, alphabet)
        except CorruptInput:
            continue
    return value


def decode_value(strategy: str, value: bytes) -> bytes:
    """One entry of ``data[]``. Raises ProviderError."""
    try:
        return decode(strategy, value)
    except CorruptInput as error:
        raise ProviderError(f"error applying decoding strategy {strategy} to data: {error}") from None


def decode_map(strategy: str, values: dict[str, bytes]) -> dict[str, bytes]:
    """All values of an extract or find.

    Raises ProviderError; NotReproducible if two fail, as Go names one at random.
    """
    decoded: dict[str, bytes] = {}
    failures: list[str] = []
    for key, value in values.items():
        try:
            decoded[key] = decode(strategy, value)
        except CorruptInput as error:
            failures.append(f"error applying decoding strategy {strategy} to data: failure decoding key {key}: {error}")
    if len(failures) > 1:
        raise NotReproducible("several values do not decode: which one the error names is left to chance")
    if failures:
        raise ProviderError(failures[0])
    return decoded


def _base64(source: bytes, alphabet: bytes) -> bytes:
    out = bytearray()
    at = 0
    while True:
        sextets, at, ended = _quantum(source, at, alphabet)
        bits = 0
        for sextet in sextets:
            bits = bits << 6 | sextet
        bits <<= 6 * (4 - len(sextets))
        out += bits.to_bytes(3, "big")[: max(0, len(sextets) - 1)]
        if ended:
            return bytes(out)


def _quantum(source: bytes, at: int, alphabet: bytes) -> tuple[list[int], int, bool]:
    """Up to four sextets from ``at``, where to go on, and whether that was the end. Line ends count nowhere."""
    sextets: list[int] = []
    while len(sextets) < 4:
        if at == len(source):
            if sextets:
                raise CorruptInput(at - len(sextets))
            return sextets, at, True
        char = source[at]
        at += 1
        if char in _NEWLINES:
            continue
        if char == _PAD:
            return sextets, _padding(source, at, len(sextets)), True
        position = alphabet.find(char)
        if position < 0:
            raise CorruptInput(at - 1)
        sextets.append(position)
    return sextets, at, False


def _padding(source: bytes, at: int, sextets: int) -> int:
    """What follows the first ``=``, which stands just before ``at``."""
    if sextets < 2:
        raise CorruptInput(at - 1)
    if sextets == 2:
        at = _after_newlines(source, at)
        if at == len(source):
            raise CorruptInput(at)
        if source[at] != _PAD:
            raise CorruptInput(at - 1)
        at += 1
    at = _after_newlines(source, at)
    if at < len(source):
        raise CorruptInput(at)
    return at


def _after_newlines(source: bytes, at: int) -> int:
    while at < len(source) and source[at] in _NEWLINES:
        at += 1
    return at
