"""Several ExternalSecrets that write one Secret."""

from __future__ import annotations

from msgspec.structs import replace
from support.engines import looking

from agent.memory import Memory
from agent.model import ExternalSecret, ObjectKey, SecretView
from agent.policy import Policy

FIRST = ExternalSecret(
    key=ObjectKey("shop", "first"), uid="first", resource_version="1", generation=1, created=1.0, stores=(), uses=(),
    target="app", expected_keys=("KEY",), synced_generation=1, ready=True, ready_since=1.0, refresh_time=1.0,
)  # fmt: skip
SECOND = replace(FIRST, key=ObjectKey("shop", "second"), uid="second", target="other")
SECRETS = [
    SecretView(
        key=ObjectKey("shop", name), uid=name, resource_version="1", created=1.0, touched=1.0, prints={"KEY": "a"},
        managed=True, hash_fits=True,
    )
    for name in ("app", "other")
]  # fmt: skip


def test_the_one_that_was_there_is_judged_anew_when_another_begins_to_write_its_secret_and_when_it_ends() -> None:
    """Nothing happens to the first by that: it would be in order for an hour, and then in conflict for another."""
    engine = looking(Memory(), Policy())
    world = engine.context.world
    for secret in SECRETS:
        world.put("secrets", secret)
    for number, (target, conflict) in enumerate((("other", False), ("app", True), ("other", False))):
        world.put("externalsecrets", FIRST)
        world.put("externalsecrets", replace(SECOND, target=target, resource_version=str(number)))
        engine.step()
        found = engine.chains.findings.get(FIRST.key, {})
        assert ("secret/conflict" in found) is conflict, (number, found)
