"""What ESO's words of a failed sync are taken for."""

from __future__ import annotations

import pytest
from decode_builders import body, external_secret

from agent.cluster.decode import decode_object
from agent.diagnose import causes
from agent.diagnose.view import ChainView
from agent.model import ExternalSecret

_KEY = "error processing spec.data[0] (key: immutable-flag), err: "


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("could not update secret, target is immutable", "immutable-target"),
        (
            'unable to update secret app: Secret "app" is invalid: data: Forbidden: field is immutable when '
            "`immutable` is set",
            "immutable-target",
        ),
        (f"{_KEY}GET https://v.vault.azure.net/secrets/immutable-flag/\nRESPONSE 503: 503 Service", "server-error"),
        (f"{_KEY}Secret does not exist", "not-found"),
        (f"{_KEY}dial tcp: lookup v.vault.azure.net: no such host", "unreachable"),
        ('unable to create secret immutable-app: Secret "immutable-app" is invalid: data[x]: Invalid value', "unknown"),
    ],
)
def test_a_name_in_esos_words_is_no_cause(message: str, cause: str) -> None:
    """`immutable-flag` is a good name for a vault secret; what fails is said beside it."""
    es = decode_object("externalsecrets", body(external_secret()))
    assert isinstance(es, ExternalSecret)
    assert causes.classify([message], ChainView(es=es, stores={}, sources={})).cause == cause
