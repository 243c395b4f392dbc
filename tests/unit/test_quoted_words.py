"""Of the words of others only what has a known form is repeated: those may quote a value."""

from __future__ import annotations

import json

import pytest
from support.leaks import Marked, Searcher

from agent import denials
from agent.cluster.errors import Conflict, problem, trouble_of
from agent.cluster.words import WITHHELD, placement, reason_of, repeatable
from agent.vault import trouble

MARKED = "kx9fvqzw7lm3tr5y"
SEARCHER = Searcher([Marked("marked", MARKED.encode())])
APPLICATION = "11111111-2222-3333-4444-555555555555"
GET = "Microsoft.KeyVault/vaults/secrets/getSecret/action"


@pytest.mark.parametrize(
    "message",
    [
        'secrets is forbidden: User "system:serviceaccount:a:b" cannot list resource "secrets" in API group "" in the'
        ' namespace "shop"',
        'externalsecrets.external-secrets.io "app" is forbidden: User "bob@example.com" cannot patch resource'
        ' "externalsecrets" in API group "external-secrets.io" at the cluster scope',
        'pods "backend-1" not found',
        'configmaps "secret-drift-agent-ledger-heals-0" already exists',
        "The disruption budget backend-pdb needs 2 healthy pods and has 2 currently",
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support",
        "the server has received too many requests and has asked us to try again later",
        "too old resource version: 1 (2)",
        "Unauthorized",
        "pods \"app-1\" is forbidden: ValidatingAdmissionPolicy 'secret-drift-agent-heal-pods' with binding"
        " 'secret-drift-agent-heal-pods' denied request: namespace shop is off limits: it bears the label"
        " secret-drift-agent/off-limits",
    ],
)
def test_what_the_api_server_says_of_its_own_accord_is_repeated(message: str) -> None:
    """Who lacks which right, what is not there, which budget forbids it: an operator needs no other source for that."""
    assert repeatable(message) == message
    assert repeatable(f"{message}.") == message


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            f'admission webhook "check.example.com" denied the request: {MARKED}',
            'admission webhook "check.example.com"',
        ),
        (
            "secrets \"app\" is forbidden: ValidatingAdmissionPolicy 'theirs' with binding 'theirs' denied request:"
            f" {MARKED}",
            "ValidatingAdmissionPolicy 'theirs'",
        ),
        (f'Secret "app" is invalid: data[K]: Invalid value: "{MARKED}"', 'Secret "app" is invalid'),
        (f'Deployment.apps "app" is invalid: env[0]: Invalid value: "{MARKED}"', 'Deployment.apps "app" is invalid'),
        (f'secrets "app" is forbidden: exceeded quota: small, requested: {MARKED}', "exceeded quota: small"),
        (f'Internal error occurred: failed calling webhook "x.y": {MARKED}', 'failed calling webhook "x.y"'),
        (f'Operation cannot be fulfilled on pods "app": {MARKED}', 'Operation cannot be fulfilled on pods "app"'),
        (f"Internal error occurred: {MARKED}", ""),
        (f'{MARKED} pods "a" not found', ""),
        (f"\n {MARKED}", ""),
    ],
)
def test_what_it_quotes_is_not_repeated(message: str, said: str) -> None:
    """Of a message that goes on, or has no known form, the rest is withheld, and that is said."""
    told = repeatable(message)
    assert said in told
    assert WITHHELD in told
    assert not SEARCHER.found(told.encode())


def test_a_message_that_is_empty_stays_so() -> None:
    """Nothing is withheld where nothing was said."""
    assert repeatable("") == ""


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(
            {
                "kind": "Status", "reason": MARKED, "message": MARKED,
                "details": {"name": MARKED, "causes": [{"reason": MARKED, "message": MARKED, "field": MARKED}]},
            }
        ).encode(),
        f"<html>{MARKED}</html>".encode(),
        json.dumps({"message": MARKED}).encode(),
        json.dumps({"kind": "Status", "message": [MARKED]}).encode(),
        b'{"kind": "Status", "message": "' + MARKED.encode() + b'\xff"}',
        b'{"kind": "Status", "x": ' + b"[" * 100_000,
        b'{"kind": "Status", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"",
    ],
    ids=["status", "page", "object", "list", "no-utf8", "cut", "deep", "nothing"],
)  # fmt: skip
@pytest.mark.parametrize("code", [301, 400, 403, 409, 422, 429, 500, 503, 599])
def test_an_error_answer_becomes_a_problem_without_its_body(code: int, body: bytes) -> None:
    """Whatever stands in the body, the problem names the code and quotes nothing."""
    found = problem(code, body)
    assert found.code == code
    assert isinstance(found, Conflict) == (code == 409)
    said = " ".join(
        (str(found), found.reason, found.message, trouble_of(found).detail, *(c.message for c in found.causes))
    )
    assert not SEARCHER.found(said.encode())
    assert str(code) in str(found)


def test_a_reason_is_one_that_the_api_defines() -> None:
    """A webhook's own word is replaced by what HTTP says of the code."""
    assert reason_of(403, "Forbidden") == "Forbidden"
    assert reason_of(410, "Expired") == "Expired"
    assert reason_of(422, MARKED) == "Unprocessable Entity"
    assert reason_of(599, MARKED) == "an unknown code"


def test_why_a_pod_is_not_placed_is_told_in_the_schedulers_own_words() -> None:
    """Counts of nodes and known causes are told; what a plugin adds is not."""
    told = placement(
        "0/4 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {team: x}, 1 node(s) were"
        f" unschedulable, 1 {MARKED}. preemption: {MARKED}"
    )
    assert told.split(", ") == [
        "0/4 nodes are available", "1 Insufficient cpu", "2 node(s) had untolerated taint",
        "1 node(s) were unschedulable",
    ]  # fmt: skip
    assert not SEARCHER.found(placement(MARKED).encode())


@pytest.mark.parametrize(
    ("text", "application", "right"),
    [
        (f"Caller: appid={APPLICATION};oid=x", APPLICATION, ""),
        (f"Caller: appid={APPLICATION.upper().replace('1', 'A')};", APPLICATION.replace("1", "A"), ""),
        (f"Action: '{GET}'", "", GET),
        ("does not have secrets list permission on key vault", "", "secrets list"),
        (f"appid={MARKED};", "", ""),
        (f"appid={'deadbeef' * 4}abcd;", "", ""),
        (f"appid={APPLICATION}{MARKED};", "", ""),
        ("Action: 'Microsoft.KeyVault/vaults/secrets/correcthorse/action'", "", ""),
        ("Action: 'Microsoft.KeyVault/vaults/correcthorse'", "", ""),
        ("does not have secrets correcthorse permission", "", ""),
    ],
)
def test_of_a_denial_only_identities_and_rights_are_taken(text: str, application: str, right: str) -> None:
    """An application's id has the form of one, and a right is one that there is: no word of a forger fits."""
    assert (denials.application(text), denials.right(text)) == (application, right)


@pytest.mark.parametrize(
    ("status", "inner", "message", "said"),
    [
        (403, "ForbiddenByRbac", f"appid={APPLICATION}; {MARKED}", f"application {APPLICATION} lacks"),
        (403, "correcthorse", MARKED, "our identity lacks the right to list secrets on kv"),
        (403, "ForbiddenByFirewall", "Client address: 10.240.0.4\r\n", "(it sees us as 10.240.0.4)"),
        (403, "ForbiddenByFirewall", "Client address: deadbeefdeadbeef", "shut us out"),
        (401, "", "AKV10022: x", "(AKV10022)"),
        (401, "", "AKV1002273524108", "does not accept our token"),
        (500, "", MARKED, "answers 500"),
    ],
)
def test_of_a_vaults_error_only_known_forms_are_repeated(status: int, inner: str, message: str, said: str) -> None:
    """Codes, an address that is one, an identity: of everything else the vault may say nothing is repeated."""
    body = json.dumps({"error": {"code": "X", "message": message, "innererror": {"code": inner}}}).encode()
    detail = trouble.of_answer(status, body, "kv").detail
    assert said in detail
    for quoted in ("correcthorse", "deadbeef", "73524108"):
        assert quoted not in detail
    assert not SEARCHER.found(detail.encode())


def test_a_vaults_error_that_is_nested_without_end_is_an_error_like_others() -> None:
    """A body that no decoder can hold says no more than its status."""
    body = b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    assert trouble.of_answer(503, body, "kv").cause == "server-error"
