"""A world in which every value is marked: random in itself, of every shape, and known to the search for leaks."""

from __future__ import annotations

import base64
import json
import random
import string

from support.leaks import Marked
from support.said import Listener
from support.scenario import Scenario
from support.worlds import at_rest

from agent.sandbox import builders as b

NS = "shop"
_LETTERS = string.ascii_letters + string.digits


def _mark(name: str, length: int = 20) -> str:
    """Characters that stand for this name and occur nowhere else; the same in every run."""
    dice = random.Random(f"mark of {name}")
    return "".join(dice.choice(_LETTERS) for _ in range(length))


class Values:
    """The vault's secrets in one version, with the forms in which they come to the Secret."""

    def __init__(self, version: str) -> None:
        marks = {name: _mark(f"{name} {version}") for name in ("api", "user", "json", "frozen")}
        self.version = version
        self.api_key = (
            f"{marks['api']}%{_mark(f'a {version}')}'\"{_mark(f'b {version}')}ü→{_mark(f'c {version}')} &<\\>"
        )
        self.password = _mark(f"password {version}", 7) + "!"
        self.pem_lines = [_mark(f"line {line} {version}", 64) for line in range(3)]
        self.pem = "\n".join(["-----BEGIN CERTIFICATE-----", *self.pem_lines, "-----END CERTIFICATE-----", ""])
        self.blob = random.Random(f"blob {version}").randbytes(48)
        self.user, self.json_password, self.frozen = marks["user"], marks["json"], marks["frozen"]
        self.document = json.dumps({"username": self.user, "password": self.json_password})

    def sources(self) -> dict[str, str]:
        """Vault secret -> value."""
        return {
            "prod-kv/api-key": self.api_key,
            "prod-kv/db-password": self.password,
            "prod-kv/bundle": self.pem,
            "prod-kv/blob": base64.b64encode(self.blob).decode(),
            "prod-kv/login": self.document,
            "prod-kv/frozen": self.frozen,
        }

    def data(self) -> dict[str, dict[str, bytes]]:
        """Secret -> what it holds when it is in order."""
        login = {"username": self.user.encode(), "password": self.json_password.encode()}
        app = {
            "API_KEY": self.api_key, "PASSWORD": self.password, "BUNDLE": self.pem, "LOGIN": self.json_password,
        }  # fmt: skip
        return {
            "app-secrets": {**{key: text.encode() for key, text in app.items()}, "BLOB": self.blob},
            "login": login,
            "frozen": {"KEY": self.frozen.encode()},
        }

    def marked(self) -> list[Marked]:
        """Every value, and what of it is found nowhere else."""
        plain = {
            "api-key": self.api_key, "db-password": self.password, "username": self.user,
            "json password": self.json_password, "frozen": self.frozen,
        }  # fmt: skip
        return [
            *(Marked(f"{name} ({self.version})", text.encode()) for name, text in plain.items()),
            Marked(f"bundle ({self.version})", self.pem.encode(), tuple(line.encode() for line in self.pem_lines)),
            Marked(f"blob ({self.version})", self.blob),
            Marked(f"blob as text ({self.version})", base64.b64encode(self.blob)),
            Marked(
                f"login ({self.version})", self.document.encode(), (self.user.encode(), self.json_password.encode())
            ),
        ]


OLD, NEW, BAD = Values("old"), Values("new"), Values("bad")
ALL = (OLD, NEW, BAD)


HEX = f"{random.Random('mark in hex').getrandbits(144):036x}"
WORD = "".join(random.Random("mark in letters").choice(string.ascii_lowercase) for _ in range(12))
FIT = (Marked("hex", HEX.encode()), Marked("word", WORD.encode()))
"""Values that fit into the patterns by which pieces of foreign words are recognised."""
TOLD = (
    f"it was {BAD.api_key} with {BAD.password}: appid={HEX};oid= Action: 'Microsoft.KeyVault/vaults/{WORD}'"
    f" 'Microsoft.KeyVault/vaults/secrets/{WORD}/action' does not have secrets {WORD} permission on key vault"
    f" Client address: {HEX} AADSTS7000222 AKV10022 property {BAD.password} does not exist"
)
"""What whoever answers with an error may say."""


def leaks(listener: Listener, *, planted: set[str] | None = None, more: tuple[Marked, ...] = ()) -> set[str]:
    """Where any value of any version, a fingerprint or a token was said."""
    data = {f"{name} ({values.version})": held for values in ALL for name, held in values.data().items()}
    marked = [each for values in ALL for each in values.marked()]
    return listener.leaks([*marked, *more], data=data, planted=planted or set())


def world(s: Scenario) -> None:
    """Three chains: keys of all kinds for an environment and files, a whole JSON document, an immutable Secret."""
    at_rest(
        s,
        OLD.sources(),
        [
            b.secret_store("prod-kv", NS),
            b.external_secret(
                "app-secrets",
                NS,
                {
                    "API_KEY": "api-key",
                    "PASSWORD": "db-password",
                    "BUNDLE": "bundle",
                    "BLOB": {"key": "blob", "decodingStrategy": "Base64"},
                    "LOGIN": {"key": "login", "property": "password"},
                },
            ),
            b.external_secret("login", NS, dataFrom=[{"extract": {"key": "login"}}]),
            b.external_secret("frozen", NS, {"KEY": "frozen"}, target={"immutable": True}),
        ],
        [
            b.deployment(
                "backend", NS, 2, app={"env": "PASSWORD", "backend": "db", "onReject": "unready"},
                env={key: ("app-secrets", key) for key in ("API_KEY", "PASSWORD", "LOGIN")},
            ),
            b.deployment("reader", NS, 1, volumes={"v": "app-secrets"}, mounts={"/etc/secrets": "v"}),
            b.deployment("signer", NS, 2, env_from=["login"]),
            b.deployment("cold", NS, 1, env={"KEY": ("frozen", "KEY")}),
        ],
        NS,
    )  # fmt: skip


def rotate(s: Scenario, values: Values, *names: str) -> None:
    """New versions of these secrets (of all where none is named), well after what was before, at one moment."""

    def set_all() -> None:
        for source, value in values.sources().items():
            vault, _, name = source.partition("/")
            if not names or name in names:
                s.sandbox.vaults.vault(vault).set(name, value)

    s.advance(60)
    s.call(set_all)
