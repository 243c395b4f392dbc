"""``target.template``: text with ``{{ .key }}`` and ``{{ randAlphaNum N }}``, and nothing else of Go's language."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Mapping

from agent.sandbox.actors.eso.errors import NotReproducible

_FIELD = re.compile(r"\{\{[ \t]*\.([A-Za-z_][A-Za-z0-9_]*)[ \t]*\}\}")
_RANDOM = re.compile(r"\{\{[ \t]*randAlphaNum[ \t]+([0-9]{1,3})[ \t]*\}\}")
"""Sprig's, another text in each rendering: so ESO writes the Secret anew at every sync, whatever the vault holds."""
_LETTERS = string.ascii_letters + string.digits


class TemplateError(Exception):
    """A template asks for what is not there; the text is Go's, wrapped as ESO wraps it."""


def check(templates: Mapping[str, str]) -> None:
    """Raises NotReproducible if a template is more than text, plain fields and randAlphaNum."""
    for key, template in templates.items():
        if "{{" in _RANDOM.sub("", _FIELD.sub("", template)):
            raise NotReproducible(f"the template of {key!r}: more than text, plain fields and randAlphaNum")


def rendered(templates: Mapping[str, str], data: Mapping[str, bytes]) -> dict[str, bytes]:
    """All templates filled in. Raises TemplateError; NotReproducible if two fail, as Go names one at random."""
    check(templates)
    results: dict[str, bytes] = {}
    failures: list[str] = []
    for key, template in templates.items():
        missing = next((match for match in _FIELD.finditer(template) if match[1] not in data), None)
        if missing:
            failures.append(_missing(key, template, missing))
        else:
            results[key] = _filled(_RANDOM.sub(_random, template), data)
    if len(failures) > 1:
        raise NotReproducible("several templates fail: which one the error names is left to chance")
    if failures:
        raise TemplateError(failures[0])
    return results


def _random(match: re.Match[str]) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(int(match[1])))


def _filled(template: str, data: Mapping[str, bytes]) -> bytes:
    out, at = b"", 0
    for match in _FIELD.finditer(template):
        out += template[at : match.start()].encode() + data[match[1]]
        at = match.end()
    return out + template[at:].encode()


def _missing(key: str, template: str, match: re.Match[str]) -> str:
    """The place is line (from 1) and byte in the line (from 0) of the field's dot."""
    before = template[: match.start(1) - 1]
    line = before.count("\n") + 1
    column = len(before.rpartition("\n")[2].encode())
    place = f"unable to execute template at key {key}: "
    return (
        f"could not apply template: could not execute template: could not execute template: {place}{place}"
        f'template: {key}:{line}:{column}: executing "{key}" at <.{match[1]}>: map has no entry for key "{match[1]}"'
    )
