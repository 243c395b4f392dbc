"""S30 on the real control plane: what is killed, stopped or taken away in the middle of a heal, and comes back."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from support.gate import Gate
from support.realworld import admin
from support.scenario import Scenario
from support.weather import NS, Heal
from support.worlds import watching

from agent.sandbox.world import AGENT_NAMESPACE

BACK = 60.0
"""Seconds in which a heal goes on to its end once everything works again: reflectors wait up to 30 s between tries."""
ANSWERED = 30.0
"""Seconds for which an answer is waited for."""


@pytest.mark.timeout(240)
def test_s30_the_api_server_is_away_for_longer_than_the_lease() -> None:
    """Killed after the first eviction: its absence is told once, the heal goes on by itself, nothing is done twice."""
    with Scenario() as s:
        plane = s.plane
        heal = Heal(s)
        heal.begin()
        s.wait(lambda: s.evicted(NS), why="the canary")
        plane.kill("apiserver")
        time.sleep(14)
        plane.restart("apiserver")
        heal.ends_well(BACK)
        assert heal.told("the API server").count(("the API server", "unreachable")) == 1


@pytest.mark.timeout(240)
def test_s30_etcd_stands_still_for_longer_than_an_eviction_is_waited_for() -> None:
    """Nobody knows whether an eviction without an answer was done or will be: it is done once, in the end."""
    with Scenario() as s, Gate(s) as gate:
        plane = s.plane
        heal = Heal(s, agent=False)
        heal.agent = watching(s, KUBECONFIG=gate.kubeconfig)
        gate.arm(lambda seen: seen[-1].resource == "pods/eviction", "through", lambda: plane.pause("etcd"))
        heal.begin()
        s.wait(gate.struck.is_set, why="the canary's eviction")
        time.sleep(ANSWERED + 2)
        plane.resume("etcd")
        heal.ends_well(BACK, unheard=1)


@pytest.mark.timeout(240)
def test_s30_etcd_is_gone_in_the_middle_of_a_heal() -> None:
    """Killed and started again with the API server alive, which knows nothing meanwhile: what is told is told once."""
    with Scenario() as s:
        plane = s.plane
        heal = Heal(s)
        heal.begin()
        s.wait(lambda: s.evicted(NS), why="the canary")
        plane.kill("etcd")
        time.sleep(8)
        plane.restart("etcd")
        heal.ends_well(BACK, unheard=1)


@pytest.mark.timeout(240)
def test_s30_a_token_that_ends_is_told_and_the_one_that_is_put_in_its_place_is_used() -> None:
    """A ServiceAccount's token becomes invalid while it is in use: told once, and a new one in its file is enough."""
    with Scenario() as s:
        account = Account(s)
        heal = Heal(s, agent=False)
        account.renew("first")
        heal.agent = s.start_agent(KUBECONFIG=str(account.kubeconfig))
        s.cycles(heal.agent, 1)
        account.revoke("first")
        s.wait(lambda: ("the Lease", "unauthorized") in heal.told(), 60, "it is told")
        heal.begin()
        time.sleep(5)
        assert s.writes() == []
        account.renew("second")
        heal.ends_well(BACK)
        assert len(heal.told()) == len(set(heal.told())), heal.told()
        assert len(s.writes()) == 4


class Account:
    """The agent's own, with its token in a file that a kubeconfig names."""

    def __init__(self, s: Scenario) -> None:
        self._plane = s.plane
        self._token, self.kubeconfig = s.directory / "token", s.directory / "kubeconfig-renewed"
        config = yaml.safe_load(Path(s.environment["KUBECONFIG"]).read_text())
        config["users"][0]["user"] = {"tokenFile": str(self._token)}
        self.kubeconfig.write_text(yaml.safe_dump(config))

    def renew(self, name: str) -> None:
        """Put a new token into the file, valid for as long as a Secret of this name is there."""
        secrets = f"/api/v1/namespaces/{AGENT_NAMESPACE}/secrets"
        bound = self._post(secrets, {"metadata": {"name": name}})["metadata"]
        to = {"apiVersion": "v1", "kind": "Secret", "name": name, "uid": bound["uid"]}
        path = f"/api/v1/namespaces/{AGENT_NAMESPACE}/serviceaccounts/secret-drift-agent/token"
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"boundObjectRef": to}}
        self._token.write_text(self._post(path, asked)["status"]["token"])

    def revoke(self, name: str) -> None:
        """End a token: the API server may remember for ten seconds that it was good."""
        with admin(self._plane) as conn:
            conn.request("DELETE", f"/api/v1/namespaces/{AGENT_NAMESPACE}/secrets/{name}")

    def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        with admin(self._plane) as conn:
            return cast(dict[str, Any], json.loads(conn.request("POST", path, body=json.dumps(body).encode()).body))
