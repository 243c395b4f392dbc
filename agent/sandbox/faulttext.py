"""Faults in the words that an operator types, for every part of the world."""

from __future__ import annotations

from collections.abc import Mapping

from agent.sandbox.ages import seconds
from agent.sandbox.apiserver import FaultRule, ForbidRule
from agent.sandbox.world import Sandbox

TARGETS = ("api", "vault", "eso", "node")
_API_KEYS = ("user", "verb", "resource", "namespace", "name", "times")
_VAULT_KEYS = ("vault", "identity", "operation", "secret", "times")
_API_FAULTS = """\
  403: forbidden, as by RBAC
  429, 429:SECONDS: too many requests, with Retry-After if given; 500 ... 504
  delay:SPAN: each request waits so long, such as delay:2s; hold: until the fault is cleared
  drop: the connection ends unheard; drop-after: the request is carried out, then the connection ends
  half-open: no answer ever comes; running watches fall silent
  break-watches: running watches end, once; gone: 410 for watches and continued lists"""


class FaultTextError(ValueError):
    """Words that mean no fault; the message says which do."""


async def cause(sandbox: Sandbox, target: str, text: str, select: Mapping[str, str]) -> None:
    """Make something go wrong until it is cleared. ``select`` says for which requests. Raises FaultTextError."""
    match target:
        case "api":
            _check(select, _API_KEYS, target)
            _cause_api(sandbox, text, select)
        case "vault":
            _check(select, _VAULT_KEYS, target)
            _cause_vault(sandbox, text, select)
        case "eso":
            _check(select, (), target)
            _cause_eso(sandbox, text)
        case "node":
            _check(select, ("node",), target)
            await _cause_node(sandbox, text, select)
        case _:
            raise FaultTextError(f"no such target: {target!r}; expected one of {', '.join(TARGETS)}")


async def clear(sandbox: Sandbox) -> None:
    """End every fault."""
    sandbox.api.faults.clear()
    sandbox.api.forbid.clear()
    sandbox.vaults.faults.clear()
    sandbox.eso.delay = 0.0
    sandbox.eso.resume()
    for node in sandbox.options.nodes:
        await sandbox.kubelet.set_node_ready(node, True)


def in_force(sandbox: Sandbox) -> list[str]:
    """One line for each fault of the servers and of ESO."""
    lines = [f"api {_effect(rule)} {_selectors(rule)}".rstrip() for rule in sandbox.api.faults.rules]
    lines += [f"api 403 {_selectors(rule)}".rstrip() for rule in sandbox.api.forbid]
    for fault in sandbox.vaults.faults:
        what = fault.fault.kind or str(fault.fault.status)
        detail = fault.fault.inner or fault.fault.argument
        if fault.remaining != 0:
            lines.append(f"vault {what}{':' if detail else ''}{detail} {_selectors(fault)}".rstrip())
    if sandbox.eso.delay:
        lines.append(f"eso slow:{sandbox.eso.delay:g}s")
    if sandbox.eso.paused:
        lines.append("eso pause")
    return lines


def _effect(rule: FaultRule) -> str:
    if rule.effect == "delay":
        return f"delay:{rule.seconds:g}s"
    if rule.effect == "status":
        return f"{rule.code}{'' if rule.retry_after is None else f':{rule.retry_after}'}"
    return rule.effect


def _selectors(rule: object) -> str:
    names = ("user", "verb", "resource", "subresource", "namespace", "vault", "identity", "operation", "secret", "name")
    told = [(name, getattr(rule, name, None)) for name in (*names, "remaining")]
    return " ".join(f"{name}={value}" for name, value in told if value not in (None, "*"))


def _check(select: Mapping[str, str], known: tuple[str, ...], target: str) -> None:
    if unknown := select.keys() - set(known):
        expected = f"known are {', '.join(known)}" if known else "there are none"
        raise FaultTextError(f"{target}: unknown selector {', '.join(sorted(unknown))}; {expected}")


def _times(select: Mapping[str, str]) -> int | None:
    if "times" not in select:
        return None
    if not select["times"].isdecimal() or int(select["times"]) < 1:
        raise FaultTextError(f"times: expected a whole number from 1; found {select['times']!r}")
    return int(select["times"])


def _span(text: str) -> float:
    try:
        span = float(text) if text.replace(".", "", 1).isdecimal() else seconds(text)
    except ValueError as error:
        raise FaultTextError(str(error)) from None
    if span < 0:
        raise FaultTextError(f"expected a span of time that is not negative; found {text!r}")
    return span


def _cause_api(sandbox: Sandbox, text: str, select: Mapping[str, str]) -> None:
    head, _, argument = text.partition(":")
    resource, _, subresource = select.get("resource", "").partition("/")
    if head == "403":
        named = {key: select[key] for key in ("user", "verb", "resource", "namespace") if key in select}
        sandbox.api.forbid.append(ForbidRule(**named))
        return
    rule = FaultRule(
        effect="drop",
        user=select.get("user"),
        verb=select.get("verb"),
        resource=resource or None,
        subresource=subresource or None,
        namespace=select.get("namespace"),
        name=select.get("name"),
        remaining=_times(select),
    )
    if head == "delay":
        rule.effect, rule.seconds = "delay", _span(argument)
    elif head == "429" or (head.isdecimal() and 500 <= int(head) <= 599):
        rule.effect, rule.code, rule.retry_after = "status", int(head), int(_span(argument)) if argument else None
    elif text in ("hold", "drop", "drop-after", "half-open", "break-watches", "gone"):
        rule.effect = text  # type: ignore[assignment]
    else:
        raise FaultTextError(f"no such fault of the API server: {text!r}; possible are\n{_API_FAULTS}")
    sandbox.api.faults.add(rule)


def _cause_vault(sandbox: Sandbox, text: str, select: Mapping[str, str]) -> None:
    chosen = {key: select[key] for key in ("vault", "identity", "operation", "secret") if key in select}
    try:
        sandbox.vaults.fault(text, times=_times(select), **chosen)
    except FaultTextError:
        raise
    except ValueError as error:
        raise FaultTextError(str(error)) from None


def _cause_eso(sandbox: Sandbox, text: str) -> None:
    head, _, argument = text.partition(":")
    if text == "pause":
        sandbox.eso.pause()
    elif text == "resume":
        sandbox.eso.resume()
    elif head == "slow" and argument:
        sandbox.eso.delay = _span(argument)
    else:
        raise FaultTextError(f"no such fault of ESO: {text!r}; expected pause, resume or slow:SPAN")


async def _cause_node(sandbox: Sandbox, text: str, select: Mapping[str, str]) -> None:
    node = select.get("node", "")
    if node not in sandbox.options.nodes:
        raise FaultTextError(f"node: expected node=NAME with one of {', '.join(sandbox.options.nodes)}")
    if text not in ("down", "up"):
        raise FaultTextError(f"no such fault of a node: {text!r}; expected down or up")
    await sandbox.kubelet.set_node_ready(node, text == "up")
