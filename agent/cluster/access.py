"""Who we are to the API server, and what it would let us do: asked of its own authorizer, one permission at a time."""

from __future__ import annotations

import msgspec

from agent.cluster.connection import Connection
from agent.cluster.decode import BadAnswer
from agent.cluster.errors import ApiProblem

_ACCESS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


class _Verdict(msgspec.Struct):
    allowed: bool = False


class _Reviewed(msgspec.Struct):
    status: _Verdict


class _UserInfo(msgspec.Struct):
    username: str = ""


class _SelfStatus(msgspec.Struct, rename="camel"):
    user_info: _UserInfo


class _Self(msgspec.Struct):
    status: _SelfStatus


def may(conn: Connection, verb: str, group: str, resource: str, namespace: str | None = None) -> bool:
    """Whether we are allowed this. ``resource`` may name a subresource (``pods/eviction``); None: in all namespaces.

    Leaves nothing behind. Raises ApiProblem, Unreachable, BadAnswer.
    """
    plural, _, subresource = resource.partition("/")
    attributes = {"verb": verb, "group": group, "resource": plural, "subresource": subresource}
    if namespace is not None:
        attributes["namespace"] = namespace
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {name: value for name, value in attributes.items() if value}},
    }
    answer = conn.request("POST", _ACCESS, body=msgspec.json.encode(body))
    try:
        return msgspec.json.decode(answer.body, type=_Reviewed).status.allowed
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadAnswer("an access review cannot be read") from None


def whoami(conn: Connection) -> str:
    """The user name that the API server knows us by; empty where it does not tell (before Kubernetes 1.28).

    Raises ApiProblem for anything but that, Unreachable, BadAnswer.
    """
    body = msgspec.json.encode({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"})
    try:
        answer = conn.request("POST", _SELF, body=body)
    except ApiProblem as error:
        if error.code in (403, 404):
            return ""
        raise
    try:
        return msgspec.json.decode(answer.body, type=_Self).status.user_info.username
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadAnswer("the review of our own identity cannot be read") from None
