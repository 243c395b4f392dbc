"""The command's way into a running world: rotate, load, faults, status; and what it says when it cannot."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.scenario import Scenario

from agent.sandbox import builders as b
from agent.sandbox import cli
from agent.sandbox.admin import AdminServer, Refused, ask

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def s() -> Iterator[Scenario]:
    """A world that can be reached through its directory."""
    with Scenario() as scenario:
        server = scenario.call(AdminServer, scenario.sandbox, scenario.directory)
        scenario.run(server.__aenter__())
        yield scenario
        scenario.run(server.__aexit__())


@pytest.fixture
def command(s: Scenario, capsys: pytest.CaptureFixture[str]) -> Run:
    """``secret-drift-agent sandbox ...`` on that world: exit code, stdout, stderr."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = cli.main([*arguments, "--dir", str(s.directory)])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def shop(s: Scenario) -> None:
    """A chain from the vault to one container."""
    s.rotate("prod-kv", "api-key", "the-first-value")
    app = {"env": "API_KEY", "backend": "db", "failure": "denied"}
    s.apply(
        b.secret_store("prod-kv", "shop"),
        b.external_secret("app-secrets", "shop", {"API_KEY": "api-key"}),
        b.deployment("backend", "shop", env={"API_KEY": ("app-secrets", "API_KEY")}, app=app),
    )
    s.ready("shop", "backend")


def test_rotate_writes_a_new_version(s: Scenario, command: Run) -> None:
    """A value may be given; without one it is random. The answer names the version, never the value."""
    s.rotate("prod-kv", "api-key", "the-first-value")
    code, out, err = command("rotate", "prod-kv/api-key", "--value", "the-second-value")
    newest = s.vault("prod-kv").get("api-key")
    assert (code, out, err) == (0, f"prod-kv/api-key is now v2 (version {newest.version})\n", "")
    assert newest.value == "the-second-value"
    assert command("rotate", "prod-kv/api-key", "--disabled", "--age", "1d")[0] == 0
    assert [each.enabled for each in s.vault("prod-kv").versions("api-key")] == [False, True, True]


def test_status_tells_versions_and_never_values(s: Scenario, command: Run) -> None:
    """Each container is told with the vault version that it holds, as a table and as JSON; no value appears."""
    shop(s)
    s.rotate("prod-kv", "api-key", "the-second-value")
    code, table, _ = command("status")
    assert code == 0
    assert "app-secrets/API_KEY: prod-kv/api-key v1" in table
    code, text, _ = command("status", "-o", "json")
    told = json.loads(text)
    assert [c["holds"] for c in told["containers"]] == [{"app-secrets/API_KEY": "prod-kv/api-key v1"}]
    assert [v["label"] for v in told["vaults"]["prod-kv"]["api-key"]] == ["v1", "v2"]
    assert [(es["name"], es["ready"]) for es in told["externalSecrets"]] == [("app-secrets", "True")]
    for value in ("the-first-value", "the-second-value"):
        assert value not in table + text


def test_load_brings_a_file_into_the_world(s: Scenario, command: Run, tmp_path: Path) -> None:
    """The objects and secrets of a file are there; a wrong file is refused with its place."""
    (tmp_path / "world.yaml").write_text("vaults: {prod-kv: {a: x}}\nbuild: [{namespace: {name: shop}}]\n")
    assert command("load", str(tmp_path / "world.yaml")) == (0, "loaded 1 secret in 1 vault, 1 object\n", "")
    assert s.get("Namespace", "", "shop") is not None
    (tmp_path / "wrong.yaml").write_text("vaults: {prod-kv: {a: 5}}")
    code, out, err = command("load", str(tmp_path / "wrong.yaml"))
    assert (code, out) == (1, "")
    assert "vaults.prod-kv.a: expected a value as text" in err


def test_a_large_file_is_loaded(s: Scenario, command: Run, tmp_path: Path) -> None:
    """World files may be larger than a request usually is."""
    (tmp_path / "big.yaml").write_text("# " + "x" * (3 << 20) + "\nvaults: {prod-kv: {a: x}}\n")
    assert command("load", str(tmp_path / "big.yaml"))[0] == 0


def test_faults_are_caused_listed_and_cleared(s: Scenario, command: Run) -> None:
    """Faults of every part of the world begin by a command and end by ``clear``."""
    assert command("fault", "vault", "403:AccessDenied", "identity=eso")[1] == "vault 403:AccessDenied identity=eso\n"
    assert "api 429:3 verb=list remaining=2\n" in command("fault", "api", "429:3", "verb=list", "times=2")[1]
    assert (
        "api 403 user=agent resource=secrets\n" in command("fault", "api", "403", "user=agent", "resource=secrets")[1]
    )
    assert "api delay:2s" in command("fault", "api", "delay:2s")[1]
    command("fault", "api", "half-open", "user=nobody", "resource=pods/eviction")
    assert "eso slow:5s" in command("fault", "eso", "slow:5s")[1]
    assert "eso pause" in command("fault", "eso", "pause")[1]
    told = json.loads(command("status", "-o", "json")[1])
    assert len(told["faults"]) == 7
    assert "api half-open user=nobody resource=pods subresource=eviction" in told["faults"]
    s.call(s.sandbox.api.faults.clear)  # the slow API server would make the clearing wait
    assert command("fault", "clear") == (0, "no faults\n", "")
    assert json.loads(command("status", "-o", "json")[1])["faults"] == []


def test_a_node_goes_down_and_comes_back(s: Scenario, command: Run) -> None:
    """A lost node is not ready until it is back."""

    def ready() -> str:
        node = s.get("Node", "", "node-1")
        return "" if node is None else str(node["status"]["conditions"][0]["status"])

    s.wait(lambda: ready() == "True", why="the node")
    assert command("fault", "node", "down", "node=node-1")[0] == 0
    assert ready() == "Unknown"
    assert command("fault", "node", "up", "node=node-1")[0] == 0
    assert ready() == "True"


def test_a_rejected_value_takes_the_pods_down(s: Scenario, command: Run) -> None:
    """``backend NAME reject`` makes the newest value a wrong one: who runs with it is not ready."""
    shop(s)
    assert command("backend", "db", "reject", "prod-kv/api-key")[0] == 0
    s.wait(lambda: not s.is_ready("shop", "backend"), why="not ready")
    assert command("backend", "db", "accept", "prod-kv/api-key")[0] == 0
    s.ready("shop", "backend")


def test_restart_ends_a_run(s: Scenario, command: Run) -> None:
    """The container starts again in its pod, and reads its Secret anew."""
    shop(s)
    name = s.pods("shop", "backend")[0]["metadata"]["name"]
    assert command("restart", f"shop/{name}", "app")[0] == 0
    s.wait(lambda: [each.run for each in s.running("shop", "backend")] == [1], why="the second run")
    assert "no kubelet runs pod shop/nobody" in command("restart", "shop/nobody", "app")[2]


def test_advance_moves_the_clock(s: Scenario, command: Run) -> None:
    """The world is hours later at once."""
    before = s.sandbox.clock.now()
    assert command("advance", "3h")[0] == 0
    assert command("advance", "90")[0] == 0
    assert 10890 <= s.sandbox.clock.now() - before < 10890 + 600


def test_a_secret_is_disabled_deleted_and_recovered(s: Scenario, command: Run) -> None:
    """The states of a vault secret that ESO and the agent tell apart can all be reached."""
    s.rotate("prod-kv", "api-key", "x")
    assert command("secret", "disable", "prod-kv/api-key")[0] == 0
    assert not s.vault("prod-kv").get("api-key").enabled
    assert command("secret", "delete", "prod-kv/api-key")[0] == 0
    assert s.vault("prod-kv").names() == []
    assert command("secret", "recover", "prod-kv/api-key")[0] == 0
    assert s.vault("prod-kv").names() == ["api-key"]
    assert "was not found in this key vault" in command("secret", "delete", "prod-kv/other")[2]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("rotate", "nope/x"), "there is no vault nope; there are prod-kv"),
        (("fault", "api", "999"), "no such fault of the API server: '999'; possible are"),
        (("fault", "api", "429", "color=red"), "api: unknown selector color; known are user, verb"),
        (("fault", "api", "429", "times=0"), "times: expected a whole number from 1"),
        (("fault", "vault", "no"), "no such fault: 'no'; possible are"),
        (("fault", "eso", "sleep"), "expected pause, resume or slow:SPAN"),
        (("fault", "node", "down", "node=x"), "one of node-1, node-2, node-3"),
        (("fault", "moon", "x"), "no such target: 'moon'; expected one of api, vault, eso, node"),
        (("advance", "soon"), "expected a span of time"),
        (("load", "/nonexistent.yaml"), "/nonexistent.yaml: No such file or directory"),
    ],
)
def test_mistakes_are_answered_in_one_message(s: Scenario, command: Run, arguments: tuple[str, ...], says: str) -> None:
    """Exit code 1, what is wrong and what was expected on stderr, nothing on stdout."""
    s.vault("prod-kv")
    code, out, err = command(*arguments)
    assert (code, out) == (1, "")
    assert says in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    "arguments", [("rotate", "x"), ("fault", "api", "429", "verb"), ("frobnicate",), ("--nodes", "0")]
)
def test_wrong_arguments_are_refused_by_the_parser(command: Run, arguments: tuple[str, ...]) -> None:
    """What cannot be meant is refused before anything is asked of the world."""
    with pytest.raises(SystemExit) as end:
        command(*arguments)
    assert end.value.code == 2


def test_without_a_world_the_command_says_how_to_start_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No admin.json, or one of a world that is gone: the way to a new one is told."""
    assert cli.main(["status", "--dir", str(tmp_path)]) == 1
    assert "Start one: secret-drift-agent sandbox --dir" in capsys.readouterr().err
    with Scenario() as s:
        (tmp_path / "ca.pem").write_bytes(s.sandbox.authority.pem)
    (tmp_path / "admin.json").write_text('{"port": 1, "token": "x"}')
    assert cli.main(["status", "--dir", str(tmp_path)]) == 1
    assert "does not answer" in capsys.readouterr().err


def test_the_way_in_is_locked(s: Scenario) -> None:
    """admin.json is its owner's alone, and another token opens nothing."""
    file = s.directory / "admin.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.write_text(json.dumps({**json.loads(file.read_text()), "token": "another"}))
    with pytest.raises(Refused, match=r"token of admin\.json"):
        ask(s.directory, "status")


def test_one_directory_holds_one_world(s: Scenario, command: Run) -> None:
    """A second sandbox in a directory is refused while the first runs."""
    code, _, err = command()
    assert code == 1
    assert "already" in err
