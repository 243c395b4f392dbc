"""`doctor` tells whether External Secrets Operator is there, new enough, at work, and answering."""

from __future__ import annotations

import pytest
from support.doctoring import controller, doctor, webhook
from support.scenario import Scenario

from agent.sandbox import builders as b
from agent.sandbox.apiserver.access import ForbidRule
from agent.sandbox.apiserver.faults import FaultRule
from agent.sandbox.world import Options

NS, KV = "shop", "prod-kv"
IMAGE = "ghcr.io/external-secrets/external-secrets:v2.9.0"
NO_ESO = Options(eso=False)


def chain(s: Scenario) -> None:
    """One chain that ESO has synced."""
    s.rotate(KV, "api-key", "value-one")
    s.apply(b.secret_store(KV, NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"}))
    s.external_secret_ready(NS, "app-secrets")


def test_an_eso_at_work_is_told_with_its_version_and_its_webhook() -> None:
    """API, controller, webhook and a patch that is not kept: all ok, and nothing of the ExternalSecret has changed."""
    with Scenario() as s:
        chain(s)
        s.policy()
        s.seed(controller(IMAGE), webhook())
        before = s.get("ExternalSecret", NS, "app-secrets")

        told = doctor(s)

        assert told.states("ESO") == {"API": "ok", "controller": "ok", "webhook": "ok", "dry-run": "ok"}
        assert told.line("ESO", "controller")["said"] == "v2.9.0 in external-secrets/external-secrets, 1 of 1 ready"
        assert "external-secrets/external-secrets-webhook" in told.line("ESO", "webhook")["said"]
        assert s.get("ExternalSecret", NS, "app-secrets") == before


def test_a_cluster_without_eso_is_an_error_with_the_command_that_installs_it() -> None:
    """Nothing else of ESO or of the vaults is asked about then, and the rest of the lines is there all the same."""
    with Scenario(NO_ESO) as s:
        s.call(s.sandbox.api.served.only, "external-secrets.io")
        s.policy()

        told = doctor(s)

        assert told.code == 2
        assert told.of_state("error") == [("ESO", "API")]
        line = told.line("ESO", "API")
        assert line["said"] == "not installed: external-secrets.io is not served"
        assert line["commands"][1].startswith("helm install external-secrets ")
        assert told.lines("vaults") == []


def test_an_eso_that_serves_no_v1_is_too_old_and_the_versions_that_it_serves_are_named() -> None:
    """v1beta1 alone is no use to the agent."""
    with Scenario(NO_ESO) as s:
        s.call(s.sandbox.api.served.only, "external-secrets.io", "v1beta1", "v1alpha1")
        s.policy()

        told = doctor(s)

        assert (told.code, told.of_state("error")) == (2, [("ESO", "API")])
        assert "is served as v1beta1, v1alpha1 only, and v1 is needed" in told.line("ESO", "API")["said"]


@pytest.mark.parametrize(
    ("image", "ready", "state", "said"),
    [
        ("registry.example/external-secrets:v0.16.1", 1, "error", "too old, its acknowledgements cannot be recognised"),
        (IMAGE, 0, "error", "0 of 1 ready: nothing is synced"),
        ("registry.example/external-secrets@sha256:" + "0" * 64, 1, "ok", "version not told by its image"),
        ("registry.example/external-secrets:\x1b[31mred", 1, "ok", "version not told by its image"),
    ],
)
def test_a_controller_that_is_too_old_or_does_not_run_is_an_error(
    image: str, ready: int, state: str, said: str
) -> None:
    """Where its image tells no version, that is said; nothing of a tag that is no version is repeated."""
    with Scenario() as s:
        s.policy()
        s.seed(controller(image, ready=ready))

        line = doctor(s).line("ESO", "controller")

        assert line["state"] == state
        assert said in line["said"]
        assert "red" not in line["said"].replace("required", "")


def test_a_webhook_that_does_not_answer_is_found_before_a_heal_needs_it() -> None:
    """The patch that is not kept meets what a force-sync would meet; where ESO has written no CA, that is said, too."""
    with Scenario() as s:
        chain(s)
        s.policy()
        s.seed(webhook(ca=""))
        down = 'Internal error occurred: failed calling webhook "validate.externalsecret.external-secrets.io": refused'
        fault = FaultRule(effect="status", code=500, user="agent", verb="patch", message=down)
        s.call(s.sandbox.api.faults.add, fault)

        told = doctor(s)

        assert told.code == 2
        assert told.of_state("error") == [("ESO", "webhook"), ("ESO", "dry-run")]
        assert "no CA in its configuration" in told.line("ESO", "webhook")["said"]
        assert "the webhook does not answer" in told.line("ESO", "dry-run")["said"]


def test_what_could_not_be_checked_says_why() -> None:
    """Deployments and webhooks that may not be read, a patch that may not be tried: each with its reason."""
    with Scenario() as s:
        chain(s)
        s.policy()
        for rule in (
            ForbidRule(user="agent", group="admissionregistration.k8s.io"),
            ForbidRule(user="agent", verb="patch", resource="externalsecrets"),
        ):
            s.call(s.sandbox.api.forbid.append, rule)

        told = doctor(s)

        assert told.states("ESO") == {
            "API": "ok", "controller": "not-checked", "webhook": "not-checked", "dry-run": "not-checked",
        }  # fmt: skip
        assert "no Deployment with its image" in told.line("ESO", "controller")["said"]
        assert "may not be read, which the agent can do without" in told.line("ESO", "webhook")["said"]
        assert "none in reach that we may patch" in told.line("ESO", "dry-run")["said"]


def test_in_mode_observe_no_patch_is_tried() -> None:
    """Nothing is asked of ExternalSecrets but to list them."""
    with Scenario() as s:
        chain(s)
        s.policy(mode="observe")

        assert doctor(s).line("ESO", "dry-run")["said"] == "mode observe: no ExternalSecret is written to"

        audit = s.call(lambda: list(s.sandbox.api.audit))
        assert {e.verb for e in audit if e.user == "agent" and e.resource == "externalsecrets"} == set()
