"""The rules of a policy: what may be done in which namespaces. The first rule that matches wins."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from . import globs, patterns
from .fields import Duration, Section, Span, mistake
from .problems import show

_NAMESPACE = re.compile(r"^[a-z0-9*?-]{1,63}$", re.ASCII)
_VAULT = re.compile(r"^(?=.{3,24}$)[A-Za-z][A-Za-z0-9]*(-[A-Za-z0-9]+)*$", re.ASCII)
_TIME = re.compile(r"^([01][0-9]|2[0-3]):[0-5][0-9]$", re.ASCII)
NOT_ZONES = frozenset({"localtime", "posixrules", "Factory"})
"""Names that resolve on some machines and mean something else on each."""

Day = Literal["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
WEEK: tuple[Day, ...] = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def _namespace(pattern: str) -> str:
    if "[" in pattern or "]" in pattern:
        raise mistake(f"only * and ? are special in a namespace pattern, [ is not supported; found {show(pattern)}")
    if not _NAMESPACE.fullmatch(pattern) or pattern.startswith("-") or pattern.endswith("-"):
        raise mistake(
            "expected a namespace of at most 63 of a-z, 0-9 and -, not beginning or ending with -, "
            f"where * stands for anything and ? for one character; found {show(pattern)}"
        )
    return pattern


def _regexp(pattern: str) -> str:
    if found := patterns.complaint(pattern):
        raise mistake(found)
    return pattern


def _evidence(value: object) -> object:
    if value in ("values", "metadata"):
        raise mistake(f"evidence: {value} is not in this version yet; use hashes")
    return value


def _zone(name: str) -> str:
    try:
        if name in NOT_ZONES:
            raise ValueError(name)
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise mistake(f"expected the name of a time zone, such as Europe/Berlin or UTC; found {show(name)}") from None
    return name


def _looks(pattern: re.Pattern[str], also: str = "") -> Any:
    return Field(json_schema_extra={"pattern": pattern.pattern + (f"|^{also}$" if also else "")})


Namespace = Annotated[str, Field(max_length=253), _looks(_NAMESPACE), AfterValidator(_namespace)]
Regexp = Annotated[str, Field(json_schema_extra={"maxLength": patterns.LONGEST_PATTERN}), AfterValidator(_regexp)]
Namespaces = Annotated[tuple[Namespace, ...], Field(min_length=1, max_length=500)]


class Rule(Section):
    """What all rules share: the namespaces they hold for."""

    namespaces: Namespaces = Field(
        description="Names of namespaces, or patterns in which * stands for anything and ? for one character."
    )

    def matches(self, namespace: str) -> bool:
        """Whether the rule holds for this namespace."""
        return globs.any_matches(self.namespaces, namespace)


class VaultRule(Rule):
    """A vault that may be looked at on behalf of some namespaces. No request leaves for any other."""

    name: Annotated[str, _looks(_VAULT)] = Field(
        description="Name of the vault: prod-kv for https://prod-kv.vault.azure.net."
    )
    suffix: Literal["vault.azure.net", "vault.azure.cn", "vault.usgovcloudapi.net"] = Field(
        default="vault.azure.net", description="Domain of the vault's cloud: public, China or US Government."
    )
    evidence: Annotated[Literal["hashes"], BeforeValidator(_evidence)] = Field(
        default="hashes", description="hashes: the vault is listed, never read; Secrets are compared by fingerprint."
    )
    requests_per_second: Annotated[float, Field(gt=0, le=400)] = Field(
        default=20.0, description="Requests to this vault a second at most, shared by all namespaces."
    )

    @field_validator("name")
    @classmethod
    def _is_a_vault(cls, name: str) -> str:
        if "." in name or "/" in name:
            raise mistake(
                f"expected the name alone, such as prod-kv, and the cloud's domain in suffix; found {show(name)}"
            )
        if not _VAULT.fullmatch(name):
            raise mistake(
                "expected the name of a vault: 3 to 24 letters, digits and single hyphens, beginning with a letter; "
                f"found {show(name)}"
            )
        return name.lower()

    @cached_property
    def host(self) -> str:
        """The only host that this rule allows requests to."""
        return f"{self.name}.{self.suffix}"


class SyncRule(Rule):
    """Healing of links 1 and 2: the vault's value into the Secret. Matched on the ExternalSecret's namespace."""

    steps: Annotated[tuple[Literal["force-sync", "recreate"], ...], Field(max_length=2)] = Field(
        description="What may be done: force-sync asks ESO to sync now; recreate, which needs force-sync, deletes an "
        "immutable Secret so that ESO writes it anew. An empty list: observe only."
    )
    patience: Duration = Field(
        default=0.0, description="A stale chain whose own refresh is due within this time is left to ESO."
    )

    @field_validator("steps")
    @classmethod
    def _climb(cls, steps: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(steps)) < len(steps):
            raise mistake("each step once; found one twice")
        if "recreate" in steps and "force-sync" not in steps:
            raise mistake("recreate needs force-sync, which proves first that ESO can read everything: list both")
        return tuple(sorted(steps))


class Window(Section):
    """A span of the week in which disruption is allowed, on the wall clock of its zone."""

    days: Annotated[tuple[Day, ...], Field(min_length=1, max_length=7)] = Field(
        default=WEEK, description="Days on which the window opens; it may close on the next."
    )
    opens: Annotated[str, _looks(_TIME)] = Field(description="Time of day at which it opens, HH:MM.")
    closes: Annotated[str, _looks(_TIME, also="24:00")] = Field(
        description="Time of day at which it closes, to 24:00; before `from`: on the next day; equal: a day later."
    )
    time_zone: Annotated[str, Field(max_length=64), AfterValidator(_zone)] = Field(
        description="IANA name of the time zone, such as Europe/Berlin."
    )

    @field_validator("opens", "closes")
    @classmethod
    def _is_a_time(cls, text: str, info: ValidationInfo) -> str:
        if _TIME.fullmatch(text) or (text == "24:00" and info.field_name == "closes"):
            return text
        raise mistake(f'expected a time of day as "HH:MM", such as "22:00"; found {show(text)}')


class LogCanary(Section):
    """What the canary's log must say before others follow. Only the pattern and the line's number are ever reported."""

    success: Regexp | None = Field(
        default=None, description="Regular expression that a line must match within `within`; absent: none needed."
    )
    failure: Regexp | None = Field(
        default=None, description="Regular expression of a line that fails the canary at once."
    )
    within: Span = Field(default=60.0, description="How long the log is followed after the container's start.")

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.success is None and self.failure is None:
            raise mistake("expected success, failure or both; found neither")
        return self


class Canary(Section):
    """When the first new pod, and each batch after it, has passed."""

    ready_within: Span = Field(
        default=300.0, description="A fresh container not ready in this time fails the canary or the batch."
    )
    log: LogCanary | None = Field(default=None, description="What its log must say, too; absent: readiness is enough.")


class RecycleRule(Rule):
    """Healing of link 3: the Secret's value into running containers. Matched on the workload's namespace."""

    settle: Duration = Field(
        default=15.0,
        description="Quiet time after the newest change of a vault secret or Secret before pods are touched.",
    )
    suspect: Literal["report", "recycle"] = Field(
        default="report", description="Containers that may run an old value, which cannot be proved."
    )
    volumes: Literal["ignore", "recycle"] = Field(
        default="ignore",
        description="Containers that use a Secret by plain or projected volume, which kubelet updates.",
    )
    windows: Annotated[tuple[Window, ...], Field(max_length=50)] = Field(
        default=(), description="When pods may be touched; none: always."
    )
    broken_pods: Literal["in-window", "any-time"] = Field(
        default="in-window", description="Pods both stale and not ready: wait for a window too, or not."
    )
    gap: Literal["refuse", "allow"] = Field(
        default="refuse", description="A single replica that cannot be replaced without being away for a while."
    )
    bare_pods: Literal["refuse", "recycle"] = Field(
        default="refuse", description="Pods without a controller: nothing brings them back once they are evicted."
    )
    canary: Canary = Field(default=Canary(), description="When a recycled pod has passed.")
