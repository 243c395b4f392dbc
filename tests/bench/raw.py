"""Downloads what one `once` downloaded, page by page over the same TLS, and does nothing with it.

That is the least that any reader of this world can take. Prints seconds and bytes as JSON.
"""

from __future__ import annotations

import json
import os
import re
import sys
import time
from base64 import b64decode
from pathlib import Path
from urllib.parse import urlencode

import urllib3
import yaml

from agent.cluster.resources import RESOURCES

_CONTINUE = re.compile(rb'"continue":"([^"]+)"')
_NEXT = re.compile(rb'"nextLink":"([^"]+)"')


class Cluster:
    """Lists of an API server, raw."""

    def __init__(self, kubeconfig: str) -> None:
        document = yaml.safe_load(Path(kubeconfig).read_text())
        cluster = document["clusters"][0]["cluster"]
        self._server = cluster["server"]
        self._headers = {"Authorization": f"Bearer {document['users'][0]['user']['token']}"}
        authority = b64decode(cluster["certificate-authority-data"]).decode()
        self._pool = urllib3.PoolManager(ca_cert_data=authority)

    def get(self, path: str, query: dict[str, str], accept: str) -> bytes:
        """One answer."""
        url = f"{self._server}{path}?{urlencode(query)}"
        answer = self._pool.request("GET", url, headers={**self._headers, "Accept": accept}, retries=False)
        assert answer.status == 200, (path, answer.status)
        return answer.data

    def collection(self, path: str, query: dict[str, str], accept: str) -> int:
        """All pages of a list; how many bytes they have."""
        size = 0
        while True:
            body = self.get(path, query, accept)
            size += len(body)
            token = _CONTINUE.search(body[:4096])
            if not token:
                return size
            query = {**query, "continue": token[1].decode()}


class Vaults:
    """Lists of vaults, raw, their names led to the world's address."""

    def __init__(self, address: str, ca: str, tenant: str, assertion: str) -> None:
        host, _, port = address.partition(":")
        self._host, self._port, self._ca = host, int(port), ca
        self._pools: dict[str, urllib3.HTTPSConnectionPool] = {}
        form = {
            "grant_type": "client_credentials", "client_id": "agent", "scope": "https://vault.azure.net/.default",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": assertion,
        }  # fmt: skip
        login = self._pool("login.microsoftonline.com")
        answer = login.request("POST", f"/{tenant}/oauth2/v2.0/token", fields=form, encode_multipart=False,
                               headers={"Host": "login.microsoftonline.com"})  # fmt: skip
        self._token = json.loads(answer.data)["access_token"]

    def _pool(self, host: str) -> urllib3.HTTPSConnectionPool:
        if host not in self._pools:
            self._pools[host] = urllib3.HTTPSConnectionPool(
                self._host, self._port, ca_certs=self._ca, server_hostname=host, assert_hostname=host
            )
        return self._pools[host]

    def sweep(self, host: str) -> int:
        """The whole list of a vault; how many bytes it has."""
        path: str | None = "/secrets?maxresults=25&api-version=7.6"
        size = 0
        while path:
            headers = {"Host": host, "Authorization": f"Bearer {self._token}"}
            answer = self._pool(host).request("GET", path, headers=headers, retries=False)
            assert answer.status == 200, answer.data
            size += len(answer.data)
            found = _NEXT.search(answer.data)
            path = found[1].decode().split(":443", 1)[1] if found else None
        return size


def main() -> None:
    """Reads the requests to repeat from stdin: ``{"lists": [[path, resource, query], ...], "vaults": [host, ...]}``."""
    asked = json.load(sys.stdin)
    ca = os.environ["SSL_CERT_FILE"]
    cluster = Cluster(os.environ["KUBECONFIG"])
    vaults = Vaults(
        os.environ["SECRET_DRIFT_AGENT_VAULT_CONNECT_TO"], ca, os.environ["AZURE_TENANT_ID"],
        Path(os.environ["AZURE_FEDERATED_TOKEN_FILE"]).read_text(),
    )  # fmt: skip
    began = time.monotonic()
    size = sum(cluster.collection(path, query, RESOURCES[name].accept) for path, name, query in asked["lists"])
    between = time.monotonic()
    vault_size = sum(vaults.sweep(host) for host in asked["vaults"])
    ended = time.monotonic()
    print(json.dumps({
        "seconds": ended - began, "api_seconds": between - began, "vault_seconds": ended - between,
        "bytes": size + vault_size, "api_bytes": size,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
