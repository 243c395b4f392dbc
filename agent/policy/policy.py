"""The policy as code sees it."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field, field_validator

from .fields import Moment, Section, Span, mistake
from .numbers import Limits, Margins, Reading, Report, Timing
from .rules import RecycleRule, SyncRule, VaultRule

API_VERSION: Literal["secret-drift-agent/v1"] = "secret-drift-agent/v1"
KIND: Literal["HealPolicy"] = "HealPolicy"
MOST_RULES = 500
_KEPT_ANSWERS = 16_384


class Pause(Section):
    """Nothing is written while this is present, and `until` is not past."""

    reason: Annotated[str, Field(max_length=500)] = Field(description="Why, for whoever wonders that nothing happens.")
    until: Moment | None = Field(
        default=None, description="When the pause is over by itself; absent: when it is removed."
    )

    @field_validator("reason")
    @classmethod
    def _says_something(cls, reason: str) -> str:
        if not reason.strip():
            raise mistake("expected a reason; found empty text")
        return reason


class Policy(Section):
    """What the agent may do, where, when and how much of it. What matches no rule is observed."""

    api_version: Literal["secret-drift-agent/v1"] = Field(default=API_VERSION, description="Format of this file.")
    kind: Literal["HealPolicy"] = Field(default=KIND, description="Kind of this file.")
    mode: Literal["observe", "heal"] = Field(
        default="observe", description="observe: nothing is written but the agent's own ledger; heal: the rules hold."
    )
    interval: Span = Field(default=60.0, description="Time between two comparisons, and between two looks at a vault.")
    vaults: Annotated[tuple[VaultRule, ...], Field(max_length=MOST_RULES)] = Field(
        default=(), description="Vaults that may be looked at, and for which namespaces; first match wins."
    )
    sync: Annotated[tuple[SyncRule, ...], Field(max_length=MOST_RULES)] = Field(
        default=(), description="Links 1 and 2, vault to Secret; first match wins."
    )
    recycle: Annotated[tuple[RecycleRule, ...], Field(max_length=MOST_RULES)] = Field(
        default=(), description="Link 3, Secret to container; first match wins."
    )
    limits: Limits = Field(default=Limits(), description="Caps on what is under way at one time.")
    margins: Margins = Field(default=Margins(), description="How far clocks may be apart.")
    report: Report = Field(default=Report(), description="What is worth a line.")
    timing: Timing = Field(default=Timing(), description="All other times and factors.")
    reading: Reading = Field(default=Reading(), description="How the cluster and the vaults are read.")
    pause: Pause | None = Field(default=None, description="Stops every write while present.")

    def sync_rule(self, namespace: str) -> SyncRule | None:
        """The first rule of `sync` that holds for an ExternalSecret of this namespace."""
        return next((rule for rule in self.sync if rule.matches(namespace)), None)

    def recycle_rule(self, namespace: str) -> RecycleRule | None:
        """The first rule of `recycle` that holds for a workload of this namespace."""
        return next((rule for rule in self.recycle if rule.matches(namespace)), None)

    def vault_rule(self, vault_name: str, namespace: str) -> VaultRule | None:
        """The first rule of `vaults` that lets this vault be looked at for this namespace.

        ``vault_name`` is the vault's host or its name alone. Give the host wherever a request may follow: a name alone
        fits the same vault name in every cloud.
        """
        asked = (vault_name, namespace)
        if asked not in self._vault_rules:
            if len(self._vault_rules) >= _KEPT_ANSWERS:
                self._vault_rules.clear()
            self._vault_rules[asked] = self._vault_rule(vault_name.lower(), namespace)
        return self._vault_rules[asked]

    def _vault_rule(self, wanted: str, namespace: str) -> VaultRule | None:
        for rule in self.vaults:
            if wanted == (rule.host if "." in wanted else rule.name) and rule.matches(namespace):
                return rule
        return None

    @cached_property
    def _vault_rules(self) -> dict[tuple[str, str], VaultRule | None]:
        """Answers of ``vault_rule``, which is asked for each chain, by what was asked."""
        return {}

    def paused(self, now: float) -> Pause | None:
        """The pause in force at ``now`` (unix seconds), if any."""
        if self.pause is None or (self.pause.until is not None and now >= self.pause.until):
            return None
        return self.pause
