"""Who may do what: everything is allowed but what the world forbids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from agent.sandbox.apiserver.status import StatusError, bad_request, forbidden

ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
REVIEWS = {
    ACCESS_REVIEWS: ("authorization.k8s.io", "selfsubjectaccessreviews", "SelfSubjectAccessReview"),
    "/apis/authentication.k8s.io/v1/selfsubjectreviews": (
        "authentication.k8s.io", "selfsubjectreviews", "SelfSubjectReview",
    ),
}  # fmt: skip
"""Questions that are asked by a POST and leave nothing behind: path -> (API group, resource, kind)."""


@dataclass(frozen=True, kw_only=True)
class ForbidRule:
    """A refusal. ``user`` None: everybody; ``resource``: plural, with a subresource as ``pods/eviction``; "*": all.

    A rule for one namespace also forbids the same verb over all namespaces at once, since RBAC has no holes.
    """

    user: str | None = None
    verb: str = "*"
    resource: str = "*"
    namespace: str = "*"
    group: str = "*"


@dataclass(frozen=True, kw_only=True)
class Action:
    """What somebody wants to do. ``namespace`` None: in all namespaces."""

    user: str
    verb: str
    group: str
    resource: str
    namespace: str | None
    subresource: str = ""
    name: str = ""

    @property
    def what(self) -> str:
        """``pods/eviction``, or the resource alone."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def is_forbidden(rules: Sequence[ForbidRule], action: Action) -> bool:
    """Whether any rule forbids an action."""
    return any(_forbids(rule, action) for rule in rules)


def _forbids(rule: ForbidRule, action: Action) -> bool:
    return (
        rule.user in (None, action.user)
        and rule.verb in ("*", action.verb)
        and rule.resource in ("*", action.what)
        and rule.group in ("*", action.group)
        and (rule.namespace in ("*", action.namespace) or action.namespace is None)
    )


def refusal(action: Action) -> StatusError:
    """403 in the words of the RBAC authorizer."""
    where = f'in the namespace "{action.namespace}"' if action.namespace else "at the cluster scope"
    why = f'User "{action.user}" cannot {action.verb} resource "{action.what}" in API group "{action.group}" {where}'
    return forbidden(action.group, action.resource, action.name, why)


def self_subject(user: str) -> dict[str, Any]:
    """The answer to a SelfSubjectReview: who asks."""
    groups = ["system:authenticated"]
    if user.startswith("system:serviceaccount:"):
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{user.split(':')[2]}", *groups]
    return {
        "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
        "status": {"userInfo": {"username": user, "groups": groups}},
    }  # fmt: skip


def review(rules: Sequence[ForbidRule], user: str, path: str, body: Any) -> dict[str, Any]:
    """The answer to a review of the caller's own identity or rights. Raises StatusError 400."""
    return self_review(rules, user, body) if path == ACCESS_REVIEWS else self_subject(user)


def self_review(rules: Sequence[ForbidRule], user: str, body: Any) -> dict[str, Any]:
    """The answer to a SelfSubjectAccessReview. Raises StatusError 400."""
    spec = body.get("spec") if isinstance(body, dict) else None
    if not isinstance(spec, dict):
        raise bad_request("the object provided is unrecognized (must be of type SelfSubjectAccessReview)")
    asked = spec.get("resourceAttributes") or {}
    action = Action(
        user=user, verb=asked.get("verb", ""), group=asked.get("group", ""), resource=asked.get("resource", ""),
        namespace=asked.get("namespace") or None, subresource=asked.get("subresource", ""), name=asked.get("name", ""),
    )  # fmt: skip
    denied = bool(asked) and is_forbidden(rules, action)
    reason = "forbidden by the world" if denied else "allowed by the world"
    return {
        "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": spec,
        "status": {"allowed": not denied, "reason": reason},
    }  # fmt: skip
