"""Runs the steps of a GitHub Actions workflow as its runner does: the same shell, files, conditions and variables.

Of the expressions it knows those that are used: a path in a context, a string, ``!`` and ``||``; another is an error.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

SHELL = ("bash", "--noprofile", "--norc", "-eo", "pipefail")
"""What ``shell: bash`` means to a runner."""
_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")


def read(path: Path) -> dict[str, Any]:
    """A workflow; its ``on`` is no truth value here, as it is none to GitHub."""
    document: dict[Any, Any] = yaml.safe_load(path.read_text())
    return {"on" if key is True else key: value for key, value in document.items()}


def steps_of(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The steps of its only job."""
    (job,) = document["jobs"].values()
    steps: list[dict[str, Any]] = job["steps"]
    return steps


@dataclass
class Run:
    """How a job went: the exit code of each step that ran, by its name, what it said, and the page it left."""

    codes: dict[str, int] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    summary: str = ""

    @property
    def failed(self) -> bool:
        """Whether GitHub shows it red."""
        return any(self.codes.values())

    def told(self) -> str:
        """All of it, for a message."""
        return "\n".join(f"{name} ended with {code}:\n{self.said[name]}" for name, code in self.codes.items())


class Runner:
    """Carries out the job of a workflow in a directory. Steps with ``uses``, and those named as its own, do nothing."""

    def __init__(self, path: Path, directory: Path, environment: Mapping[str, str], own: Collection[str] = ()) -> None:
        """``own``: names of steps that a runner carries out by means that are not here."""
        self._document, self._directory, self._own = read(path), directory, own
        (job,) = self._document["jobs"].values()
        assert self._document["defaults"] == {"run": {"shell": "bash"}}
        self._environment = {**environment, **job["env"]}
        assert set(own) <= {step.get("name") for step in job["steps"]}

    def run(self, inputs: Mapping[str, object], variables: Mapping[str, str]) -> Run:
        """From the first step to the last; no step takes longer than two minutes."""
        done, outputs = Run(), dict[str, dict[str, str]]()
        files = {
            name: self._directory / name for name in ("GITHUB_ENV", "GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "script")
        }
        temporary = self._directory / "temp"
        temporary.mkdir(exist_ok=True)
        for path in files.values():
            path.write_text("")
        contexts = {"inputs": inputs, "vars": variables, "steps": outputs}
        environment = {
            **self._environment, "RUNNER_TEMP": str(temporary), "HOME": str(self._directory), "GITHUB_ACTIONS": "true",
            **{name: str(path) for name, path in files.items() if name != "script"},
        }  # fmt: skip
        for step in steps_of(self._document):
            if "uses" in step or step["name"] in self._own or not _goes(step.get("if"), contexts, done.failed):
                continue
            assert not {"continue-on-error", "shell", "working-directory"} & set(step), "not played here"
            files["script"].write_text(step["run"])
            files["GITHUB_OUTPUT"].write_text("")
            given = {name: _filled(text, contexts) for name, text in step.get("env", {}).items()}
            ended = subprocess.run(
                [*SHELL, files["script"]], cwd=self._directory, env={**environment, **given}, timeout=120,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
            )  # fmt: skip
            done.codes[step["name"]], done.said[step["name"]] = ended.returncode, ended.stdout
            outputs[step.get("id", "")] = {"outputs": _pairs(files["GITHUB_OUTPUT"])}  # type: ignore[dict-item]
            environment |= _pairs(files["GITHUB_ENV"])
        done.summary = files["GITHUB_STEP_SUMMARY"].read_text()
        return done


def _pairs(path: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def _goes(condition: str | None, contexts: Mapping[str, Any], failed: bool) -> bool:
    if condition is None:
        return not failed
    (expression,) = _EXPRESSION.findall(condition)
    if expression.strip() == "always()":
        return True
    return not failed and bool(_value(expression, contexts))


def _filled(text: str, contexts: Mapping[str, Any]) -> str:
    return _EXPRESSION.sub(lambda found: str(_value(found[1], contexts)), text)


def _value(expression: str, contexts: Mapping[str, Any]) -> object:
    """The first of its alternatives that is true, the last if none is; what is not there is empty."""
    found: object = ""
    for part in expression.split("||"):
        found = _term(part.strip(), contexts)
        if found:
            break
    return found


def _term(term: str, contexts: Mapping[str, Any]) -> object:
    if term.startswith("!"):
        return not _term(term[1:].strip(), contexts)
    if match := re.fullmatch(r"'([^']*)'", term):
        return match[1]
    assert re.fullmatch(r"(inputs|vars|steps)(\.[\w-]+)+", term), f"no expression that is known here: {term}"
    found: Any = contexts
    for name in term.split("."):
        found = found.get(name, {}) if isinstance(found, Mapping) else {}
    return "" if isinstance(found, Mapping) else found
