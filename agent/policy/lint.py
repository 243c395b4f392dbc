"""Mistakes between rules. Judged on the plain data, so that they are found beside every other mistake."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from . import globs
from .policy import API_VERSION, KIND
from .problems import Path
from .rules import VaultRule

REQUIRED = {"apiVersion": API_VERSION, "kind": KIND}
"""What every file must begin with."""


def findings(data: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    """Rules that can never be reached, and vaults with two budgets."""
    for section in ("sync", "recycle"):
        yield from _unreachable(section, _rules(data, section))
    by_vault: dict[tuple[str, str], list[tuple[int, dict[str, Any]]]] = {}
    for index, rule in _rules(data, "vaults"):
        by_vault.setdefault(_vault(rule), []).append((index, rule))
    for rules in by_vault.values():
        yield from _unreachable("vaults", rules)
        yield from _two_budgets(rules)


def _rules(data: dict[str, Any], section: str) -> list[tuple[int, dict[str, Any]]]:
    rules = data.get(section)
    return [(i, rule) for i, rule in enumerate(rules) if isinstance(rule, dict)] if isinstance(rules, tuple) else []


def _vault(rule: dict[str, Any]) -> tuple[str, str]:
    return str(rule.get("name")).lower(), str(rule.get("suffix", VaultRule.model_fields["suffix"].default))


def _patterns(rule: dict[str, Any]) -> list[str]:
    patterns = rule.get("namespaces")
    return [each for each in patterns if isinstance(each, str)] if isinstance(patterns, tuple) else []


def _unreachable(section: str, rules: list[tuple[int, dict[str, Any]]]) -> Iterator[tuple[Path, str]]:
    earlier: list[tuple[int, str]] = []
    for index, rule in rules:
        mine = _patterns(rule)
        if mine and earlier and all(globs.cover([pattern for _, pattern in earlier], each) for each in mine):
            winners = " and ".join(f"{section}[{each}]" for each in _winners(earlier, mine))
            yield (
                (section, index, "namespaces"),
                f"this rule is never reached: {winners}, above it, already matches all of its namespaces; "
                "expected the narrower rule first",
            )
        earlier += [(index, pattern) for pattern in mine]


def _winners(earlier: list[tuple[int, str]], mine: list[str]) -> list[int]:
    """The one earlier rule that covers all of ``mine``, or else all that share a part in it."""
    by_rule: dict[int, list[str]] = {}
    for index, pattern in earlier:
        by_rule.setdefault(index, []).append(pattern)
    for index, patterns in by_rule.items():
        if all(globs.cover(patterns, each) for each in mine):
            return [index]
    return list(by_rule)


def _two_budgets(rules: list[tuple[int, dict[str, Any]]]) -> Iterator[tuple[Path, str]]:
    usual = VaultRule.model_fields["requests_per_second"].default
    first, budget = rules[0][0], rules[0][1].get("requestsPerSecond", usual)
    for index, rule in rules[1:]:
        if (mine := rule.get("requestsPerSecond", usual)) != budget:
            path: Path = ("vaults", index, "requestsPerSecond")
            yield path, f"a vault has one budget: expected {budget}, as in vaults[{first}]; found {mine}"
