"""``policy check FILE`` and ``policy schema``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, TextIO

from .loading import load
from .policy import Policy
from .problems import PolicyError
from .schema import schema

OK, WRONG = 0, 1
"""Exit codes: the policy may be used; it has mistakes."""


def add_parser(subparsers: argparse._SubParsersAction[Any]) -> argparse.ArgumentParser:
    """Add the command ``policy`` to a command line. What was chosen is carried out by ``run``."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "policy",
        help="check a policy file, or print its JSON Schema",
        description="Exit codes: 0 the policy may be used, 1 it has mistakes (all of them are listed on stderr).",
    )
    actions = parser.add_subparsers(dest="policy_action", metavar="ACTION", required=True)
    one = actions.add_parser(
        "check", help="list every mistake in a policy file as FILE:LINE:COLUMN: path: what is wrong"
    )
    one.add_argument("file", metavar="FILE", type=Path)
    actions.add_parser("schema", help="print the JSON Schema of policy files")
    return parser


def run(args: argparse.Namespace, out: TextIO | None = None, err: TextIO | None = None) -> int:
    """Carry out ``policy check`` or ``policy schema``; returns the exit code."""
    out, err = out or sys.stdout, err or sys.stderr
    if args.policy_action == "schema":
        out.write(json.dumps(schema(), indent=2, ensure_ascii=False) + "\n")
        return OK
    lines = check(args.file)
    if lines:
        err.write("".join(f"{line}\n" for line in lines))
        return WRONG
    out.write(f"{args.file}: good: {summary(load(args.file))}\n")
    return OK


def check(path: Path) -> list[str]:
    """Every mistake in this file, a line each; none: it may be used."""
    try:
        load(path)
    except PolicyError as error:
        return [str(problem) for problem in error.problems]
    return []


def summary(policy: Policy) -> str:
    """A policy in one line."""
    counts = {"vault": len(policy.vaults), "sync": len(policy.sync), "recycle": len(policy.recycle)}
    rules = ", ".join(f"{count} {name} rule{'' if count == 1 else 's'}" for name, count in counts.items())
    pause = f", paused: {' '.join(policy.pause.reason.split())}" if policy.pause else ""
    return f"mode {policy.mode}, {rules}{pause} (digest {policy.digest})"
