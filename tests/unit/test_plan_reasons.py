"""The reasons for refusals are known beforehand."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from agent.model import Step
from agent.plan.reasons import REASONS

PLAN = Path(__file__).parents[2] / "agent" / "plan"
ENGINE = PLAN.parent / "engine"
SYNC, RECYCLE = (
    (PLAN / "sync.py",),
    (PLAN / "gates.py", PLAN / "recycle.py", ENGINE / "workloads.py", ENGINE / "lastlook.py"),
)
NAMED_ELSEWHERE = {
    "store": "the cause of what is unknown", "vault-not-listed": "the cause of what is unknown",
}  # fmt: skip


@pytest.mark.parametrize(
    ("files", "steps"), [(SYNC, (Step.FORCE_SYNC, Step.RECREATE)), (RECYCLE, (Step.RECYCLE,))], ids=["sync", "recycle"]
)
def test_every_reason_that_a_gate_gives_is_counted_from_zero(files: tuple[Path, ...], steps: tuple[Step, ...]) -> None:
    """Whoever adds a gate names its reason in the list, or its first refusal is no increase to Prometheus."""
    given = {reason for file in files for reason in _given(ast.parse(file.read_text()))}
    listed = {reason for step in steps for reason in REASONS[step]}
    assert listed - set(NAMED_ELSEWHERE) == given


def test_explain_gives_the_same_reasons() -> None:
    """What is read in a terminal is what the page and the metric said."""
    given = _given(ast.parse((PLAN.parent / "report" / "explain_steps.py").read_text()))
    assert given == {"pod-disruption-budget"}
    assert given <= set(REASONS[Step.RECYCLE])


def test_the_runbooks_say_of_every_reason_what_ends_it() -> None:
    """Whoever is paged for a refusal finds its reason on the page; those of windows have a page of their own."""
    books = PLAN.parents[1] / "k8s" / "monitoring" / "runbooks"
    told = (books / "SecretDriftHealRefused.md").read_text()
    reasons = {reason for each in REASONS.values() for reason in each} - {"outside-window", "sync-window"}
    assert {reason for reason in reasons if f"`{reason}`" not in told} == set()


def _given(module: ast.Module) -> set[str]:
    """The texts that are put where a reason belongs; those of a table of checks, as (wrong, reason, detail)."""
    found = set()
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("_refusal", "._blocked", "Later", "Refusal")
        ):
            named = {keyword.arg: keyword.value for keyword in node.keywords}
            texts = [named["reason"]] if "reason" in named else node.args
            found |= {_text(text) for text in texts[:3]}
        elif isinstance(node, ast.Tuple) and len(node.elts) == 3 and not isinstance(node.elts[0], ast.Constant):
            found.add(_text(node.elts[1]))
    return {text for text in found if re.fullmatch(r"[a-z]+(-[a-z]+)*", text)}


def _text(node: ast.expr) -> str:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
