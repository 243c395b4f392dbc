"""What was found, for ``checks`` to judge: plain data, nothing of how it came. Pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from agent.doctor.lines import Permission
from agent.model import SecretStore, Trouble


class Unseen(NamedTuple):
    """Why something was not looked at, for a reader."""

    why: str


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """The API server. ``version`` and ``user`` are empty where it does not tell."""

    url: str
    version: str
    user: str


class Offset(NamedTuple):
    """By how many seconds at least and at most a clock is ahead of the API server's."""

    least: float
    most: float


class PolicyFound(msgspec.Struct, frozen=True, kw_only=True):
    """The policy: its file, or where else it comes from, or all that is wrong in it.

    ``missing``: why the package's own is in force: none was given, and this is why none was found.
    """

    file: str = ""
    missing: str = ""
    problems: tuple[str, ...] = ()


class Controller(msgspec.Struct, frozen=True, kw_only=True):
    """A Deployment of ESO's controller; ``version`` is empty where its image does not tell."""

    place: str
    version: str
    ready: int
    wanted: int


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """One of ESO's validating webhooks."""

    name: str
    fails_closed: bool
    has_ca: bool
    service: str


class Eso(msgspec.Struct, frozen=True, kw_only=True):
    """External Secrets Operator, as far as it can be seen."""

    versions: tuple[str, ...] = ()
    """Of its API group; empty: not installed."""
    resources: frozenset[str] = frozenset()
    """Of v1."""
    push: bool = False
    controllers: tuple[Controller, ...] | Unseen = Unseen("")
    hooks: tuple[Hook, ...] | Unseen = Unseen("")
    trial: Trouble | Unseen | None = None
    """Of a patch of an ExternalSecret that changes nothing and is not kept; None: it passes."""


class Admission(msgspec.Struct, frozen=True, kw_only=True):
    """ValidatingAdmissionPolicies of ours: all, and those that no binding puts in force."""

    names: tuple[str, ...] = ()
    unbound: tuple[str, ...] = ()


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """The agent's own namespace."""

    namespace: str
    exists: bool | None
    """None: namespaces may not be read."""
    key: bool | Trouble = False
    """Whether the installation's key is there."""
    objects: int | Trouble = 0
    """Objects of the ledger."""
    trial: Trouble | Unseen | None = None
    """Of creating a ConfigMap and a Secret that are not kept; None: it passes."""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who we are to the vaults; never a token. Ids are empty where they are not told."""

    kind: str
    client: str = ""
    tenant: str = ""
    problem: str = ""
    """Why it cannot even be tried."""


class Vault(msgspec.Struct, frozen=True, kw_only=True):
    """One vault that was asked for one page of its list."""

    host: str
    stores: tuple[str, ...]
    trouble: Trouble | None
    by_role: bool = True
    """False: the vault's denial names an access policy."""
    offset: Offset | None = None

    @property
    def name(self) -> str:
        """``prod-kv``."""
        return self.host.partition(".")[0]


class Rights(msgspec.Struct, frozen=True):
    """The API server's answers, and what it would not answer."""

    answers: dict[Permission, bool | Trouble]

    def has(self, permission: Permission) -> bool:
        """False also where it is not known."""
        return self.answers.get(permission) is True


Stores = tuple[SecretStore, ...] | Trouble
"""All SecretStores and ClusterSecretStores in reach, or why they cannot be read."""
