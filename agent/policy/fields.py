"""The kinds of field a policy is made of, and the base of its sections.

In a file a duration is text with its unit and a moment is RFC 3339; in code both are seconds. Numbers are accepted for
them only from code: in a file ``30`` could be seconds or minutes, and a reader should never have to guess.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, ValidationInfo
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from .problems import show
from .wording import describe

FROM_FILE = "from-file"
"""Validation context of everything that a person wrote."""

DURATION_PATTERN = r"^(?=.)(\d{1,9}d)?(\d{1,9}h)?(\d{1,9}m)?(\d{1,9}s)?(\d{1,9}ms)?$"
_DURATION = re.compile(DURATION_PATTERN, re.ASCII)
_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}  # milliseconds, largest first
LONGEST = 10 * 365 * 86400.0
"""Ten years in seconds: longer is a typing error, and would overflow dates."""

MOMENT_PATTERN = r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})$"
_MOMENT = re.compile(MOMENT_PATTERN, re.ASCII)


def mistake(message: str, field: str = "") -> PydanticCustomError:
    """An error whose text is shown as it stands; ``field`` names the key below the value at hand that is to blame."""
    return PydanticCustomError("policy", "{message}", {"message": message, "field": field})


def parse_duration(text: str) -> float:
    """Seconds in ``15s``, ``5m``, ``2h``, ``30d``, ``1m30s``, ``500ms`` (largest unit first). Raises ValueError."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"expected a duration such as 15s, 5m, 2h, 30d or 1m30s; found {show(text)}")
    parts = zip(found.groups(), _UNITS.items(), strict=True)
    seconds = sum(int(part.removesuffix(unit)) * size for part, (unit, size) in parts if part) / 1000
    if seconds > LONGEST:
        raise ValueError(f"expected at most 3650d; found {text}")
    return seconds


def spell_duration(seconds: float) -> str:
    """The text in a file that means these seconds, to the millisecond."""
    rest, text = round(seconds * 1000), ""
    for unit, size in _UNITS.items():
        count, rest = divmod(rest, size)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def spell_moment(moment: float) -> str:
    """RFC 3339 of unix seconds."""
    return datetime.fromtimestamp(moment, UTC).isoformat().replace("+00:00", "Z")


def _to_seconds(value: object, info: ValidationInfo) -> object:
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except ValueError as error:
            raise mistake(str(error)) from None
    if info.context == FROM_FILE:
        raise mistake(f"expected a duration with its unit, such as 15s; found {describe(value)}{_with_unit(value)}")
    return value


def _with_unit(value: object) -> str:
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LONGEST
    return f": write {value}s if seconds are meant" if whole else ""


def _to_moment(value: object, info: ValidationInfo) -> object:
    if isinstance(value, str):
        if _MOMENT.match(value):
            try:
                return datetime.fromisoformat(value.upper()).timestamp()
            except (ValueError, OverflowError):
                pass
        raise mistake(f"expected a date and time with its zone, such as 2026-12-01T00:00:00Z; found {show(value)}")
    if info.context == FROM_FILE:
        raise mistake("expected a date and time with its zone, such as 2026-12-01T00:00:00Z")
    return value


class _AsText:
    """Tells the JSON Schema how a value looks in the file, where that differs from how code holds it."""

    def __init__(self, pattern: str, example: str) -> None:
        self._pattern, self._example = pattern, example

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": "string", "pattern": self._pattern, "examples": [self._example]}


_seconds = (
    BeforeValidator(_to_seconds),
    PlainSerializer(spell_duration, when_used="json"),
    _AsText(DURATION_PATTERN, "15s"),
)

Duration = Annotated[float, Field(ge=0, le=LONGEST), *_seconds]
"""Seconds, zero or more."""

Span = Annotated[float, Field(ge=0.1, le=LONGEST), *_seconds]
"""Seconds, a tenth or more: what is repeated without a pause would never end."""

Moment = Annotated[
    float,
    BeforeValidator(_to_moment),
    PlainSerializer(spell_moment, when_used="json"),
    _AsText(MOMENT_PATTERN, "2026-12-01T00:00:00Z"),
]
"""Unix seconds."""

Count = Annotated[int, Field(ge=1, le=100_000)]
"""A whole number, one or more."""


_WORDS = {"opens": "from", "closes": "to"}  # `from` is no name in Python


def _in_file(name: str) -> str:
    return _WORDS.get(name) or to_camel(name)


class Section(BaseModel):
    """A part of the policy: frozen, comparable, with no key that is not declared."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        alias_generator=_in_file,
        validate_by_name=True,
        validate_by_alias=True,
        protected_namespaces=(),
    )

    @cached_property
    def digest(self) -> str:
        """Twelve hex digits that stay the same while the content, defaults included, does."""
        content = json.dumps(self.model_dump(mode="json", by_alias=True), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some fields changed, unchecked; what is derived from them is its own."""
        copy = super().model_copy(update=update, deep=deep)
        for derived in copy.__dict__.keys() - type(copy).model_fields.keys():
            del copy.__dict__[derived]
        return copy
