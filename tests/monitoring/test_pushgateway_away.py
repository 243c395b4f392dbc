"""A Pushgateway that is gone, slow, or something else altogether: a run is what it was, and says once what to do."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from support.monitoring import pushgateway
from support.scenario import Scenario
from support.worlds import at_rest

from agent.clock import Clock
from agent.pushgateway import Address
from agent.pushing import WITHIN, Pushing
from agent.report.metrics import Metrics
from agent.sandbox import builders as b
from agent.sandbox.world import AGENT_NAMESPACE

SLACK = 20.0
"""Seconds for a busy machine."""
Answer = Callable[[socket.socket, threading.Event], None]


def _says(text: str) -> Answer:
    def answer(connection: socket.socket, _: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(text.encode())

    return answer


def _silent(_: socket.socket, ended: threading.Event) -> None:
    ended.wait()


def _trickles(connection: socket.socket, ended: threading.Event) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    while not ended.wait(0.1):
        connection.sendall(b"A: a\r\n")


def _never_ends(connection: socket.socket, ended: threading.Event) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
    while not ended.is_set():
        connection.sendall(b"[" * 65536)


def _status(code: int, body: str = "s3cr3t of the gateway", **headers: str) -> Answer:
    told = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return _says(f"HTTP/1.1 {code} Told\r\n{told}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}")


ANSWERS: dict[str, tuple[Answer, str]] = {
    "silent": (_silent, "it has not answered within|it does not answer in time"),
    "trickles": (_trickles, "it has not answered within"),
    "never ends": (_never_ends, "it tells more than|its answer does not end|it has not answered within"),
    "400": (_status(400), "it refuses what was pushed"),
    "401": (_status(401), "it does not let us in"),
    "404": (_status(404), "there is no such page"),
    "500": (_status(500), "it fails"),
    "html": (_status(200, "<html>s3cr3t</html>"), "something that no Pushgateway says"),
    "wrong json": (_status(200, '{"data": [{"labels": {"job": 7}}]}'), "something that no Pushgateway says"),
    "deep json": (_status(200, '{"data": [{"x": ' + "[" * 100_000), "something that no Pushgateway says"),
    "no http": (_says("s3cr3t\r\n\r\n"), "something that is no HTTP"),
    "closes": (_says(""), "not at all"),
}


@contextlib.contextmanager
def listening(answer: Answer) -> Iterator[tuple[str, list[bytes]]]:
    """The URL of something that answers like that; and a list with an entry for each connection."""
    ended, met = threading.Event(), list[bytes]()

    def one(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            met.append(b"")
            answer(connection, ended)

    def accept() -> None:
        while not ended.is_set():
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                threading.Thread(target=one, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", met
        finally:
            ended.set()
            thread.join()


def pushed(address: Address, deadline: float = 300.0) -> float:
    """How long it takes to tell such a gateway of a run, in seconds."""
    registry = CollectorRegistry()
    Metrics(registry)
    pushing = Pushing(address, Clock(), registry, deadline)
    began = time.monotonic()
    pushing.ended("complete", 0)
    return time.monotonic() - began


@pytest.mark.parametrize("what", ANSWERS)
def test_whatever_answers_is_told_in_one_line_within_seconds(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The line names the gateway and what to do, and repeats nothing of the answer."""
    answer, words = ANSWERS[what]
    with listening(answer) as (url, _):
        assert pushed(Address(url, "home")) < WITHIN + SLACK
    told = capsys.readouterr().out
    assert told.count("\n") == 1
    assert any(word in told for word in words.split("|")), told
    assert url in told
    assert "What to do: " in told
    assert "s3cr3t" not in told


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://127.0.0.1:9", "it cannot be reached"),
        ("http://gateway.invalid:9091", "its name is not known"),
        ("https://127.0.0.1:9", "it cannot be reached"),
    ],
)
def test_a_gateway_that_is_gone_is_told_in_one_line(url: str, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With what to look at: the Service, and the network policy."""
    assert pushed(Address(url, "home")) < WITHIN + SLACK
    told = capsys.readouterr().out
    assert told.count("\n") == 1
    assert words in told
    assert "NetworkPolicy" in told


def test_a_gateway_that_speaks_no_tls_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """An https address of a gateway without it."""
    with listening(_status(400)) as (url, _):
        pushed(Address(url.replace("http:", "https:"), "home"))
    assert "it speaks no TLS" in capsys.readouterr().out


def test_no_redirect_is_followed_and_no_token_goes_elsewhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who is led to is not asked at all."""
    token = tmp_path / "token"
    token.write_text("s3cr3t\n")
    with listening(_status(200)) as (elsewhere, met), listening(_status(302, Location=elsewhere)) as (url, _):
        pushed(Address(url, "home", token_file=token))
    assert met == []
    assert "no redirect is followed" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, "", "two words"])
def test_files_that_cannot_be_used_are_told(
    tmp_path: Path, content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A token file and a CA; the run is over and good, so it is a warning."""
    path = tmp_path / "file"
    if content is not None:
        path.write_text(content)
    with pushgateway() as gateway:
        pushed(Address(gateway.url, "home", token_file=path))
        pushed(Address(gateway.url.replace("http", "https"), "home", ca=path))
        assert gateway.groups() == []
    assert capsys.readouterr().out.count(str(path)) == 2


def test_counts_that_cannot_be_read_back_begin_anew_and_that_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """What is true now is told all the same."""
    bodies: list[bytes] = []

    def answer(connection: socket.socket, _: threading.Event) -> None:
        bodies.append(connection.recv(65536))
        code = 500 if bodies[-1].startswith(b"GET") else 200
        connection.sendall(b"HTTP/1.1 %d Told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % code)

    with listening(answer) as (url, _):
        pushed(Address(url, "home", "east"))
    path = b"/metrics/job/secret-drift-agent-once/agent_namespace/home/group/east"
    assert [body.split()[:2] for body in bodies] == [[b"GET", b"/api/v1/metrics"], [b"PUT", path]]
    told = capsys.readouterr().out
    assert "begins anew" in told
    assert told.count("\n") == 1


def test_a_run_with_a_gateway_that_never_answers_heals_as_ever_and_ends_in_time() -> None:
    """Its exit code is its own, its Lease is free before it waits for the gateway, and the wait is short."""
    with Scenario() as s, listening(_silent) as (url, met):
        at_rest(
            s,
            {"prod-kv/api-key": "value-one"},
            [b.secret_store("prod-kv", "shop"), b.external_secret("app-secrets", "shop", {"API_KEY": "api-key"})],
            [b.deployment("backend", "shop", 3, env={"API_KEY": ("app-secrets", "API_KEY")})],
            "shop",
        )
        s.policy()
        assert s.once().code == 0
        s.rotate("prod-kv", "api-key", "value-two")
        process = s.launch("once", "--deadline", "60s", SECRET_DRIFT_PUSH_GATEWAY=url)
        s.wait(lambda: met, 60, "it asks the gateway")
        asked = time.monotonic()
        lease = s.get("Lease", AGENT_NAMESPACE, "secret-drift-agent")
        assert lease
        assert lease["spec"]["holderIdentity"] == ""
        result = process.wait()
        assert time.monotonic() - asked < WITHIN + SLACK
        assert result.code == 0
        assert s.all_hold("shop", "backend", "app-secrets", "API_KEY", "value-two")
        assert [line["level"] for line in result.lines() if line.get("problem") == "pushgateway"] == ["warning"]


def test_the_deadline_holds_with_a_gateway_that_never_answers() -> None:
    """What the push may take is kept of the run's own time."""
    with Scenario() as s, listening(_silent) as (url, _):
        at_rest(
            s,
            {"prod-kv/api-key": "value-one"},
            [b.secret_store("prod-kv", "shop"), b.external_secret("app-secrets", "shop", {"API_KEY": "api-key"})],
            [b.deployment("backend", "shop", 3, env={"API_KEY": ("app-secrets", "API_KEY")})],
            "shop",
        )
        s.policy(recycle={"settle": "1h"})
        assert s.once("--deadline", "60s").code == 0
        s.rotate("prod-kv", "api-key", "value-two")
        began = time.monotonic()
        result = s.once("--deadline", "10s", "--push-gateway", url)
        assert result.code == 2
        assert time.monotonic() - began < 10 + SLACK
        assert pushed(Address(url, "home"), deadline=1.0) < 1 + SLACK


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--push-gateway", "gateway:9091"), "expected http://HOST"),
        (("--push-gateway", "ftp://gateway"), "expected http://HOST"),
        (("--push-gateway", "http://user:s3cr3t@gateway"), "without a password"),
        (("--push-gateway", "http://gateway:99999"), "expected http://HOST"),
        (("--push-gateway", "http://gateway/?x=s3cr3t"), "expected http://HOST"),
        (("--push-gateway", "http://"), "expected http://HOST"),
        (("--push-group", "../job/other"), "letters, digits"),
        (("--push-group", "x" * 64), "letters, digits"),
    ],
)
def test_an_address_that_is_none_is_a_wrong_argument(arguments: tuple[str, ...], words: str) -> None:
    """Before anything is done; nothing that may be a password is repeated."""
    with Scenario() as s:
        result = s.once(*arguments)
        assert result.code == 64
        assert words in result.err
        assert "s3cr3t" not in result.err
