"""What a real External Secrets Operator has to be told, once, so that it reads from the sandbox's vaults.

``python -m support.eso ADDRESS`` makes an authority that lasts, if there is none yet, and prints the commands for a
cluster in which ESO is installed by Helm. ADDRESS is where the cluster finds this machine.
"""

from __future__ import annotations

import sys

from support.controlplane import CACHE
from support.tunnel import PORT

from agent.sandbox.keyvault.server import DEFAULT_TENANT
from agent.sandbox.pki import keep

TRUST = CACHE / "eso"
"""Holds ``ca.pem``, which ESO is to trust, and the key to it, which stays here."""
_PRIVATE = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,.svc,.cluster.local"

_TOLD = """\
# The authority of the sandbox's vaults to trust, and a federated token, which they take whatever it is:
kubectl -n external-secrets create configmap sandbox-vault --from-file={trust}/ca.pem --from-literal=token=any
# values.yaml:
extraEnv:
  - {{name: HTTPS_PROXY, value: "http://{address}:{port}"}}
  - {{name: NO_PROXY, value: "{private}"}}
  - {{name: SSL_CERT_FILE, value: /sandbox/ca.pem}}
  - {{name: AZURE_FEDERATED_TOKEN_FILE, value: /sandbox/token}}
  - {{name: AZURE_CLIENT_ID, value: eso}}
  - {{name: AZURE_TENANT_ID, value: {tenant}}}
extraVolumes: [{{name: sandbox, configMap: {{name: sandbox-vault}}}}]
extraVolumeMounts: [{{name: sandbox, mountPath: /sandbox}}]
# and then
helm upgrade --install external-secrets external-secrets/external-secrets -n external-secrets -f values.yaml
pytest --cluster KUBECONFIG --eso real --address {address} tests/scenarios
"""


def main(arguments: list[str]) -> int:
    """The command; returns the exit code."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 64
    keep(TRUST)
    told = {"trust": TRUST, "address": arguments[0], "port": PORT, "private": _PRIVATE, "tenant": DEFAULT_TENANT}
    print(_TOLD.format(**told), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
