"""Log lines: words, fields, levels, and other people's lines."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from report_events import BACKEND, CHAIN, NOW, SOURCE, found, refusal

from agent import events as ev
from agent.model import Kind, Step, Trouble
from agent.report.log import Log, configure

Stderr = pytest.CaptureFixture[str]


@pytest.fixture
def stderr(capsys: Stderr) -> Iterator[Stderr]:
    """What is written to stderr; the process's logging is afterwards as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield capsys
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(stderr: Stderr) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stderr.readouterr().err.splitlines()]


def test_a_drift_is_a_sentence_with_the_fields_to_find_it_by(stderr: Stderr) -> None:
    """Object, link, kind, since, cycle and chain are fields; the evidence is in the sentence."""
    configure("json")
    Log()(found())
    (line,) = lines(stderr)
    del line["time"]
    assert line == {
        "level": "warning",
        "event": (
            "klinematrix-test/app-secrets: ESO has not fetched the newest version:"
            " klinematrix-test-kv/mongodb-connection-string-test has the version of 2026-11-23T21:56:40Z;"
            " ESO's last sync began 2026-11-23T21:12:00Z"
        ),
        "cycle": 7,
        "at": "2026-11-23T22:00:00Z",
        "namespace": "klinematrix-test",
        "externalsecret": "app-secrets",
        "chain": "klinematrix-test/app-secrets",
        "link": "vault",
        "kind": "stale",
        "since": "2026-11-23T21:56:40Z",
        "sources": ["klinematrix-test-kv/mongodb-connection-string-test"],
    }


def test_a_refusal_says_what_why_and_until_when(stderr: Stderr) -> None:
    """Step, reason and end are fields."""
    configure("json")
    Log()(ev.Refused(at=NOW, cycle=3, refusal=refusal()))
    (line,) = lines(stderr)
    assert line["event"] == (
        "klinematrix-test/backend: recycle refused (outside-window):"
        " outside the policy's windows; until 2026-11-23T23:00:00Z"
    )
    assert (line["step"], line["reason"], line["until"]) == ("recycle", "outside-window", "2026-11-23T23:00:00Z")
    assert (line["workload"], line["workload_kind"]) == ("backend", "Deployment")


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (found(), "warning"),
        (found(kind=Kind.SUSPECT), "info"),
        (ev.Refused(at=NOW, refusal=refusal()), "info"),
        (ev.Refused(at=NOW, refusal=refusal(until=None)), "warning"),
        (ev.PolicyChanged(at=NOW, valid=True, digest="d"), "info"),
        (ev.PolicyChanged(at=NOW, valid=False, digest="d", problems=("p", "q")), "error"),
        (ev.StepDone(at=NOW, step=Step.RECYCLE, result="failed", detail="409"), "warning"),
        (ev.Halted(at=NOW, workload=BACKEND, reason="canary-failed", detail="d", remedy="r"), "error"),
        (ev.Troubled(at=NOW, subject="vault prod-kv", trouble=Trouble(cause="throttled", detail="429")), "warning"),
    ],
)
def test_each_event_is_as_loud_as_it_deserves(stderr: Stderr, event: ev.Event, level: str) -> None:
    """What needs a person is a warning or an error; what ends by itself is not."""
    configure("json")
    Log()(event)
    assert [line["level"] for line in lines(stderr)] == [level]


def test_a_halt_names_the_pod_the_reason_and_what_to_do(stderr: Stderr) -> None:
    """The page and the log say the same."""
    configure("json")
    Log()(
        ev.Halted(
            at=NOW, workload=BACKEND, reason="canary-failed", detail="it crash-loops", pod="backend-7",
            remedy="set the former version again",
        )
    )  # fmt: skip
    assert lines(stderr)[0]["event"] == (
        "klinematrix-test/backend: recycling halted, canary-failed (pod backend-7): it crash-loops."
        " What to do: set the former version again"
    )


def test_a_pod_that_the_detail_names_is_not_named_twice(stderr: Stderr) -> None:
    """One line at three in the morning says each thing once."""
    configure("json")
    Log()(
        ev.Halted(
            at=NOW, workload=BACKEND, reason="canary-failed", detail="pod backend-7: it crash-loops", pod="backend-7",
            remedy="",
        )
    )  # fmt: skip
    assert lines(stderr)[0]["event"].count("backend-7") == 1


def test_below_the_level_nothing_is_written(stderr: Stderr) -> None:
    """A steady world is silent at info, and tells of each comparison at debug."""
    quiet = ev.CycleEnded(at=NOW, cycle=4, seconds=0.23, chains=2, links={}, stale_containers={}, findings=1)
    configure("json", "info")
    Log()(quiet)
    assert lines(stderr) == []
    configure("json", "debug")
    Log()(quiet)
    assert lines(stderr)[0]["event"] == "compared 2 chains in 0.2 s: 1 finding, 0 requests"


def test_an_unknown_level_is_refused_with_those_there_are(stderr: Stderr) -> None:
    """The message helps."""
    with pytest.raises(ValueError, match="expected one of debug, info, warning, error"):
        configure("json", "loud")


def test_lines_of_other_libraries_come_in_the_same_form(stderr: Stderr) -> None:
    """From warning up, without what they put into their text; what the SDK says of each request stays out."""
    configure("json", "debug")
    logging.getLogger("azure.core").info("Request URL: 'https://prod-kv.vault.azure.net/'")
    logging.getLogger("urllib3").warning("headers of %s\t: %r after %d s", "host", "hunter2hunter2", 3)
    logging.getLogger("x").error("%d", "not a number")
    logging.getLogger("y").error("%(a)s of %(b)d", {"a": "hunter2hunter2", "b": 7})
    logging.getLogger("asyncio").error("never retrieved\nfuture: <Task exception=KeyError('hunter2hunter2')>")
    first, second, third, fourth = lines(stderr)
    assert (first["logger"], first["level"]) == ("urllib3", "warning")
    assert [line["event"] for line in (first, second, third, fourth)] == [
        "headers of …\\t: '…' after 3 s", "%d", "… of 7", "never retrieved",
    ]  # fmt: skip


@pytest.mark.parametrize("form", ["json", "console"])
def test_an_exception_is_told_by_its_way_through_the_code(stderr: Stderr, form: Any) -> None:
    """A traceback shows code, never what a variable held or what the exception quotes; nothing can forge lines."""
    configure(form)
    precious = "hunter2" + "hunter3"
    try:
        raise ValueError(f"bad{chr(27)}[2J of {precious}")
    except ValueError:
        structlog.get_logger().exception("failed\nforged: line")
    logging.getLogger("x").error("failed, too", exc_info=(ValueError, ValueError(precious), None))
    text = stderr.readouterr().err
    assert "hunter2hunter3" not in text
    assert "[2J of 14" not in text
    assert text.count("ValueError") >= 2
    assert "test_an_exception_is_told_by_its_way_through_the_code" in text
    assert not any(line.startswith("forged") for line in text.splitlines())


def test_a_stderr_that_is_gone_stops_nothing(monkeypatch: pytest.MonkeyPatch, stderr: Stderr) -> None:
    """The line is lost, the agent goes on."""
    configure("json")
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr("sys.stderr", closed)
    Log()(found())
    monkeypatch.setattr("sys.stderr", None)
    Log()(found())


def test_the_story_of_a_rotation_reads_as_one(stderr: Stderr) -> None:
    """Each step says what was done and how long it took."""
    configure("json")
    log = Log()
    for event in (
        ev.SyncRequested(at=NOW, chain=CHAIN, reason="stale", evidence="a new version", attempt=1),
        ev.Synced(at=NOW, chain=CHAIN, seconds=1.24, moved=("MONGODB",)),
        ev.Evicted(
            at=NOW, workload=BACKEND, pod=CHAIN._replace(name="backend-1"), stage="canary", evidence="it is old"
        ),
        ev.StagePassed(at=NOW, workload=BACKEND, stage="canary", pods=1, seconds=12.0),
        ev.Healed(at=NOW, workload=BACKEND, pods=3, seconds=65.0),
        ev.Propagated(at=NOW, source=SOURCE, chain=CHAIN, stage="total", seconds=70.5, workload=BACKEND),
    ):
        log(event)
    assert [line["event"].split(": ", 1)[1] for line in lines(stderr)] == [
        "asked ESO to sync now (force-sync, attempt 1, stale): a new version",
        "ESO acknowledged the force-sync after 1.2 s; changed: MONGODB",
        "evicted pod backend-1 (canary): it is old",
        "canary passed: 1 pod ready on the new value after 12 s",
        "3 pods recycled, the last is ready 1 min 5 s after the drift was seen",
        "the newest version of klinematrix-test-kv/mongodb-connection-string-test has come to every container of"
        " Deployment backend that may be recycled 1 min 10 s after it was created",
    ]
