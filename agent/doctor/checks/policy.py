"""The policy file: valid, what it says, and what in it matches nothing in this cluster. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from agent.doctor.facts import PolicyFound
from agent.doctor.lines import Line, State
from agent.policy import Policy
from agent.policy.rules import Rule
from agent.times import stamp

_MOST_PROBLEMS = 10


def policy_lines(found: PolicyFound, policy: Policy, known: Sequence[str] | None, now: float) -> list[Line]:
    """Each mistake of the file, or what it says. ``known``: the cluster's namespaces; None: not known."""
    if found.problems:
        shown = [_line("error", "file", problem) for problem in found.problems[:_MOST_PROBLEMS]]
        if more := len(found.problems) - len(shown):
            shown.append(
                _line("error", "file", f"{more} more mistakes", f"secret-drift-agent policy check {found.file}")
            )
        said = "all that follows is judged for the policy of the package: observe, no vaults"
        return [*shown, _line("note", "in force", said)]
    said = f"{found.file or 'that of the package'}: mode {policy.mode}, {_rules(policy)}"
    file = _line("ok", "file", said)
    if found.missing:
        todo = "give the one that the agent has, or will have, by --policy FILE"
        file = _line("warning", "file", f"none was given, and {found.missing}; judged by {said}", todo)
    return [file, *_pause(policy, now), *_idle(found, policy), *_unmatched(policy, known)]


def _rules(policy: Policy) -> str:
    counts = {"vault": len(policy.vaults), "sync": len(policy.sync), "recycle": len(policy.recycle)}
    return ", ".join(f"{count} {name} rule{'' if count == 1 else 's'}" for name, count in counts.items())


def _pause(policy: Policy, now: float) -> Iterator[Line]:
    pause = policy.paused(now)
    if pause is not None:
        until = f" until {stamp(pause.until)}" if pause.until is not None else ""
        yield _line("warning", "pause", f"nothing is written{until}: {pause.reason}", "remove it when it is over")


def _idle(found: PolicyFound, policy: Policy) -> Iterator[Line]:
    if policy.mode == "heal" and not policy.sync and not policy.recycle:
        yield _line("note", "rules", "mode heal without sync and recycle rules heals nothing")
    if not policy.vaults:
        todo = "name the vaults under vaults: in the policy" if found.file else "give a policy by --policy"
        said = "no vault may be looked at, so it is never known that ESO is behind"
        yield _line("warning", "vaults", said, todo)


def _unmatched(policy: Policy, known: Sequence[str] | None) -> Iterator[Line]:
    """Rules that hold for no namespace that there is; those that can never match are mistakes of the file already."""
    if known is None:
        return
    sections: dict[str, Sequence[Rule]] = {"vaults": policy.vaults, "sync": policy.sync, "recycle": policy.recycle}
    for section, rules in sections.items():
        for index, rule in enumerate(rules):
            if not any(rule.matches(name) for name in known):
                patterns = ", ".join(rule.namespaces)
                yield _line("note", "rules", f"{section}[{index}] matches no namespace of this cluster ({patterns})")


def _line(state: State, name: str, said: str, todo: str = "") -> Line:
    return Line(area="policy", name=name, state=state, said=said, todo=todo)
