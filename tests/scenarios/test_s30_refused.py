"""S30 on the real control plane: an API server that takes its time, and one that asks a webhook which is down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.gate import Gate
from support.scenario import Scenario
from support.weather import NS, Heal
from support.worlds import watching

from agent.sandbox.client import Object

BACK = 60.0
HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
HOOK: Object = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingWebhookConfiguration",
    "metadata": {"name": "externalsecret-validate"},
    "webhooks": [
        {
            "name": "validate.externalsecret.external-secrets.io",
            "clientConfig": {"url": "https://127.0.0.1:1/validate"},  # where nobody listens
            "rules": [
                {
                    "apiGroups": ["external-secrets.io"],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE", "UPDATE", "DELETE"],
                    "resources": ["externalsecrets"],
                }
            ],
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 5,
        }
    ],
}
"""As ESO installs its own."""


@contextmanager
def webhook_down(s: Scenario) -> Iterator[None]:
    """Every change of an ExternalSecret is refused, since nobody can be asked."""
    s.run(s.sandbox.admin.request("POST", HOOKS, body=HOOK))
    try:
        yield
    finally:
        s.run(s.sandbox.admin.request("DELETE", f"{HOOKS}/{HOOK['metadata']['name']}"))


@pytest.mark.timeout(240)
def test_s30_while_the_real_webhook_is_down_the_force_sync_is_refused_and_tried_again() -> None:
    """The API server's own refusal names the webhook: told once, tried with pauses, and the heal follows."""
    with Scenario() as s:
        assert s.plane is not None
        heal = Heal(s)
        with webhook_down(s):
            heal.begin()
            s.wait(lambda: len(s.writes(refused=True)) > 2, 60, "more than two tries")
            assert s.evicted(NS) == []
        heal.ends_well(BACK)
        assert heal.told() == [(f"force-sync of {NS}/backend-secrets", "server-error")]
        assert "failed calling webhook" in heal.agent.err


@pytest.mark.timeout(240)
def test_s30_a_real_api_server_that_takes_a_second_for_each_answer_is_waited_for() -> None:
    """Everything takes longer; nothing is told, and nothing is done twice."""
    with Scenario() as s, Gate(s) as gate:
        assert s.plane is not None
        heal = Heal(s, agent=False)
        heal.agent = watching(s, KUBECONFIG=gate.kubeconfig)
        gate.takes = 1.0
        heal.begin()
        heal.ends_well(90)
        assert heal.told() == []
