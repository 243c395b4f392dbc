"""What a real ESO is told about the sandbox long before a world begins: an authority that lasts, and a proxy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support.servers import ca_file, vaults
from support.tunnel import Tunnel

MADE = "import sys; from pathlib import Path; from agent.sandbox import pki; pki.keep(Path(sys.argv[1]))"
TOLD = f"{MADE}; print(pki.authority().pem.decode())"


@pytest.fixture
def tunnel() -> Iterator[Tunnel]:
    """One that leads nowhere yet."""
    made = Tunnel("127.0.0.1", 0)
    made.start()
    try:
        yield made
    finally:
        made.stop()


def _get(tunnel: Tunnel, url: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        session.verify = ca_file()
        session.proxies = {"https": f"http://127.0.0.1:{tunnel.port}"}
        return session.get(url, timeout=20)


def test_an_authority_that_is_kept_is_the_same_for_every_process(tmp_path: Path) -> None:
    """Who trusts it today trusts the world of tomorrow; its key is for its owner alone."""
    told = [
        subprocess.run([sys.executable, "-c", TOLD, str(tmp_path)], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert told[0] == told[1]
    assert told[0].strip() == (tmp_path / "ca.pem").read_text().strip()
    assert (tmp_path / "ca.key").stat().st_mode & 0o777 == 0o600


def test_the_names_of_azure_lead_to_the_world_that_there_is(tunnel: Tunnel) -> None:
    """A vault is reached by its real name, with its certificate checked, as soon as a world has begun."""
    with pytest.raises(requests.exceptions.ProxyError):
        _get(tunnel, "https://prod-kv.vault.azure.net/secrets")
    with vaults() as azure:
        azure.fill("prod-kv", ["api-key"])
        tunnel.lead_to(azure.kv.port)
        answer = _get(tunnel, "https://prod-kv.vault.azure.net/secrets?api-version=7.6")
        assert (answer.status_code, "WWW-Authenticate" in answer.headers) == (401, True)
        login = _get(tunnel, "https://login.microsoftonline.com/common/v2.0/.well-known/openid-configuration")
        assert login.status_code == 200


def test_nobody_else_is_reached_by_that_way(tunnel: Tunnel) -> None:
    """It is no way into the network of the machine that runs the tests."""
    with vaults() as azure:
        tunnel.lead_to(azure.kv.port)
        for other in ("https://example.com/", "https://vault.azure.net.example.com/", "https://127.0.0.1/"):
            with pytest.raises(requests.exceptions.ProxyError):
                _get(tunnel, other)
