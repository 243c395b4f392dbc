"""``secret-drift-agent sandbox``: the embedded world alone, and what talks to it while it runs.

Everything heavy is imported late: the command line is parsed without the sandbox, which is an optional extra.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

DEFAULT_DIRECTORY = Path(".sandbox")
EXIT_OK, EXIT_ERROR = 0, 1

_STARTED = """\
A cluster, vaults and External Secrets Operator run on this machine until you stop them (Ctrl-C).
  {directory}/kubeconfig   the cluster, as the agent sees it
  {directory}/ca.pem       the authority of its certificates and the vaults'
  {directory}/env          all variables that the agent needs
In another terminal:
  . {directory}/env
  secret-drift-agent scan
  secret-drift-agent sandbox load --dir {directory} FILE
  secret-drift-agent sandbox status --dir {directory}
  secret-drift-agent sandbox rotate --dir {directory} VAULT/NAME
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The command by itself; returns the exit code."""
    parser = argparse.ArgumentParser(prog="secret-drift-agent sandbox", description=__doc__.partition("\n")[0])
    add_arguments(parser)
    return run(parser.parse_args(argv))


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Add ``sandbox`` to the subcommands of a parser; its ``func`` is ``run``."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "sandbox", help="the embedded world: a cluster, vaults and ESO on this machine"
    )
    add_arguments(parser)
    parser.set_defaults(func=run)
    return parser


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """All arguments and subcommands."""
    parser.add_argument("--dir", type=Path, default=DEFAULT_DIRECTORY, help="where its files are (default: .sandbox)")
    parser.add_argument(
        "--load", type=Path, metavar="FILE", action="append", default=[], help="a world file to start with"
    )
    parser.add_argument("--nodes", type=_count, default=3, help="how many nodes the cluster has (default: 3)")
    parser.set_defaults(sandbox=_serve)
    commands = parser.add_subparsers(metavar="ACTION", help="none: run the world until stopped")

    def action(name: str, does: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
        made.add_argument("--dir", type=Path, default=argparse.SUPPRESS, help="where its files are (default: .sandbox)")
        made.set_defaults(sandbox=does)
        return made

    load = action("load", _load, "put the vault secrets and objects of a world file into the world")
    load.add_argument("file", type=Path, metavar="FILE")
    rotate = action("rotate", _rotate, "write a new version of a vault secret")
    rotate.add_argument("secret", type=_vault_secret, metavar="VAULT/NAME")
    rotate.add_argument("--value", help="default: a random one")
    rotate.add_argument("--age", metavar="SPAN", help="how old it shall be, such as 7d (default: new)")
    rotate.add_argument("--disabled", action="store_true", help="write it disabled")
    secret = action("secret", _secret, "enable or disable the newest version, delete or recover a vault secret")
    secret.add_argument("action", choices=("enable", "disable", "delete", "recover"))
    secret.add_argument("secret", type=_vault_secret, metavar="VAULT/NAME")
    fault = action(
        "fault", _fault, "make something go wrong: api 503 verb=list, vault 403 identity=eso, eso pause, clear"
    )
    fault.add_argument("target", metavar="api|vault|eso|node|clear")
    fault.add_argument("fault", nargs="?", default="", metavar="WHAT")
    fault.add_argument("select", nargs="*", type=_selector, metavar="KEY=VALUE", help="for which requests; times=N")
    advance = action("advance", _advance, "move the world's clock forward")
    advance.add_argument("by", metavar="SPAN", help="such as 3h or 90s; a bare number is seconds")
    backend = action("backend", _backend, "say whether a backend of the applications accepts a secret's newest value")
    backend.add_argument("backend")
    backend.add_argument("action", choices=("accept", "reject", "only"))
    backend.add_argument("secret", type=_vault_secret, metavar="VAULT/NAME")
    restart = action("restart", _restart, "end a container's run; its pod starts it again")
    restart.add_argument("pod", metavar="NAMESPACE/POD")
    restart.add_argument("container")
    status = action("status", _status, "show vaults, ExternalSecrets, and which version each container holds")
    status.add_argument("-o", "--output", choices=("table", "json"), default="table")


def run(arguments: argparse.Namespace) -> int:
    """Carry out what was asked for; returns the exit code. Errors go to stderr."""
    from agent.sandbox.needs import missing

    if lacking := missing():
        return _complain(f"the sandbox needs {lacking}: install secret-drift-agent[sandbox]")
    from agent.sandbox.admin import NoSandbox, Refused

    try:
        return int(arguments.sandbox(arguments))
    except NoSandbox as error:
        return _complain(f"{error}. Start one: secret-drift-agent sandbox --dir {arguments.dir}")
    except Refused as error:
        return _complain(str(error))
    except OSError as error:
        return _complain(f"{error.filename or arguments.dir}: {error.strerror or error}")


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError(f"expected a number from 1 to 100; found {text!r}")
    return int(text)


def _vault_secret(text: str) -> tuple[str, str]:
    vault, slash, name = text.partition("/")
    if not (vault and slash and name) or "/" in name:
        raise argparse.ArgumentTypeError(f"expected VAULT/NAME, such as prod-kv/api-key; found {text!r}")
    return vault, name


def _selector(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals and value):
        raise argparse.ArgumentTypeError(f"expected KEY=VALUE, such as verb=list; found {text!r}")
    return key, value


def _complain(text: str) -> int:
    sys.stderr.write(f"secret-drift-agent: {text}\n")
    return EXIT_ERROR


def _say(text: str) -> int:
    sys.stdout.write(text.rstrip("\n") + "\n")
    sys.stdout.flush()
    return EXIT_OK


def _serve(arguments: argparse.Namespace) -> int:
    from agent.sandbox.admin import NoSandbox, ask
    from agent.sandbox.worldfile import WorldFileError, parse

    try:
        worlds = [parse(file.read_text()) for file in arguments.load]
    except WorldFileError as error:
        return _complain(f"{error}")
    try:
        ask(arguments.dir, "status")
    except NoSandbox:
        return asyncio.run(_serve_until_stopped(arguments, worlds))
    return _complain(f"a sandbox runs in {arguments.dir} already; stop it, or choose another --dir")


async def _serve_until_stopped(arguments: argparse.Namespace, worlds: list[Any]) -> int:
    from agent.sandbox.admin import AdminServer
    from agent.sandbox.client import ApiError
    from agent.sandbox.files import write_files
    from agent.sandbox.world import Options, Sandbox
    from agent.sandbox.worldfile import WorldFileError, load

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    options = Options(nodes=tuple(f"node-{number}" for number in range(1, arguments.nodes + 1)))
    async with Sandbox(options, strict=False) as sandbox:
        write_files(sandbox, arguments.dir)
        async with AdminServer(sandbox, arguments.dir):
            try:
                for world in worlds:
                    await load(sandbox, world)
            except (WorldFileError, ApiError) as error:
                return _complain(str(error))
            _say(_STARTED.format(directory=arguments.dir))
            await stopped.wait()
    return EXIT_OK


def _ask(arguments: argparse.Namespace, operation: str, **told: Any) -> Any:
    from agent.sandbox.admin import ask

    return ask(arguments.dir, operation, told)


def _load(arguments: argparse.Namespace) -> int:
    answer = _ask(arguments, "load", text=arguments.file.read_text())
    return _say(f"loaded {answer['loaded']}")


def _rotate(arguments: argparse.Namespace) -> int:
    vault, name = arguments.secret
    told: dict[str, Any] = {"enabled": not arguments.disabled}
    if arguments.value is not None:
        told["value"] = arguments.value
    if arguments.age is not None:
        told["created"] = f"-{arguments.age}"
    answer = _ask(arguments, "rotate", vault=vault, secret=name, **told)
    state = "" if answer["enabled"] else ", disabled"
    return _say(f"{vault}/{name} is now {answer['label']} (version {answer['version']}{state})")


def _secret(arguments: argparse.Namespace) -> int:
    vault, name = arguments.secret
    _ask(arguments, "secret", vault=vault, secret=name, action=arguments.action)
    return _say(f"{arguments.action}: {vault}/{name}")


def _fault(arguments: argparse.Namespace) -> int:
    if arguments.target == "clear":
        _ask(arguments, "clear")
        return _say("no faults")
    answer = _ask(arguments, "fault", target=arguments.target, fault=arguments.fault, select=dict(arguments.select))
    return _say("\n".join(answer["faults"]) or "done")


def _advance(arguments: argparse.Namespace) -> int:
    by: float | str = float(arguments.by) if arguments.by.replace(".", "", 1).isdecimal() else arguments.by
    return _say(f"it is now {_ask(arguments, 'advance', by=by)['time']} in the world")


def _backend(arguments: argparse.Namespace) -> int:
    vault, name = arguments.secret
    _ask(arguments, "backend", backend=arguments.backend, action=arguments.action, vault=vault, secret=name)
    return _say(f"{arguments.backend}: {arguments.action} the newest value of {vault}/{name}")


def _restart(arguments: argparse.Namespace) -> int:
    namespace, _, pod = arguments.pod.partition("/")
    _ask(arguments, "restart", namespace=namespace, pod=pod, container=arguments.container)
    return _say(f"restarted {arguments.container} of {arguments.pod}")


def _status(arguments: argparse.Namespace) -> int:
    answer = _ask(arguments, "status")
    if arguments.output == "json":
        return _say(json.dumps(answer, indent=2))
    from agent.sandbox.tables import status_text

    return _say(status_text(answer))
