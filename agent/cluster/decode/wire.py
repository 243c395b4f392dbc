"""Wire shapes that many resources share, and the small conversions from them.

Only the fields that decisions need are named; msgspec skips the rest without building anything. Structs here live for
one page, so they stay outside the garbage collector's view.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec

from agent.cluster.decode.sharing import word
from agent.labels import Labels, Selector
from agent.model import ObjectKey, Owner

_T = TypeVar("_T")

EMPTY = msgspec.Raw(b"")
_LONGEST_NAME = 253  # of any object
Time = Annotated[datetime, msgspec.Meta(tz=True)]


class Wire(msgspec.Struct, gc=False, rename="camel"):
    """Base of all wire structs."""


class Unfit(Exception):
    """An object that decodes but cannot be used: which field, and why in words that hold no value."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class OwnerRef(Wire):
    """An ownerReference."""

    kind: str
    name: str
    uid: str
    api_version: str = ""
    controller: bool | None = None


class ManagedEntry(Wire):
    """A managedFields entry, with no more of ``fieldsV1`` than whether it holds data or a spec."""

    class Fields(Wire, rename={"data": "f:data", "spec": "f:spec"}):
        """The two branches that matter; what is below them is skipped."""

        data: msgspec.Raw = EMPTY
        spec: msgspec.Raw = EMPTY

    manager: str = ""
    time: Time | None = None
    fields_v1: Fields | None = msgspec.field(name="fieldsV1", default=None)


class Meta(Wire):
    """Metadata of any object: what is missing here makes the object malformed."""

    name: str
    uid: str
    resource_version: str
    creation_timestamp: Time
    namespace: str = ""
    generation: int = 0
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[OwnerRef] | None = None
    finalizers: list[str] | None = None
    deletion_timestamp: Time | None = None
    managed_fields: list[ManagedEntry] | None = None


class Condition(Wire):
    """One entry of ``status.conditions``."""

    type: str
    status: str = "Unknown"
    reason: str | None = None
    message: str | None = None
    last_transition_time: Time | None = None


class Requirement(Wire):
    """One matchExpressions entry."""

    key: str
    operator: str
    values: list[str] | None = None


class LabelSelector(Wire):
    """A label selector."""

    match_labels: dict[str, str] | None = None
    match_expressions: list[Requirement] | None = None

    def to_model(self) -> Selector:
        """As the domain's type; an unknown operator matches nothing."""
        return Selector(
            labels=tuple(sorted((self.match_labels or {}).items())),
            expressions=tuple((r.key, r.operator, tuple(r.values or ())) for r in self.match_expressions or ()),
        )


_MISSING = re.compile(r"Object missing required field `([A-Za-z0-9:_.]{1,60})`")
_LOCATED = re.compile(r"(.*?)(?: - at `(?:key in )?`?\$(.*?)`?)?", re.DOTALL)
_SAFE = re.compile(
    r"Expected `[a-z0-9_ |]{1,80}`, got `[a-z]{1,20}`"
    r"|Invalid RFC3339 encoded datetime|Invalid base64 encoded string"
    r"|Expected `[a-z]+` with a timezone component"
)


def located(problem: Exception, below: str = "") -> tuple[str, str]:
    """Field and message of a decoding error, made only of words that no value can have put there."""
    if isinstance(problem, Unfit):
        return problem.field, problem.message
    if isinstance(problem, UnicodeDecodeError):
        return below, "is no UTF-8 text"
    if isinstance(problem, RecursionError):
        return below, "is nested too deeply"
    if not isinstance(problem, msgspec.ValidationError):
        return below, "is no JSON"
    found = _LOCATED.fullmatch(str(problem))
    message, path = (found[1], found[2] or "") if found else ("", "")
    if not re.fullmatch(r"[A-Za-z0-9_.:\[\]]{0,200}", path):
        path = ""
    field = (below + path if below else path.removeprefix(".")).replace("[...]", "")
    if (missing := _MISSING.fullmatch(message)) is not None:
        return f"{field}.{missing[1]}".removeprefix("."), "is missing"
    return field, message[0].lower() + message[1:] if _SAFE.fullmatch(message) else "is not of the expected shape"


def shared(labels: dict[str, str] | None) -> Labels:
    """Labels, whose words recur on everything that belongs to an application, so they are shared."""
    return Labels.of({word(name): word(value) for name, value in (labels or {}).items()})


def decoded(decoder: msgspec.json.Decoder[_T], text: bytes | msgspec.Raw, field: str) -> _T | None:
    """What a field holds that was kept as text; None: nothing. Raises Unfit, with the place below the field."""
    try:
        return decoder.decode(text) if bytes(text) else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise Unfit(*located(problem, field)) from None


def key_of(meta: Any, *, named_elsewhere: bool = True) -> ObjectKey:
    """Namespace and name, in words shared with whoever names the object, if anybody does. Raises Unfit."""
    if not meta.name:
        raise Unfit("metadata.name", "is empty")
    if not meta.namespace:
        raise Unfit("metadata.namespace", "is missing")
    return ObjectKey(word(meta.namespace), word(meta.name) if named_elsewhere else meta.name)


def present(text: msgspec.Raw) -> bool:
    """Whether a field that is kept as text was given, and not as null."""
    return bytes(text) not in (b"", b"null")


def seconds(time: datetime | None) -> float | None:
    """Unix seconds of a timestamp that may be null."""
    return None if time is None else time.timestamp()


def controller(references: list[OwnerRef] | None) -> Owner | None:
    """The ownerReference that controls the object, if there is one. Raises Unfit."""
    for ref in references or ():
        if ref.controller:
            # It names workloads in what is remembered; the API server itself takes any length.
            if len(ref.name) > _LONGEST_NAME or len(ref.kind) > _LONGEST_NAME:
                raise Unfit("metadata.ownerReferences", f"names a controller by more than {_LONGEST_NAME} characters")
            group, slash, _ = ref.api_version.partition("/")
            return Owner(word(ref.kind), word(ref.name), word(ref.uid), word(group) if slash else "")
    return None


def newest(entries: Iterable[ManagedEntry]) -> float | None:
    """The greatest time of these managedFields entries."""
    return max((entry.time.timestamp() for entry in entries if entry.time is not None), default=None)


def spec_changed(meta: Meta) -> float:
    """Newest time of an entry that owns part of the spec, else creation. Status and metadata updates move none."""
    owners = (one for one in meta.managed_fields or () if one.fields_v1 is not None and present(one.fields_v1.spec))
    return max(meta.creation_timestamp.timestamp(), newest(owners) or 0.0)


def condition(conditions: list[Condition] | None, kind: str) -> Condition | None:
    """The condition of that type."""
    for one in conditions or ():
        if one.type == kind:
            return one
    return None


def truth(status: str) -> bool | None:
    """``True`` and ``False`` as such; ``Unknown`` and anything else as None."""
    return {"True": True, "False": False}.get(status)
