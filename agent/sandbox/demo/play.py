"""Plays the stories and tells them: what the agent says, as it says it, with the seconds since each story began."""

from __future__ import annotations

import signal
import sys
import tempfile
import textwrap
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from agent.sandbox.demo.stage import CHAIN, NAMESPACE, VAULT, Line, Stage
from agent.sandbox.demo.stories import STORIES, Story

WIDTH = 118
AFTERMATH = 1.6
"""Seconds that a story goes on after it is done, so that an action too many would be seen."""
_QUIET = ("no longer refused", "has come to the Secret", "the Secret's data changed", "over after", "found no longer")


@dataclass(frozen=True)
class Outcome:
    """How a story ended."""

    story: Story
    done: bool
    actions: tuple[str, ...]
    refused: tuple[str, ...]
    seconds: float

    @property
    def as_expected(self) -> bool:
        """Done, by exactly the actions expected, and refused as expected."""
        return (
            self.done
            and sorted(self.actions) == sorted(self.story.actions)
            and set(self.story.refused) <= set(self.refused) <= {*self.story.refused, *self.story.may_refuse}
        )


def main(*, keep: bool, directory: Path | None, out: TextIO = sys.stdout) -> int:
    """The demo; returns 0 if all was as expected. ``keep``: the world stays until Ctrl-C."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="secret-drift-demo-") as temporary:
        place = directory or Path(temporary)
        out.write(_heading())
        with Stage(place) as stage:
            out.write(f"   the world is up and the agent has had its first look ({time.monotonic() - began:.1f} s)\n")
            outcomes = [_play(stage, story, number, out) for number, story in enumerate(STORIES, 1)]
            out.write(_table(outcomes))
            good = all(outcome.as_expected for outcome in outcomes)
            verdict = "everything was as expected" if good else "NOT everything was as expected"
            out.write(f"\n{verdict}; {time.monotonic() - began:.0f} s in all\n")
            if keep:
                _keep(place, out)
    return 0 if good else 1


def _play(stage: Stage, story: Story, number: int, out: TextIO) -> Outcome:
    out.write(f"\n{number}. {story.title}\n")
    out.flush()
    before, first = len(stage.actions()), len(stage.lines)
    began = time.monotonic()
    stage.on_line = lambda line: _tell(line, began, out)
    story.begin(stage)
    heard = stage.lines

    def done() -> bool:
        stage.lines = heard[first:]
        try:
            return story.done(stage)
        finally:
            stage.lines = heard

    is_done = stage.wait(done, story.seconds)
    seconds = time.monotonic() - began
    stage.wait(lambda: False, AFTERMATH)
    is_done = is_done and story.still(stage)
    stage.on_line = lambda _: None
    refused = [str(line.fields["reason"]) for line in heard[first:] if "refused (" in line.text]
    outcome = Outcome(story, is_done, tuple(stage.actions()[before:]), tuple(dict.fromkeys(refused)), seconds)
    mark = "as expected" if outcome.as_expected else "NOT AS EXPECTED"
    out.write(f"   => {mark}: {_counted(outcome.actions)}, after {seconds:.1f} s\n")
    return outcome


def _tell(line: Line, began: float, out: TextIO) -> None:
    if line.fields.get("level") == "debug" or any(word in line.text for word in _QUIET):
        return
    text = line.text.removeprefix(f"{NAMESPACE}/").replace(f"{VAULT}/", "")
    head = f"   {line.at - began:5.2f} s  "
    out.write(textwrap.fill(text, WIDTH, initial_indent=head, subsequent_indent=" " * len(head)) + "\n")
    out.flush()


def _heading() -> str:
    return (
        "secret-drift-agent on the embedded world: a Kubernetes API server, a Key Vault, External Secrets Operator,\n"
        "controllers and kubelets, all on this machine; the agent is a process of its own and talks TLS to them.\n\n"
        f"   namespace {NAMESPACE}, vault {VAULT}\n"
    )


def _counted(actions: tuple[str, ...]) -> str:
    counts = Counter(actions)
    return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in counts.items()) or "nothing done"


def _table(outcomes: list[Outcome]) -> str:
    """Expected, done, refused, and how long each took."""
    columns = ((3, ""), (30, "STORY"), (38, "EXPECTED"), (21, "DONE"), (10, "REFUSED"), (9, "FRESH IN"), (4, ""))
    lines = ["\n" + " ".join(title.ljust(width) for width, title in columns).rstrip()]
    for number, outcome in enumerate(outcomes, 1):
        fresh = f"{outcome.seconds:.1f} s" if outcome.story.measured and outcome.done else "—"
        cells = (
            f"{number}.", outcome.story.title, outcome.story.expected, _counted(outcome.actions),
            ", ".join(outcome.refused) or "—", fresh, "ok" if outcome.as_expected else "NO",
        )  # fmt: skip
        wrapped = [textwrap.wrap(cell, width) or [""] for cell, (width, _) in zip(cells, columns, strict=True)]
        for row in range(max(len(cell) for cell in wrapped)):
            parts = (
                (cell[row] if row < len(cell) else "").ljust(width)
                for cell, (width, _) in zip(wrapped, columns, strict=True)
            )
            lines.append(" ".join(parts).rstrip())
    note = "FRESH IN: from the new vault version to the last container that runs it, by the kubelets' record"
    return "\n".join(lines) + f"\n{note}\n"


def _keep(place: Path, out: TextIO) -> None:
    chain = f"{NAMESPACE}/{CHAIN}"
    out.write(
        f"\nThe world and the agent go on until Ctrl-C. In another terminal:\n\n"
        f"   . {place}/env\n"
        f"   secret-drift-agent scan --policy {place}/policy.yaml\n"
        f"   secret-drift-agent explain {chain} --policy {place}/policy.yaml\n"
        f"   kubectl -n {NAMESPACE} describe externalsecret {CHAIN}\n"
    )
    out.flush()
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    try:
        signal.pause()
    except KeyboardInterrupt:
        out.write("\n")
