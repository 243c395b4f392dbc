"""A world's census for a person's eyes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def status_text(census: dict[str, Any]) -> str:
    """The sections of a census as tables."""
    parts = [f"It is {census['time']} in the world."]
    vaults = [
        (f"{vault}/{name}", _versions(versions), versions[-1]["created"])
        for vault, secrets in census["vaults"].items()
        for name, versions in secrets.items()
    ]
    parts.append(table(("VAULT SECRET", "VERSIONS", "NEWEST CREATED"), vaults, "no vault secrets"))
    synced = [
        (f"{es['namespace']}/{es['name']}", es["ready"], es["reason"], es["refreshTime"])
        for es in census["externalSecrets"]
    ]
    parts.append(table(("EXTERNALSECRET", "READY", "REASON", "LAST GOOD SYNC"), synced, "no ExternalSecrets"))
    containers = [
        (f"{c['namespace']}/{c['pod']}", c["container"], "yes" if c["ready"] else "no", str(c["restarts"]), _holds(c))
        for c in census["containers"]
    ]
    head = ("POD", "CONTAINER", "READY", "RESTARTS", "HOLDS")
    parts.append(table(head, containers, "no running containers"))
    for title, lines in (("Faults:", census["faults"]), ("Problems of the sandbox itself:", census["problems"])):
        if lines:
            parts.append("\n".join([title, *(f"  {line}" for line in lines)]))
    for name, why in census["refusedByEso"].items():
        parts.append(f"ExternalSecret {name} is left alone by the sandbox's ESO, which does not do {why}")
    return "\n\n".join(parts)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], none: str) -> str:
    """Aligned columns under a head; ``none`` where there are no rows."""
    if not rows:
        return none
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows))
    return "\n".join(line.rstrip() for line in lines)


def _versions(versions: Sequence[dict[str, Any]]) -> str:
    newest = versions[-1]
    return newest["label"] if newest["enabled"] else f"{newest['label']} (disabled)"


def _holds(container: dict[str, Any]) -> str:
    return ", ".join(f"{place}: {what}" for place, what in container["holds"].items()) or "nothing"
