"""The words in which the two Go SDKs of Azure report what a vault answered."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from agent.sandbox.actors.eso import gojson

_RULE = "-" * 80


@dataclass(frozen=True)
class Answer:
    """An HTTP answer with the request that it belongs to. ``url`` is without query."""

    method: str
    url: str
    status: int
    reason: str
    body: str
    error_code: str = ""
    """The header ``x-ms-error-code``."""


def new_sdk(answer: Answer) -> str:
    """``azcore.ResponseError``: several lines, with the body indented as ``json.Indent`` does."""
    code = answer.error_code or _code(answer.body)
    body = gojson.indented(answer.body) or answer.body if answer.body else "Response contained no body"
    return (
        f"{answer.method} {answer.url}\n{_RULE}\nRESPONSE {answer.status}: {answer.status} {answer.reason}\n"
        f"{f'ERROR CODE: {code}' if code else 'ERROR CODE UNAVAILABLE'}\n{_RULE}\n{body}\n{_RULE}\n"
    )


def legacy_sdk(operation: str, answer: Answer) -> str:
    """``autorest.DetailedError`` around ``azure.RequestError``: one line. ``operation``: GetSecret or GetSecrets."""
    error = _error(answer.body)
    text = f"Code={_quoted(str(error.get('code', 'Unknown')))} Message={_quoted(str(error.get('message', '')))}"
    if error.get("innererror"):
        text += f" InnerError={_go_json(error['innererror'])}"
    return (
        f"keyvault.BaseClient#{operation}: Failure responding to request: StatusCode={answer.status} -- "
        f"Original Error: autorest/azure: Service returned an error. Status={answer.status} {text}"
    )


def authentication(credential: str, answer: Answer) -> str:
    """``azidentity.AuthenticationFailedError``: the token endpoint refused."""
    body = gojson.indented(answer.body) or answer.body if answer.body else "Response contained no body"
    return (
        f"{credential} authentication failed. \n{answer.method} {answer.url}\n{_RULE}\n"
        f"RESPONSE {answer.status}: {answer.status} {answer.reason}\n{_RULE}\n{body}\n{_RULE}\n"
        "To troubleshoot, visit https://aka.ms/azsdk/go/identity/troubleshoot#workload"
    )


def legacy_authentication(url: str, answer: Answer) -> str:
    """The same by the legacy SDK, whose message names the request that needed the token."""
    return (
        f"azure.BearerAuthorizer#WithAuthorization: Failed to refresh the Token for request to {url}: "
        f"StatusCode={answer.status} -- Original Error: adal: Refresh request failed. Status Code = '{answer.status}'. "
        f"Response body: {answer.body}"
    )


def unreachable(url: str, detail: str, *, operation: str = "") -> str:
    """No answer at all; with an operation in the legacy SDK's words."""
    text = f'Get "{url}": {detail}'
    if not operation:
        return text
    return f"keyvault.BaseClient#{operation}: Failure sending request: StatusCode=0 -- Original Error: {text}"


def _error(body: str) -> dict[str, Any]:
    try:
        decoded = json.loads(body)
    except ValueError:
        return {}
    error = decoded.get("error") if isinstance(decoded, dict) else None
    return error if isinstance(error, dict) else {}


def _code(body: str) -> str:
    return str(_error(body).get("code", ""))


def _quoted(text: str) -> str:
    """``%q``: JSON's quoting is Go's for all that a vault says."""
    return json.dumps(text, ensure_ascii=False)


def _go_json(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text
