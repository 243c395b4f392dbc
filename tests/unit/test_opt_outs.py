"""The words by which owners opt out, as people write them."""

from __future__ import annotations

import json

import pytest

from agent.plan.optout import opted_out
from agent.vault.listing import Page

HOST = "prod-kv.vault.azure.net"


@pytest.mark.parametrize("word", ["ignore", "Ignore", "IGNORE", " ignore", "observe\n", "Observe"])
def test_an_owners_word_holds_however_it_is_written(word: str) -> None:
    """Who meant to be left alone is: a capital letter or a space that YAML kept is no consent."""
    assert opted_out([("namespace shop", ""), ("Deployment shop/app", word)])


@pytest.mark.parametrize("word", ["", "heal", "ignored", "off"])
def test_another_word_changes_nothing(word: str) -> None:
    """No tenant can ask for more than the policy allows, either."""
    assert opted_out([("Deployment shop/app", word)]) == ""


@pytest.mark.parametrize(
    ("tags", "ignored"),
    [
        ({"secret-drift-agent": "ignore"}, True),
        ({"secret-drift-agent": "Ignore "}, True),
        ({"secret-drift-agent": "observe"}, False),
        ({"secret-drift-agent": None}, False),
        ({"other": "ignore"}, False),
        ({}, False),
        (None, False),
    ],
)
def test_a_vault_secrets_tag_holds_however_it_is_written(tags: dict[str, str | None] | None, ignored: bool) -> None:
    """The portal keeps what was typed."""
    item = {"id": f"https://{HOST}/secrets/api-key", "attributes": {"created": 5}, "tags": tags}
    ((name, state),) = Page(json.dumps({"value": [item]}).encode(), HOST).states()
    assert (name, state.ignored) == ("api-key", ignored)
