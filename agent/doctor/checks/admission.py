"""ValidatingAdmissionPolicies: what bounds the agent's writes though RBAC would let them pass. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from agent.bounds import BOUND_BY, PREFIX, wanted
from agent.doctor.checks.needs import Need, Right
from agent.doctor.facts import Admission, Rights, Unseen
from agent.doctor.lines import Line, State


def held(needs: Iterable[Need], rights: Rights) -> set[Right]:
    """The rights to write that are needed and given, somewhere.

    What is given without need is told elsewhere; an admin who asks has all of it, and the policies do not bound him.
    """
    given = {each[:3] for each, answer in rights.answers.items() if answer is True}
    return given & BOUND_BY.keys() & {right for need in needs for right in need.rights}


def admission_line(found: Admission | Unseen, held: Collection[Right], *, heals: bool) -> Line:
    """Absent or unreadable they are a warning where the agent heals: nothing but itself bounds it then."""
    if isinstance(found, Unseen):
        said = f"whether ValidatingAdmissionPolicies bound our writes is not known: {found.why}"
        state: State = "warning" if heals else "not-checked"
        return _line(state, said, f"ask who may: kubectl get validatingadmissionpolicies | grep {PREFIX}")
    if not found.names and not heals:
        return _line("note", f"no ValidatingAdmissionPolicy {PREFIX}*: RBAC alone holds us to mode observe")
    if not found.names:
        said = f"no ValidatingAdmissionPolicy {PREFIX}*: RBAC alone bounds our writes, which is wide"
        return _line("warning", said, "install those of the components in k8s/ that grant the rights")
    if found.unbound:
        said = f"not in force, since no binding that denies names them: {', '.join(found.unbound)}"
        return _line("warning", said, "install the bindings beside them in k8s/")
    missing = [name for name in wanted(held) if name not in found.names]
    if missing:
        said = f"missing: {', '.join(missing)}: what they would bound, RBAC alone does, which is wide"
        return _line("warning" if heals else "note", said, "apply the components in k8s/ that grant the rights again")
    return _line("ok", f"in force: {', '.join(found.names)}")


def _line(state: State, said: str, todo: str = "") -> Line:
    return Line(area="rights", name="admission", state=state, said=said, todo=todo)
