"""S30 on the real control plane: priority and fairness leaves the agent's account no room, or almost none."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import pytest
from support.controlplane import ControlPlane
from support.realworld import admin
from support.scenario import Scenario
from support.weather import Heal

from agent.sandbox.world import AGENT_NAMESPACE

BACK = 60.0
FULL = 5.0
"""Seconds more without room, once the Lease is lost, too."""
GROUP = "/apis/flowcontrol.apiserver.k8s.io/v1"
ALL = ["*"]


@contextmanager
def _narrow(plane: ControlPlane) -> Iterator[None]:
    """A priority level for the agent's account alone, with room for one request; a second is answered with 429."""
    limits = {"nominalConcurrencyShares": 0, "limitResponse": {"type": "Reject"}, "borrowingLimitPercent": 0}
    account = {"name": "secret-drift-agent", "namespace": AGENT_NAMESPACE}
    everything = {"apiGroups": ALL, "resources": ALL, "verbs": ALL, "namespaces": ALL, "clusterScope": True}
    subject = {"kind": "ServiceAccount", "serviceAccount": account}
    level = {"metadata": {"name": "narrow"}, "spec": {"type": "Limited", "limited": limits}}
    schema = {
        "metadata": {"name": "narrow"},
        "spec": {
            "priorityLevelConfiguration": {"name": "narrow"},
            "matchingPrecedence": 2,
            "rules": [{"subjects": [subject], "resourceRules": [everything]}],
        },
    }
    made = {"prioritylevelconfigurations": level, "flowschemas": schema}
    with admin(plane) as conn:
        try:
            for plural, body in made.items():
                conn.request("POST", f"{GROUP}/{plural}", body=json.dumps(body).encode())
            yield
        finally:
            for plural in reversed(made):
                conn.request("DELETE", f"{GROUP}/{plural}/narrow")


@contextmanager
def _taken(s: Scenario) -> Iterator[None]:
    """The room is taken: by a request of the same account whose body never comes, which is waited for a minute."""
    with ExitStack() as stack:
        s.wait(lambda: _hold(s, stack), 30, "one request is let in and held")
        yield


def _hold(s: Scenario, stack: ExitStack) -> bool:
    at = urlsplit(s.sandbox.url)
    assert at.hostname
    assert at.port
    plain = socket.create_connection((at.hostname, at.port), timeout=5)
    tls = ssl.create_default_context(cadata=s.sandbox.url_authority.decode())
    connection = stack.enter_context(tls.wrap_socket(plain, server_hostname=at.hostname))
    connection.sendall(
        f"POST /api/v1/namespaces/{AGENT_NAMESPACE}/configmaps HTTP/1.1\r\nHost: {at.netloc}\r\n"
        f"Authorization: Bearer {s.sandbox.tokens['agent']}\r\nContent-Type: application/json\r\n"
        "Content-Length: 100\r\n\r\n".encode()
    )
    connection.settimeout(0.5)
    try:
        return not connection.recv(1)  # an answer: there was no room at that moment
    except TimeoutError:
        return True


@pytest.mark.timeout(240)
def test_s30_without_room_at_the_api_server_the_agent_asks_seldom_and_goes_on_when_there_is_some() -> None:
    """Real 429s for everything that it asks: told once, not hammered, nothing done, and the whole heal afterwards."""
    with Scenario() as s:
        plane = s.plane
        heal = Heal(s)
        with _narrow(plane), _taken(s):
            began = s.sandbox.clock.now()
            heal.begin()
            s.wait(lambda: ("the API server", "throttled") in heal.told(), 40, "it is told")
            time.sleep(FULL)
            asked = [entry for entry in s.requests() if entry.at > began]
            seconds = s.sandbox.clock.now() - began
        assert {entry.code for entry in asked} == {429}
        assert len(asked) <= 2 * seconds, asked
        heal.ends_well(BACK)
