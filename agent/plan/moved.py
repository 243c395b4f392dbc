"""What a halt names: the vault secrets that have changed, and the version of each to go back to. Pure."""

from __future__ import annotations

from typing import NamedTuple

from agent.model import SourceKey
from agent.times import stamp


class Moved(NamedTuple):
    """One vault secret with a new version. Times are the vault's; ``back`` 0: no former version is known."""

    source: SourceKey
    created: float
    back: float = 0.0
    back_id: str = ""  # empty: the vault's lists do not name it

    def __str__(self) -> str:
        said = f"{self.source}: version of {stamp(self.created)} is new"
        number = f" ({self.back_id})" if self.back_id else ""
        return f"{said}, go back to that of {stamp(self.back)}{number}" if self.back else said

    @property
    def back_to(self) -> str:
        """The version to go back to in a word: its id, else when it was created; empty if none is known."""
        return self.back_id or (stamp(self.back) if self.back else "")
