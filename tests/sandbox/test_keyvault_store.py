"""The vault's store, as worlds are set up with it."""

from __future__ import annotations

import pytest

from agent.sandbox.clock import WorldClock
from agent.sandbox.keyvault import Vault, VaultError


@pytest.fixture
def vault() -> Vault:
    return Vault("prod-kv.vault.azure.net", WorldClock(), tenant="t")


def test_a_history_may_be_written_in_any_order(vault: Vault) -> None:
    """The newest version is the one created last, whatever the order of the calls."""
    newest = vault.set("k", "b", created=2000.9)
    vault.set("k", "a", created=1000)
    assert vault.get("k") == newest
    assert newest.created == 2000
    assert [version.value for version in vault.versions("k")] == ["a", "b"]


def test_within_one_second_the_later_call_is_newer(vault: Vault) -> None:
    """Two rotations in the same second leave the second one in force."""
    vault.set("k", "first", created=1000.1)
    vault.set("k", "second", created=1000.1)
    assert vault.get("k").value == "second"


def test_an_update_leaves_what_it_does_not_name(vault: Vault) -> None:
    """Attributes are changed one by one, None clears a date, and nonsense is refused."""
    vault.set("k", "v", exp=5000.7, tags={"a": "b"}, content_type="text/plain")
    assert vault.update("k", enabled=False).exp == 5000
    cleared = vault.update("k", exp=None)
    assert (cleared.enabled, cleared.exp, cleared.tags, cleared.content_type) == (False, None, {"a": "b"}, "text/plain")
    with pytest.raises(TypeError, match="created"):
        vault.update("k", created=1)
    with pytest.raises(VaultError, match="k/none was not found"):
        vault.update("k", "none", enabled=True)


def test_a_chosen_version_id_is_kept_and_not_given_twice(vault: Vault) -> None:
    """A world may choose its version ids."""
    assert vault.set("k", "v", version="a" * 32).version == "a" * 32
    with pytest.raises(ValueError, match="leave version out"):
        vault.set("k", "w", version="a" * 32)
    assert vault.get("K", "A" * 32).value == "v"


def test_a_name_that_azure_forbids_is_refused(vault: Vault) -> None:
    """A world with `mongodb_uri` in it would be one that nobody can read."""
    with pytest.raises(ValueError, match="only 0-9, a-z, A-Z and -"):
        vault.set("mongodb_uri", "v")


def test_a_value_never_shows_in_a_repr(vault: Vault) -> None:
    """What is printed of a version is all but its value."""
    assert "hunter2" not in repr(vault.set("k", "hunter2"))
    assert "hunter2" not in repr(vault.live.find("k"))


def test_delete_recover_and_purge_follow_the_service(vault: Vault) -> None:
    """A soft-deleted name is taken; only what is deleted can be recovered or purged."""
    vault.set("k", "v")
    vault.delete("K")
    assert vault.names() == []
    with pytest.raises(VaultError) as conflict:
        vault.set("k", "w")
    assert (conflict.value.status, conflict.value.inner) == (409, "ObjectIsDeletedButRecoverable")
    assert vault.recover("k").value == "v"
    for impossible in (vault.recover, vault.purge):
        with pytest.raises(VaultError, match="Deleted Secret not found"):
            impossible("k")
    vault.delete("k")
    vault.purge("k")
    with pytest.raises(VaultError) as gone:
        vault.delete("k")
    assert gone.value.status == 404
