"""The text of a container's log, cut as the query of a log request asks: what a kubelet does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime


class BadQuery(ValueError):
    """A member of the query cannot be understood; ``name`` is the member, ``value`` what it holds."""

    def __init__(self, name: str, value: str) -> None:
        self.name, self.value = name, value
        super().__init__(f"{name}: {value!r}")


def log_text(lines: Sequence[tuple[float, str]], query: Mapping[str, str], now: float) -> bytes:
    """(unix seconds, line) in order -> the body of the answer. Raises BadQuery."""
    since = _since(query, now)
    chosen = [(at, line) for at, line in lines if at >= since]
    if (tail := _number(query, "tailLines")) is not None:
        chosen = chosen[-tail:] if tail else []
    stamped = query.get("timestamps") in ("true", "1")
    text = "".join(f"{_moment(at)} {line}\n" if stamped else f"{line}\n" for at, line in chosen)
    return text.encode()[: _number(query, "limitBytes")]


def _moment(at: float) -> str:
    whole = datetime.fromtimestamp(int(at), UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{int((at % 1) * 1_000_000_000):09d}Z"


def _number(query: Mapping[str, str], name: str) -> int | None:
    text = query.get(name)
    if text is None:
        return None
    if not text.isdecimal():
        raise BadQuery(name, text)
    return int(text)


def _since(query: Mapping[str, str], now: float) -> float:
    if (seconds := _number(query, "sinceSeconds")) is not None:
        return now - seconds
    if not query.get("sinceTime"):
        return float("-inf")
    try:
        return datetime.fromisoformat(query["sinceTime"]).timestamp()
    except ValueError as error:
        raise BadQuery("sinceTime", query["sinceTime"]) from error
