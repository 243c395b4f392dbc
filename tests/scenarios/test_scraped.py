"""Whatever is asked of the agent's port, the heal goes on: scrapes without end, strangers, TLS that rotates."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import requests
import trustme
from support.processes import AgentProcess
from support.scenario import Scenario
from support.told import healed
from support.worlds import at_rest

from agent.sandbox import builders as b

NS, APP = "shop", "backend"
STRANGE = (
    b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET //../" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100_000 + b"\r\n\r\n",
    b"DELETE /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01",
)


class Crowd:
    """A scrape each 0.1 s, strangers, and connections that are held open, until the block ends."""

    def __init__(self, port: int) -> None:
        self._port, self._ended = port, threading.Event()
        self.answers: list[int] = []
        self._threads = [threading.Thread(target=work) for work in (self._scrape, self._pester, self._hold)]

    def __enter__(self) -> Crowd:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _scrape(self) -> None:
        with requests.Session() as session:
            while not self._ended.wait(0.1):
                answer = session.get(f"http://127.0.0.1:{self._port}/metrics", timeout=60)
                self.answers.append(answer.status_code)

    def _pester(self) -> None:
        while not self._ended.wait(0.02):
            for data in STRANGE:
                with contextlib.suppress(OSError), self._open() as stranger:
                    stranger.sendall(data)
                    stranger.recv(100)

    def _hold(self) -> None:
        with contextlib.ExitStack() as stack:
            for _ in range(400):
                if self._ended.is_set():
                    return
                with contextlib.suppress(OSError):
                    stack.enter_context(self._open()).sendall(b"GET /metrics HTTP/1.1\r\n")
            self._ended.wait()

    def _open(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port), timeout=1)


@contextlib.contextmanager
def rotated(*arguments: str) -> Iterator[tuple[Scenario, AgentProcess, set[str]]]:
    """A workload at rest, an agent that follows it, and the names of its pods."""
    with Scenario() as s:
        at_rest(
            s,
            {"prod-kv/api-key": "value-one"},
            [b.secret_store("prod-kv", NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})],
            [b.deployment(APP, NS, 3, env={"API_KEY": ("app-secrets", "API_KEY")})],
            NS,
        )
        s.policy()
        agent = s.start_agent(*arguments)
        s.cycles(agent, 1)
        yield s, agent, {pod["metadata"]["name"] for pod in s.pods(NS, APP)}


def test_a_heal_is_the_same_while_a_crowd_is_at_the_port() -> None:
    """Ten scrapes a second, odd requests and hundreds of connections: each scrape is answered, each pod goes once."""
    with rotated() as (s, agent, old), Crowd(s.port(agent)) as crowd:
        s.rotate("prod-kv", "api-key", "value-two")
        s.wait(lambda: healed(agent, APP), 60, "backend healed")
        s.cycles(agent)
        assert s.all_hold(NS, APP, "app-secrets", "API_KEY", "value-two")
        force_sync, *evictions = s.writes()
        assert force_sync == ("patch", "externalsecrets", "", f"{NS}/app-secrets")
        assert len(evictions) == 3
        assert set(s.evicted(NS)) == old
        assert len(crowd.answers) > 5
        assert set(crowd.answers) == {200}
        assert "Traceback" not in agent.err
        assert agent.lines(level="error") == []


def test_metrics_over_tls_with_a_token_and_both_renewed_under_a_running_agent(tmp_path: Path) -> None:
    """The command takes the files and reads them again; a bad one changes nothing and is told once."""
    ca, (certificate, key, token) = trustme.CA(), (tmp_path / name for name in ("tls.crt", "tls.key", "token"))
    ca.cert_pem.write_to_path(str(tmp_path / "ca.crt"))

    def issue() -> None:
        issued = ca.issue_cert("127.0.0.1")
        issued.private_key_pem.write_to_path(str(key))
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))

    issue()
    token.write_text("first\n")
    files = ("--tls-cert", str(certificate), "--tls-key", str(key), "--metrics-token-file", str(token))
    with rotated(*files) as (s, agent, _):

        def scrape(path: str, token: str = "") -> int:
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            url = f"https://127.0.0.1:{s.port(agent)}{path}"
            return requests.get(url, headers=headers, verify=str(tmp_path / "ca.crt"), timeout=60).status_code

        assert [scrape("/readyz"), scrape("/metrics"), scrape("/metrics", "first")] == [200, 401, 200]
        issue()
        token.write_text("second\n")
        assert [scrape("/healthz"), scrape("/metrics", "first"), scrape("/metrics", "second")] == [200, 401, 200]
        certificate.write_text("no certificate")
        token.write_text("")
        assert [scrape("/metrics", "second") for _ in range(3)] == [200, 200, 200]
        assert len(agent.lines(level="warning", problem="bad-file")) == 2
        assert agent.stop().code == 0


def test_files_that_cannot_be_used_at_the_start_are_one_clear_error(tmp_path: Path) -> None:
    """`run` says which and why, and ends with 1; half a pair is a wrong argument."""
    bad = tmp_path / "bad.pem"
    bad.write_text("s3cr3t")
    with Scenario() as s:
        pair = s.launch("run", "--port", "0", "--tls-cert", str(bad), "--tls-key", str(bad)).wait()
        assert pair.code == 1
        assert f"{bad} and {bad}: they are no PEM certificate" in pair.err
        assert len(pair.err.splitlines()) == 1
        token = s.launch("run", "--port", "0", "--metrics-token-file", str(tmp_path / "none")).wait()
        assert (token.code, "No such file" in token.err) == (1, True)
        half = s.launch("run", "--port", "0", "--tls-cert", str(bad)).wait()
        assert (half.code, "give both or neither" in half.err) == (64, True)
        assert "s3cr3t" not in pair.err + token.err + half.err
