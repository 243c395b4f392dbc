"""Requests to the API server when things go wrong, and how a connection is found."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest
import yaml
from support.servers import AGENT_TOKEN, Cluster, ca_file, kubeconfig

from agent.clock import Clock
from agent.cluster.connection import connect
from agent.cluster.errors import ApiProblem, ConnectionProblem, Unreachable, trouble_of
from agent.sandbox.apiserver.faults import FaultRule

NODES = "/api/v1/nodes"


def fault(api: Cluster, **rule: object) -> None:
    api.loop.call(api.server.faults.add, FaultRule(**rule))  # type: ignore[arg-type]


def test_the_servers_clock_is_learnt_from_its_answers(api: Cluster) -> None:
    """Time is the API server's, also after it leapt by hours."""
    conn = api.connect()
    assert abs(conn.server_now() - api.world_clock.now()) < 1.1
    api.loop.call(api.world_clock.advance, 7200.0)
    conn.request("GET", NODES)
    assert abs(conn.server_now() - api.world_clock.now()) < 1.1


def test_every_request_is_told_with_verb_resource_and_outcome(api: Cluster) -> None:
    """Metrics see each request once, named as RBAC names it."""
    seen: list[tuple[str, str, int]] = []
    conn = api.connect(on_request=lambda verb, resource, code, seconds, size: seen.append((verb, resource, code)))
    conn.request("GET", NODES)
    conn.request("GET", "/version")
    for method, path in [
        ("GET", "/api/v1/namespaces/default"),
        ("GET", "/apis/apps/v1/namespaces/default/deployments"),
        ("GET", "/api/v1/namespaces/default/pods/p/log"),
        ("DELETE", "/api/v1/namespaces/default/pods/p"),
    ]:
        with contextlib.suppress(ApiProblem):
            conn.request(method, path)
    assert seen == [
        ("list", "nodes", 200),
        ("get", "version", 200),
        ("get", "namespaces", 200),
        ("list", "deployments", 200),
        ("get", "pods/log", 404),
        ("delete", "pods", 404),
    ]


def test_a_dropped_connection_costs_a_read_nothing(api: Cluster) -> None:
    """A GET whose connection the server dropped is sent once more; a second drop is told."""
    conn = api.connect()
    fault(api, effect="drop", resource="nodes", remaining=1)
    assert conn.request("GET", NODES).status == 200
    fault(api, effect="drop", resource="nodes")
    with pytest.raises(Unreachable, match="closed the connection"):
        conn.request("GET", NODES)


def test_a_write_is_never_sent_twice(api: Cluster) -> None:
    """A write whose answer was lost may have been applied: that is told, and nothing is repeated."""
    fault(api, effect="drop-after", resource="configmaps")
    body = b'{"metadata":{"name":"x"}}'
    with pytest.raises(Unreachable) as caught:
        api.connect().request("POST", "/api/v1/namespaces/default/configmaps", body=body)
    assert caught.value.maybe_applied
    assert len(api.asked("configmaps", "create")) == 1


def test_a_throttled_read_waits_as_long_as_it_is_told(api: Cluster) -> None:
    """429 and 5xx on a GET are repeated within the caller's patience."""
    conn = api.connect()
    fault(api, effect="status", code=429, retry_after=1, resource="nodes", remaining=1)
    fault(api, effect="status", code=503, resource="nodes", remaining=1)
    began = api.clock.monotonic()
    assert conn.request("GET", NODES).status == 200
    assert api.clock.monotonic() - began >= 1.0


def test_patience_ends(api: Cluster) -> None:
    """A wait longer than the patience is not begun: the throttling is told at once, with its length."""
    fault(api, effect="status", code=429, retry_after=30, resource="nodes")
    with pytest.raises(ApiProblem) as caught:
        api.connect().request("GET", NODES, patience=5.0)
    assert (caught.value.code, caught.value.retry_after) == (429, 30.0)
    assert len(api.asked("nodes")) == 1


def test_closing_ends_the_wait_between_tries(api: Cluster) -> None:
    """A process that shuts down does not sit out a Retry-After."""
    conn = api.connect()
    conn.stopping.set()
    fault(api, effect="status", code=429, retry_after=30, resource="nodes")
    with pytest.raises(ApiProblem):
        conn.request("GET", NODES, patience=1000.0)


def test_a_token_that_is_not_accepted_is_told(api: Cluster) -> None:
    """401 is what it is, without the token."""
    with pytest.raises(ApiProblem) as caught:
        api.connect(token="wrong-token-of-mine").request("GET", NODES)
    assert caught.value.code == 401
    assert "wrong-token" not in str(caught.value)


@pytest.mark.parametrize("torn", ["\n", "\r\n", "\x00", "\u2026", "\x1b[2J"])
def test_a_token_that_no_header_can_carry_is_told_without_it(api: Cluster, torn: str) -> None:
    """The HTTP library would quote the header that it refuses; nothing is sent, and nothing is quoted."""
    conn = api.connect(token=f"wrong-token{torn}of-mine")
    for request in (lambda: conn.request("GET", NODES), lambda: conn.begin(NODES)):
        with pytest.raises(Unreachable, match="no HTTP header can carry") as caught:
            request()
        assert not caught.value.maybe_applied
        assert "wrong-token" not in str(caught.value)
    assert not api.asked("nodes")


def test_the_line_end_of_a_token_is_no_part_of_it(api: Cluster) -> None:
    """A token from a file that ends with a line end is taken, as kubectl takes it."""
    assert api.connect(token=f"{AGENT_TOKEN}\n").request("GET", NODES).status == 200


def test_a_server_that_is_not_there_is_told_with_its_address() -> None:
    """A refused connection names the address and says that nothing can have happened."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    conn = connect(kubeconfig(f"https://127.0.0.1:{port}"), None, clock=Clock(), user_agent="t")
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port} refuses") as caught:
        conn.request("POST", "/api/v1/namespaces", body=b"{}")
    assert not caught.value.maybe_applied


def test_a_certificate_from_elsewhere_is_not_accepted(api: Cluster, tmp_path: Path) -> None:
    """The server's certificate must come from the kubeconfig's authority; nothing is sent before."""
    path = Path(kubeconfig(api.server.url))
    config = yaml.safe_load(path.read_text())
    del config["clusters"][0]["cluster"]["certificate-authority"]
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(Unreachable, match=r"TLS to .* fails") as caught:
        connect(str(path), None, clock=Clock(), user_agent="t").request("GET", NODES)
    assert trouble_of(caught.value).cause == "certificate"
    assert not api.asked("nodes")


@pytest.mark.parametrize(
    ("content", "context", "words"),
    [
        (None, None, "kubeconfig"),
        ("a: [1, secret-token", None, "not valid YAML"),
        ("- 1", None, "kubeconfig"),
        ("", None, "kubeconfig"),
        ("apiVersion: v1\nkind: Config\nclusters: []\nusers: []\ncontexts: []\n", None, "kubeconfig"),
        ("GOOD", "no-such-context", "no-such-context"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_is_told_in_one_line(
    tmp_path: Path, content: str | None, context: str | None, words: str
) -> None:
    """What is wrong, in which file, and what to do: never a traceback, never a piece of the file."""
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(Path(kubeconfig("https://127.0.0.1:1")).read_text() if content == "GOOD" else content)
    with pytest.raises(ConnectionProblem) as caught:
        connect(str(path), context, clock=Clock(), user_agent="t")
    assert words in str(caught.value)
    assert str(path) in caught.value.where
    assert "--kubeconfig" in caught.value.next_step
    assert "secret-token" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_pod_uses_its_service_account(api: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a cluster, without any option, the mounted token is used, and used anew when it rotates."""
    from kubernetes.config import incluster_config

    token = tmp_path / "token"
    token.write_text("not-yet-valid")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", ca_file())
    monkeypatch.setattr(incluster_config.InClusterConfigLoader, "_read_token_file", _always_expired(incluster_config))
    host, port = api.server.url.removeprefix("https://").split(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    conn = connect(None, None, clock=Clock(), user_agent="t")
    with pytest.raises(ApiProblem):
        conn.request("GET", NODES)
    token.write_text(AGENT_TOKEN)
    assert conn.request("GET", NODES).status == 200
    token.unlink()
    with pytest.raises(Unreachable, match="credentials cannot be renewed"):
        conn.request("GET", NODES)


def test_the_token_file_of_a_kubeconfig_is_read_again_when_its_token_is_accepted_no_more(
    api: Cluster, tmp_path: Path
) -> None:
    """Whoever renews the file beside us need not restart the agent, and the request that was refused is not lost."""
    token, path = tmp_path / "token", Path(kubeconfig(api.server.url))
    config = yaml.safe_load(path.read_text())
    config["users"][0]["user"] = {"tokenFile": str(token)}
    path.write_text(yaml.safe_dump(config))
    token.write_text("expired-token")
    conn = connect(str(path), None, clock=Clock(), user_agent="t")
    with pytest.raises(ApiProblem, match="401"):
        conn.request("GET", NODES)
    token.write_text(AGENT_TOKEN)
    assert conn.request("GET", NODES).status == 200


def _always_expired(module: object) -> object:
    """The client reads the token file again after a minute; here after every request."""
    import datetime

    original = module.InClusterConfigLoader._read_token_file  # type: ignore[attr-defined]

    def read(self: object) -> None:
        original(self)
        self.token_expires_at = datetime.datetime.min  # type: ignore[attr-defined]  # noqa: DTZ901 - naive, as the client's own

    return read


def test_outside_a_cluster_without_a_kubeconfig_the_default_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without anything to go by, the file that was looked for is named."""
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nothing-here"))
    with pytest.raises(ConnectionProblem, match="nothing-here"):
        connect(None, None, clock=Clock(), user_agent="t")
