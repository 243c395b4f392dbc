"""External Secrets Operator: installed, new enough, at work, and its webhook answering. Pure."""

from __future__ import annotations

import re

from agent import advice
from agent.doctor.facts import Controller, Eso, Hook, Unseen
from agent.doctor.lines import Line, State
from agent.model import Trouble

NEEDED = ("externalsecrets", "secretstores", "clustersecretstores")
OLDEST = (0, 16, 2)
"""The first whose marks can be foretold (``agent.esohash``): before, a force-sync would never look acknowledged."""
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")
INSTALL = (
    "helm repo add external-secrets https://charts.external-secrets.io",
    "helm install external-secrets external-secrets/external-secrets -n external-secrets --create-namespace",
)
UPGRADE = ("helm upgrade external-secrets external-secrets/external-secrets -n external-secrets",)


def eso_lines(eso: Eso | Trouble, *, heals: bool) -> list[Line]:
    """All there is to say of ESO. ``heals``: whether the agent is to write to ExternalSecrets."""
    if isinstance(eso, Trouble):
        return [_line("API", "not-checked", f"discovery of external-secrets.io fails: {eso.detail}")]
    if (wrong := _api_error(eso)) is not None:
        return [wrong]
    push = "" if eso.push else "; no PushSecrets (not installed, which is fine)"
    found = [_line("API", "ok", f"external-secrets.io {', '.join(eso.versions)}{push}")]
    return [
        *found,
        *_controller_lines(eso.controllers),
        *_webhook_lines(eso.hooks),
        _trial_line(eso.trial, heals=heals),
    ]


def _api_error(eso: Eso) -> Line | None:
    lacking = [name for name in NEEDED if name not in eso.resources]
    if not lacking:
        return None
    said = advice.no_eso(eso.versions, lacking)
    if not eso.versions:
        return _line("API", "error", said, commands=INSTALL)
    if "v1" not in eso.versions:
        return _line("API", "error", f"{said} (ESO 0.16.2 or later)", commands=UPGRADE)
    return _line("API", "error", said, todo="install all CustomResourceDefinitions of ESO's chart (installCRDs)")


def _controller_lines(controllers: tuple[Controller, ...] | Unseen) -> list[Line]:
    if isinstance(controllers, Unseen):
        return [_line("controller", "not-checked", f"version unknown: {controllers.why}")]
    if not controllers:
        said = "no Deployment with its image (external-secrets) in reach: version unknown"
        return [_line("controller", "not-checked", said)]
    return [_controller_line(each) for each in controllers]


def _controller_line(each: Controller) -> Line:
    said = f"{each.version or 'version not told by its image'} in {each.place}, {each.ready} of {each.wanted} ready"
    namespace, _, name = each.place.partition("/")
    found = _VERSION.match(each.version)
    if found is not None and tuple(int(part) for part in found.groups()) < OLDEST:
        said += ": too old, its acknowledgements cannot be recognised (0.16.2 or later is needed)"
        return _line("controller", "error", said, commands=UPGRADE)
    if each.ready == 0:
        command = f"kubectl -n {namespace} describe deployment {name}"
        return _line("controller", "error", f"{said}: nothing is synced", commands=(command,))
    return _line("controller", "ok", said)


def _webhook_lines(hooks: tuple[Hook, ...] | Unseen) -> list[Line]:
    if isinstance(hooks, Unseen):
        return [_line("webhook", "not-checked", hooks.why)]
    if not hooks:
        return [_line("webhook", "ok", "none is registered: nothing to wait for")]
    if bare := [hook.name for hook in hooks if not hook.has_ca]:
        said = f"{', '.join(bare)}: no CA in its configuration, so the API server cannot call it"
        return [_line("webhook", "error", said, todo="look at ESO's cert-controller, which writes it")]
    closed = [hook.name for hook in hooks if hook.fails_closed]
    rule = "while it is down, no ExternalSecret can be annotated" if closed else "fails open"
    services = ", ".join(dict.fromkeys(hook.service for hook in hooks if hook.service)) or "by URL"
    return [_line("webhook", "ok", f"{services}: {rule}")]


def _trial_line(trial: Trouble | Unseen | None, *, heals: bool) -> Line:
    name = "dry-run"
    if trial is None:
        return _line(name, "ok", "a patch of an ExternalSecret that changes nothing passes admission")
    if isinstance(trial, Unseen):
        return _line(name, "not-checked" if heals else "ok", trial.why)
    if "failed calling webhook" in trial.detail:
        said = f"a patch of an ExternalSecret does not pass, the webhook does not answer: {trial.detail}"
        command = "kubectl get pods -A -l app.kubernetes.io/name=external-secrets-webhook"
        return _line(name, "error", said, commands=(command,))
    todo = "see which admission policy or webhook refuses patches of ExternalSecrets by this identity"
    return _line(name, "error", f"a patch of an ExternalSecret does not pass: {trial.detail}", todo=todo)


def _line(name: str, state: State, said: str, *, todo: str = "", commands: tuple[str, ...] = ()) -> Line:
    return Line(area="ESO", name=name, state=state, said=said, todo=todo, commands=commands)
