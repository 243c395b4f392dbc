"""The little protobuf that kubectl needs."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.sandbox.apiserver.accounts import token_request
from agent.sandbox.apiserver.protobuf import spec_of
from agent.sandbox.apiserver.status import StatusError

ASKED = b"k8s\x00" + bytes.fromhex("0a00 120c 0a00 1208 0a03 617069 20d804".replace(" ", ""))
"""As kubectl sends it for ``--audience api --duration 10m``: envelope, TokenRequest, spec."""


def test_a_token_request_is_read_as_its_json_would_be() -> None:
    """Audiences and seconds come through."""
    assert token_request(ASKED) == {"spec": {"audiences": ["api"], "expirationSeconds": 600}}


def test_one_that_asks_for_nothing_is_left_to_the_defaults() -> None:
    """An empty spec is none."""
    assert token_request(b"k8s\x00\x12\x02\x12\x00") == {"spec": {"audiences": [], "expirationSeconds": None}}


@given(st.binary(max_size=40))
def test_whatever_else_comes_is_a_bad_request(body: bytes) -> None:
    """Never an error of the server's own."""
    for sent in (body, b"k8s\x00" + body, ASKED[: len(body)]):
        with contextlib.suppress(StatusError):
            spec_of(sent)


def test_a_field_that_is_cut_short_is_refused() -> None:
    """The length that a field claims must be there."""
    with pytest.raises(StatusError):
        spec_of(b"k8s\x00\x12\x05\x12")
