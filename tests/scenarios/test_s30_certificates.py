"""S30 on the real control plane: its certificate is replaced, then its authority, and the agent goes on."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml
from support.controlplane import ControlPlane
from support.scenario import Scenario
from support.weather import Heal
from support.worlds import watching

BACK = 60.0
"""Seconds in which a heal goes on to its end once everything works again: reflectors wait up to 30 s between tries."""
UNTRUSTED = 3.0
"""Seconds, with the server back, in which nothing more is done."""


def _serves_with(plane: ControlPlane, name: str) -> None:
    plane.kill("apiserver")
    plane.serve_with(name)
    plane.restart("apiserver")


@pytest.mark.timeout(240)
def test_s30_a_renewed_certificate_is_no_matter_and_a_new_authority_is_taken_from_its_file() -> None:
    """As in a pod, whose mounted bundle changes: until it does, the certificate is told once; then the heal goes on."""
    with Scenario() as s:
        plane = s.plane
        heal = Heal(s, agent=False, workloads=2)
        trusted = s.directory / "mounted.pem"
        trusted.write_bytes((plane.directory / "ca-old.pem").read_bytes())
        config = yaml.safe_load(Path(s.environment["KUBECONFIG"]).read_text())
        del config["clusters"][0]["cluster"]["certificate-authority-data"]
        config["clusters"][0]["cluster"]["certificate-authority"] = str(trusted)
        kubeconfig = s.directory / "kubeconfig-mounted"
        kubeconfig.write_text(yaml.safe_dump(config))
        heal.agent = watching(s, KUBECONFIG=str(kubeconfig))

        heal.begin()
        s.wait(heal.stamp, why="the force-sync")
        _serves_with(plane, "renewed")
        heal.ends_well(BACK)

        heal.begin()
        s.wait(heal.stamp, why="the force-sync")
        _serves_with(plane, "moved")
        s.wait(lambda: ("the API server", "certificate") in heal.told(), 60, "it is told, after its absence")
        time.sleep(UNTRUSTED)
        assert not heal.done()
        fresh = s.directory / "mounted.new"
        fresh.write_bytes((plane.directory / "ca-new.pem").read_bytes())
        fresh.rename(trusted)
        heal.ends_well(BACK)
