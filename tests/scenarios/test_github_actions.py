"""The example of a workflow for GitHub Actions: its own steps, by a runner's shell, against a whole world."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from support.processes import ROOT
from support.programs import program
from support.scenario import LISTS, POD, Scenario, Write
from support.workflow import Run, Runner
from support.worlds import at_rest

from agent.sandbox import builders as b
from agent.sandbox.apiserver.accounts import account
from agent.sandbox.files import kubeconfig
from agent.sandbox.world import AGENT_NAMESPACE

NS, KV = "payments", "prod-kv"
WORKFLOW = ROOT / "k8s" / "examples" / "github-actions.yml"
RUNNERS = ("Install the agent",)
"""Steps that the runner carries out elsewhere: this one asks a package index. So it does with all actions (`uses`)."""
INPUTS = {"look-only": False, "deadline": "60s"}
VARIABLES = {
    "AKS_CLUSTER": "prod",
    "AKS_RESOURCE_GROUP": "shop",
    "PIP_INDEX_URL": "https://packages.example.com/simple",
}
ACCOUNT = account(AGENT_NAMESPACE, "secret-drift-agent")
AZ = """#!/bin/sh
# Stands in for the Azure CLI after a login: it knows this world's cluster, and who the agent is to its vaults.
case "$*" in
  "aks get-credentials --resource-group shop --name prod --file "*) cp "{place}/credentials" "$8" ;;
  "account get-access-token "*) cat "{place}/access-token" ;;
  *) echo "az $*: not logged in" >&2; exit 1 ;;
esac
"""


class Job:
    """A repository with policy and workflow, and a runner with the programs that GitHub's have."""

    def __init__(self, s: Scenario) -> None:
        self._s, self._place = s, s.directory / "runner"
        programs, checkout = self._place / "bin", self._place / "checkout"
        (checkout / "secret-drift-agent").mkdir(parents=True)
        programs.mkdir()
        (checkout / "secret-drift-agent" / "policy.yaml").write_text(s.policy(vaults=[KV]).read_text())
        _program(programs / "az", AZ.format(place=self._place))
        _program(programs / "kubelogin", '#!/bin/sh\ntest "$*" = "convert-kubeconfig --login azurecli"\n')
        _program(programs / "secret-drift-agent", f'#!/bin/sh\nexec "{sys.executable}" -m agent "$@"\n')
        (programs / "kubectl").symlink_to(program("kubectl"))
        (self._place / "credentials").write_text(kubeconfig(s.sandbox, "admin"))
        self.log_in()
        kept = ("SECRET_DRIFT_AGENT_VAULT_CONNECT_TO", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")
        environment = {
            **{name: s.environment[name] for name in kept},
            "PATH": f"{programs}:/usr/bin:/bin", "PYTHONPATH": str(ROOT), "TZ": "UTC", "POD_NAME": POD,
        }  # fmt: skip
        self._runner = Runner(WORKFLOW, checkout, environment, RUNNERS)

    def log_in(self) -> None:
        """What the login to Azure leaves behind: a token for the vaults."""
        vaults = self._s.sandbox.vaults
        form = {
            "grant_type": "client_credentials", "client_id": "agent", "scope": "https://vault.azure.net/.default",
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": self._s.sandbox.assertion,
        }  # fmt: skip
        path = f"/{vaults.tenant}/oauth2/v2.0/token"
        answer = self._s.call(vaults.login.answer, "POST", "login.microsoftonline.com", path, form, None)
        token = json.loads(answer.body)["access_token"]
        told = {"accessToken": token, "expires_on": int(time.time()) + 3599, "tokenType": "Bearer"}
        (self._place / "access-token").write_text(json.dumps(told))

    def log_out(self) -> None:
        """As if the login had failed."""
        (self._place / "bin" / "az").write_text("#!/bin/sh\nexit 1\n")

    def run(self, **inputs: object) -> Run:
        """One run of the workflow."""
        return self._runner.run({**INPUTS, **inputs}, VARIABLES)


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@contextmanager
def shop(sources: Mapping[str, str]) -> Iterator[tuple[Scenario, Job]]:
    """A chain and a Deployment of two pods at rest, the agent's account, and a job that has looked at them once."""
    with Scenario() as s:
        if not s.real:  # there it is installed with its rights and bounds
            meta = {"name": "secret-drift-agent", "namespace": AGENT_NAMESPACE}
            s.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
        chain = [b.secret_store(KV, NS), b.external_secret("app-secrets", NS, {"API_KEY": "api-key"})]
        pods = b.deployment("backend", NS, 2, env={"API_KEY": ("app-secrets", "API_KEY")})
        at_rest(s, sources, chain, [pods], NS)
        job = Job(s)
        first = job.run()
        assert not first.failed, first.told()
        assert first.summary.startswith("### No secret drift\n")
        yield s, job
        assert {"list"} <= s.asked_of_vaults() <= LISTS, "a value was asked for, or the vaults were not looked at"


def done(s: Scenario) -> list[Write]:
    """What the job changed, by the agent's account and as nobody else."""
    return s.writes() if s.real else s.writes(ACCOUNT)


def test_a_rotation_is_healed_by_the_job_as_the_agents_account_and_the_summary_says_so() -> None:
    """Each step ends well: the chain is synced, the pods replaced, and the page of the run has nothing left to tell."""
    with shop({f"{KV}/api-key": "value-one"}) as (s, job):
        s.rotate(KV, "api-key", "value-two")

        run = job.run()

        assert run.codes == {
            "Check the policy": 0, "Get a token of the agent's account": 0, "Heal": 0, "Look": 0, "Verdict": 0,
        }, run.told()  # fmt: skip
        assert run.summary.startswith("### No secret drift\n")
        assert run.said["Verdict"] == "No secret drift.\n"
        assert s.all_hold(NS, "backend", "app-secrets", "API_KEY", "value-two")
        assert [what for _, _, _, what in done(s)[:1]] == [f"{NS}/app-secrets"]
        assert [sub for _, _, sub, _ in done(s)] == ["", "eviction", "eviction"]
        assert "evicted pod" in run.said["Heal"]


def test_drift_that_remains_fails_the_job_and_the_summary_names_it_with_its_cause() -> None:
    """A vault that denies ESO access: the last line says where to look, and there stand what, where and what to do."""
    with shop({f"{KV}/api-key": "value-one", f"{KV}/other": "value"}) as (s, job):
        s.call(s.sandbox.vaults.grant, "eso", list=False, get=False)
        s.apply(b.external_secret("denied", NS, {"KEY": "other"}))
        s.wait(lambda: _fails(s, "denied"), why="ESO fails")

        run = job.run()

        assert (run.codes["Look"], run.codes["Verdict"]) == (0, 2), run.told()
        assert run.summary.startswith("### Secret drift remains\n")
        (row,) = [line for line in run.summary.splitlines() if "access-denied" in line]
        assert row.startswith(f"| ESO cannot sync (access-denied) | `{NS}/denied` |")
        assert run.said["Verdict"].splitlines()[-1].startswith("::error title=Secret drift remains::")
        assert [what for _, _, _, what in done(s)] == []


def test_a_run_that_only_looks_shows_what_would_be_done_and_changes_nothing() -> None:
    """With `look-only` the step that heals does not run, and the job fails as long as there is drift."""
    with shop({f"{KV}/api-key": "value-one"}) as (s, job):
        s.rotate(KV, "api-key", "value-two")

        run = job.run(**{"look-only": True})

        assert "Heal" not in run.codes
        assert run.codes["Verdict"] == 2, run.told()
        assert "| force-sync: ask ESO to sync now, by the annotation force-sync (stale) |" in run.summary
        assert done(s) == []


def test_a_job_that_cannot_log_in_says_that_nothing_is_known() -> None:
    """No login, no green: the summary and the last line say that nothing could be looked at."""
    with shop({f"{KV}/api-key": "value-one"}) as (_, job):
        job.log_out()
        run = job.run()
        assert run.codes["Get a token of the agent's account"] == 1
        assert "Heal" not in run.codes
        assert run.codes["Verdict"] == 1
        assert run.summary.startswith("### Nothing is known: ")
        assert run.said["Verdict"].startswith("::error title=Secret drift is not known::")


def test_what_somebody_types_into_the_form_is_never_run() -> None:
    """An input that is no duration ends the step as a wrong argument; nothing of it is carried out by the shell."""
    with shop({f"{KV}/api-key": "value-one"}) as (s, job):
        run = job.run(deadline='"; touch "$RUNNER_TEMP/pwned"; $(touch "$RUNNER_TEMP/pwned") #')
        assert "expected a duration" in run.said["Heal"]
        assert run.codes["Verdict"] == 1
        assert not list(s.directory.rglob("pwned"))


def _fails(s: Scenario, name: str) -> bool:
    status = (s.get("ExternalSecret", NS, name) or {}).get("status") or {}
    return any(c["type"] == "Ready" and c["status"] == "False" for c in status.get("conditions") or [])
