"""Rights that are needed and missing, and dangerous ones that are there without need. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from agent.doctor.checks.needs import Need, Right
from agent.doctor.facts import Rights
from agent.doctor.lines import Line, Permission
from agent.model import Trouble

_MOST_PLACES = 3


def asked(need: Need) -> list[Permission]:
    """What is asked for a need at first."""
    return [Permission(*right, namespace) for right in need.rights for namespace in need.where]


def asked_instead(need: Need, rights: Rights) -> list[Permission]:
    """What is asked besides, where a right is not given in all namespaces."""
    if not need.instead:
        return []
    denied = [right for right in need.rights if not rights.has(Permission(*right, None))]
    return [Permission(*right, namespace) for right in denied for namespace in need.instead]


def rights_line(need: Need, rights: Rights, user: str) -> Line:
    """Whether all rights of a need are there; what is missing, and how to grant it."""
    missing, unknown = _missing(need, rights), _unknown(need, rights)
    judged = tuple((each, granted) for each, granted in rights.answers.items() if _belongs(each, need))
    permissions = tuple((each, granted) for each, granted in judged if isinstance(granted, bool))
    if unknown is not None:
        said = f"whether we may {_told(need.rights)} cannot be asked: {unknown.detail}"
        return Line(area="rights", name=need.name, state="not-checked", said=said)
    if not missing:
        return Line(area="rights", name=need.name, state="ok", said=_told(need.rights), permissions=permissions)
    said = f"may not {_told(dict.fromkeys(each[:3] for each in missing))}{_places(missing)}"
    return Line(
        area="rights", name=need.name, state="warning" if need.optional else "error",
        said=f"{said}; {need.without}" if need.without else said, commands=_grant(need.name, missing, user),
        todo="" if user else "grant it to this identity", permissions=permissions,
    )  # fmt: skip


def idle_line(right: Iterable[Right], where: tuple[str | None, ...], rights: Rights) -> Line | None:
    """Dangerous rights that this policy does not need; None where there are none."""
    held = [Permission(*each, namespace) for each in right for namespace in where]
    held = [each for each in held if rights.has(each)]
    if not held:
        return None
    return Line(
        area="rights", name="not needed", state="note", permissions=tuple((each, True) for each in held),
        said=f"may {_told(dict.fromkeys(each[:3] for each in held))}, which this policy never does",
        todo="take from this identity what it does not need",
    )  # fmt: skip


def _belongs(permission: Permission, need: Need) -> bool:
    return permission[:3] in need.rights and permission.namespace in (*need.where, *need.instead)


def _missing(need: Need, rights: Rights) -> list[Permission]:
    denied = [each for each in asked(need) if not rights.has(each)]
    found: list[Permission] = []
    for each in denied:
        parts = [Permission(*each[:3], namespace) for namespace in need.instead]
        lacking = [part for part in parts if not rights.has(part)]
        # Where it is given in none of many namespaces, the whole is what is missing; where in all, nothing is.
        found += [each] if not parts or (len(lacking) == len(parts) and not need.few) else lacking
    return found


def _unknown(need: Need, rights: Rights) -> Trouble | None:
    answers = (rights.answers.get(each) for each in asked(need))
    return next((answer for answer in answers if isinstance(answer, Trouble)), None)


def _told(rights: Iterable[tuple[str, ...]]) -> str:
    """``get, list secrets; list pods``: resources by what is done to them."""
    by_resource: dict[str, list[str]] = {}
    for verb, _, resource in rights:
        by_resource.setdefault(resource, []).append(verb)
    by_verbs: dict[tuple[str, ...], list[str]] = {}
    for resource, done in by_resource.items():
        by_verbs.setdefault(tuple(done), []).append(resource)
    return "; ".join(f"{', '.join(verbs)} {', '.join(resources)}" for verbs, resources in by_verbs.items())


def _places(missing: list[Permission]) -> str:
    names = list(dict.fromkeys(each.namespace for each in missing if each.namespace is not None))
    if not names:
        return ""
    more = f" and {len(names) - _MOST_PLACES} more" if len(names) > _MOST_PLACES else ""
    return f" in {', '.join(names[:_MOST_PLACES])}{more}"


def _grant(name: str, missing: list[Permission], user: str) -> tuple[str, ...]:
    """kubectl's commands that grant exactly this, a role for each set of verbs in each place."""
    by_place: dict[tuple[str | None, str], list[str]] = {}
    for each in missing:
        by_place.setdefault((each.namespace, each.kubectl), []).append(each.verb)
    roles: dict[tuple[str | None, tuple[str, ...]], list[str]] = {}
    for (namespace, resource), done in by_place.items():
        roles.setdefault((namespace, tuple(done)), []).append(resource)
    commands = []
    for number, ((namespace, verbs), resources) in enumerate(roles.items(), 1):
        role = f"secret-drift-agent-{name.lower().replace(' ', '-')}" + (f"-{number}" if len(roles) > 1 else "")
        kind, place = ("clusterrole", "") if namespace is None else ("role", f" -n {shlex.quote(namespace)}")
        rules = f"--verb={','.join(verbs)} --resource={','.join(resources)}"
        commands.append(f"kubectl create {kind} {role}{place} {rules}")
        if user:
            commands.append(f"kubectl create {kind}binding {role}{place} --{kind}={role} {_subject(user)}")
    return tuple(commands)


def _subject(user: str) -> str:
    account = user.removeprefix("system:serviceaccount:")
    return shlex.quote(f"--serviceaccount={account}" if account != user else f"--user={user}")
