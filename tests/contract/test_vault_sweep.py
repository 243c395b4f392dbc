"""What the agent learns of a vault, through the real SDK pipeline over TLS, and what it never asks for."""

from __future__ import annotations

import threading
from email.utils import formatdate

import pytest
from support.servers import Vaults

from agent.clock import Clock
from agent.model import Trouble

TEN_DAYS = 864_000.0


def names(count: int) -> list[str]:
    return [f"secret-{i:04}" for i in range(count)]


def test_a_sweep_tells_the_state_of_each_secret_wanted(azure: Vaults) -> None:
    """Created, enabled, expiry and the owner's opt-out come from the list; an absent name is absent."""
    azure.fill("kv", names(3))
    azure.in_loop(
        lambda: azure.kv.vault("kv").set(
            "Special", "v", created=1_700_000_000, exp=1_800_000_000, nbf=1_600_000_000, enabled=False,
            tags={"secret-drift-agent": "ignore"},
        )
    )  # fmt: skip
    view = azure.client("kv").sweep(frozenset({"special", "secret-0001", "no-such-secret"}), azure.soon())
    assert view.trouble is None
    assert set(view.sources) == {"special", "secret-0001"}
    special = view.sources["special"]
    assert (special.created, special.expires, special.not_before) == (1_700_000_000, 1_800_000_000, 1_600_000_000)
    assert (special.enabled, special.ignored) == (False, True)
    assert not view.sources["secret-0001"].ignored
    assert view.asked_at <= view.answered_at


def test_many_secrets_of_a_vault_are_read_by_its_list(azure: Vaults) -> None:
    """A steady sweep of a whole vault costs one request per 25 secrets."""
    azure.fill("kv", names(110))
    client = azure.client("kv")
    for _ in range(2):
        azure.kv.audit.clear()
        assert len(client.sweep(frozenset(names(110)), azure.soon()).sources) == 110
    assert len(azure.kv.audit) == len(azure.operations("list")) == 5


def test_few_secrets_of_a_big_vault_are_asked_for_by_name(azure: Vaults) -> None:
    """Where two of a hundred secrets are wanted, two requests are sent, and their state is the same."""
    azure.fill("kv", names(100))
    wanted = frozenset({"secret-0007", "secret-0090"})
    client = azure.client("kv")
    first = client.sweep(wanted, azure.soon())
    azure.kv.audit.clear()
    second = client.sweep(wanted, azure.soon())
    assert first.sources == second.sources
    assert [e.operation for e in azure.kv.audit] == ["versions", "versions"]


def test_the_newest_version_decides_whatever_the_order(azure: Vaults) -> None:
    """Version lists come in no promised order; by list or by name the newest version's state is told."""
    azure.fill("kv", names(60))

    def versions() -> None:
        for i in range(30):
            azure.kv.vault("kv").set("many", f"v{i}", created=1_700_000_000 + i * 60, enabled=i != 29)

    azure.in_loop(versions)
    client = azure.client("kv")
    view = client.sweep(frozenset({"many"}), azure.soon())
    assert azure.operations("versions")
    assert (view.sources["many"].created, view.sources["many"].enabled) == (1_700_000_000 + 29 * 60, False)
    found = client.versions("many")
    assert isinstance(found, tuple)
    assert [v.created for v in found] == sorted((v.created for v in found), reverse=True)
    assert (len(found), len(found[0].id), found[0].enabled, found[1].enabled) == (30, 32, False, True)


def test_a_secret_with_too_many_versions_is_read_by_the_list(azure: Vaults) -> None:
    """A secret rotated hundreds of times costs 8 pages once, then the list tells its newest version."""
    azure.fill("kv", names(60))

    def versions() -> None:
        for i in range(220):
            azure.kv.vault("kv").set("many", "v", created=1_700_000_000 + i)

    azure.in_loop(versions)
    client = azure.client("kv")
    assert client.sweep(frozenset({"many"}), azure.soon()).sources["many"].created == 1_700_000_219
    azure.kv.audit.clear()
    assert client.sweep(frozenset({"many"}), azure.soon()).sources["many"].created == 1_700_000_219
    assert {e.operation for e in azure.kv.audit} == {"list"}
    told = client.versions("many")
    assert isinstance(told, Trouble)
    assert told.cause == "too-many-versions"


def test_versions_of_an_absent_secret_are_none(azure: Vaults) -> None:
    """No versions is an answer, not a trouble; a name that no secret can bear is not even asked for."""
    azure.fill("kv", ["a"])
    client = azure.client("kv")
    assert client.versions("absent") == ()
    azure.kv.audit.clear()
    assert client.versions("../keys/x") == ()
    assert azure.kv.audit == []


def test_nothing_wanted_asks_for_nothing(azure: Vaults) -> None:
    """A vault of which no secret is wanted is not asked."""
    azure.fill("kv", ["a"])
    assert azure.client("kv").sweep(frozenset(), azure.soon()).sources == {}
    assert azure.kv.audit == []


def test_no_value_is_ever_asked_for(azure: Vaults) -> None:
    """Whatever is read of a vault, in good times and bad, the vault sees list requests only."""
    azure.fill("kv", names(60))
    client = azure.client("kv")
    client.sweep(frozenset(names(60)), azure.soon())
    client.sweep(frozenset({"secret-0001"}), azure.soon())
    client.versions("secret-0002")
    azure.kv.fault("503", times=1)
    client.sweep(frozenset(names(60)), azure.soon())
    assert {e.operation for e in azure.kv.audit} <= {"challenge", "token", "discovery", "list", "versions"}


def test_requests_are_told_to_whom_it_concerns(azure: Vaults) -> None:
    """Each request is counted with vault, operation and status."""
    azure.fill("kv", ["a"])
    seen: list[tuple[str, str, int]] = []
    client = azure.client("kv", on_request=lambda host, operation, code, seconds: seen.append((host, operation, code)))
    client.sweep(frozenset({"a"}), azure.soon())
    azure.kv.fault("403", times=1)
    client.versions("a")
    host = "kv.vault.azure.net"
    assert seen == [(host, "list", 200), (host, "versions", 403)]


@pytest.mark.parametrize(
    "host", ["evil.example/", "kv.vault.azure.net:8443", "KV.vault.azure.net", "localhost", "a b.c"]
)
def test_what_is_no_host_is_refused(azure: Vaults, host: str) -> None:
    """A client is made for a plain host name or not at all."""
    with pytest.raises(ValueError, match="host"):
        azure.client(host if "." in host else f"{host}:1.x")


def test_a_version_is_told_when_its_second_is_over(azure: Vaults) -> None:
    """Another version of the same second would look the same: who acts on the answer acts after the last of them."""
    client = azure.client("kv")
    created = azure.in_loop(lambda: azure.kv.vault("kv").set("one", "a").created)
    view = client.sweep(frozenset({"one"}), azure.soon())
    assert view.sources["one"].created == created
    assert azure.world_clock.now() >= created + 1


class Impatient(Clock):
    """A clock that lets nobody wait."""

    def wait(self, event: threading.Event, seconds: float) -> bool:
        raise AssertionError(f"waits {seconds} s")


def test_nobody_waits_for_a_time_that_is_not_now(azure: Vaults) -> None:
    """A version that claims to be of next year, or of long ago, holds up no answer."""
    now = azure.world_clock.now()
    azure.in_loop(lambda: azure.kv.vault("kv").set("one", "a", created=now - 10))
    azure.in_loop(lambda: azure.kv.vault("kv").set("two", "a", created=now + 3e7))
    azure.clock = Impatient()
    azure.clock.observe_date(formatdate(now, usegmt=True), azure.clock.monotonic(), azure.clock.monotonic())
    view = azure.client("kv").sweep(frozenset({"one", "two"}), azure.soon())
    assert sorted(view.sources) == ["one", "two"]
