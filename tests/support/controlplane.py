"""A real etcd, kube-apiserver and kube-controller-manager: built once, started in seconds, never left behind.

``python -m support.controlplane build`` builds the program of ``tests/cluster`` unless it is built already, ``run``
starts it until Ctrl-C. The program is kept outside the repository, by a hash of all that it is made of.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

SOURCE = Path(__file__).parents[1] / "cluster"
VERSION = "v1.36.3"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "secret-drift-agent"
"""What is made once and kept outside the repository."""
_PREFIX = "control-plane-"
_FLAGS = ("-trimpath", f"-ldflags=-X k8s.io/component-base/version.gitVersion={VERSION}")


class NotBuilt(Exception):
    """There is no control plane here, and one line says what to do about it."""


@dataclass(frozen=True)
class User:
    """Who may log in with a token of the control plane's own. Groups decide on rights, besides RBAC."""

    name: str
    token: str
    groups: tuple[str, ...] = ()


def users(names: Mapping[str, tuple[str, ...]]) -> dict[str, User]:
    """Users with fresh tokens, by name; the mapping gives each one's groups."""
    return {name: User(name, secrets.token_urlsafe(24), groups) for name, groups in names.items()}


@functools.cache
def program() -> Path:
    """Where the program is, or will be once it is built from the sources as they are now."""
    made_of = hashlib.sha256(" ".join(_FLAGS).encode())
    for path in sorted(SOURCE.glob("*")):
        if path.suffix == ".go" or path.name in ("go.mod", "go.sum"):
            made_of.update(path.name.encode() + b"\0" + path.read_bytes())
    return CACHE / f"control-plane-{made_of.hexdigest()[:16]}"


def build() -> Path:
    """Build the program unless it is there. Raises NotBuilt where Go is missing or fails."""
    target = program()
    if target.exists():
        return target
    if sys.platform != "linux" or not shutil.which("go"):
        raise NotBuilt("a real control plane takes Linux and Go 1.26 or newer on the PATH")
    target.parent.mkdir(parents=True, exist_ok=True)
    print("Building a real control plane: once, about 5 minutes on two cores", file=sys.stderr, flush=True)
    fresh = target.with_name(f"{target.name}.{os.getpid()}")
    ended = subprocess.run(["go", "build", *_FLAGS, "-o", str(fresh), "."], cwd=SOURCE, check=False)
    if ended.returncode:
        raise NotBuilt(f"go build ended with {ended.returncode} in {SOURCE}; its own message stands above")
    fresh.rename(target)
    return target


class ControlPlane:
    """``with ControlPlane() as plane``: all three processes, ready; they end with the block, or with this process.

    ``directory`` then holds ``kubeconfig`` (the admin's), ``ca.pem``, ``audit.log`` and the log of each of the three.
    """

    def __init__(self, users: Mapping[str, User] | None = None) -> None:
        sweep()
        self._temporary = tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
        self.directory = Path(self._temporary.name)
        self._lock = _locked(self.directory)
        self.disturbed = False
        """Whether a part of it was killed or stopped: others may wait half a minute before they look for it again."""
        self.users = dict(users or {})
        self._process: subprocess.Popen[str] | None = None

    @property
    def kubeconfig(self) -> Path:
        """The admin's, with everything in it."""
        return self.directory / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """One JSON object a line, as kube-apiserver writes it: every request at level Metadata."""
        return self.directory / "audit.log"

    def __enter__(self) -> ControlPlane:
        self.start()
        self.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it without waiting. Raises NotBuilt where it is not built."""
        target = program()
        if not target.exists():
            raise NotBuilt("no real control plane is built here: `make test-cluster` and `make cluster` build it")
        lines = [f'{each.token},{each.name},{each.name},"{",".join(each.groups)}"\n' for each in self.users.values()]
        if lines:
            (self.directory / "tokens.csv").write_text("".join(lines))
        with (self.directory / "up.log").open("w") as log:
            self._process = subprocess.Popen(
                [str(target), "up", str(self.directory), "--with-stdin"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
            )  # fmt: skip

    def wait(self) -> None:
        """Return when it is ready. RuntimeError with its own message where it ended."""
        if not _piped(self._process, "stdout").readline():
            told = (self.directory / "up.log").read_text()
            self.stop()
            raise RuntimeError(f"the control plane did not start:\n{told}")

    def stop(self) -> None:
        """End it, and take its files away."""
        if self._process is not None:
            _piped(self._process, "stdin").close()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            _piped(self._process, "stdout").close()
            self._process = None
        self._temporary.cleanup()
        self._lock.close()

    def kill(self, name: str) -> None:
        """SIGKILL ``etcd``, ``apiserver`` or ``controller-manager``; returns when it is gone."""
        self._command(f"kill {name}")

    def restart(self, name: str) -> None:
        """Start one that was killed, on the same port and data; returns when it is ready."""
        self._command(f"start {name}")

    def serve_with(self, name: str) -> None:
        """Put another certificate in the place of the API server's: it serves with that from its next start on.

        ``renewed`` is of the same authority, ``moved`` of ``ca-new.pem``; ``ca.pem`` holds both authorities.
        """
        self.disturbed = True
        for kind in ("pem", "key"):
            shutil.copy(self.directory / f"server-{name}.{kind}", self.directory / f"server.{kind}")

    def pause(self, name: str) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        self._command(f"pause {name}")

    def resume(self, name: str) -> None:
        """SIGCONT."""
        self._command(f"continue {name}")

    def _command(self, line: str) -> None:
        self.disturbed = True
        pipe = _piped(self._process, "stdin")
        pipe.write(line + "\n")
        pipe.flush()
        if _piped(self._process, "stdout").readline().strip() != line:
            raise RuntimeError(f"the control plane ended:\n{(self.directory / 'up.log').read_text()}")

    def compact(self) -> None:
        """Have etcd forget every version but the newest, as happens by itself every five minutes."""
        subprocess.run([str(program()), "compact", str(self.directory)], check=True, timeout=30)

    def forget(self) -> None:
        """The same, and a new API server: the old one may know from its memory what etcd has forgotten."""
        self.compact()
        self.kill("apiserver")
        self.restart("apiserver")


def sweep() -> None:
    """Take away what test runs that were killed have left: directories whose lock nobody holds."""
    for path in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*/lock"):
        with contextlib.suppress(OSError), path.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.parent, ignore_errors=True)


def _locked(directory: Path) -> IO[bytes]:
    """The directory's lock, held until it is closed: by its end this process gives it up, however it ends."""
    fresh = directory / "lock.new"
    lock = fresh.open("wb")
    fcntl.flock(lock, fcntl.LOCK_EX)
    fresh.rename(directory / "lock")  # nobody sees it unlocked
    return lock


def _piped(process: subprocess.Popen[str] | None, name: str) -> IO[str]:
    pipe = getattr(process, name)
    assert pipe is not None
    return pipe  # type: ignore[no-any-return]


def main(arguments: list[str]) -> int:
    """The command; returns the exit code."""
    try:
        build()
    except NotBuilt as problem:
        print(problem, file=sys.stderr)
        return 1
    if arguments == ["run"]:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        with contextlib.suppress(KeyboardInterrupt), ControlPlane() as plane:
            print(f"A real control plane runs until Ctrl-C:\n  export KUBECONFIG={plane.kubeconfig}", flush=True)
            signal.pause()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
