"""The command. Thin: arguments in, exit code out.

Exit codes: 0 nothing is left to do; 2 drift remains (with the reasons on stdout); 1 an error, told on stderr as what
went wrong, where, and what to do next; 64 wrong arguments.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from agent import garbage

EXIT_OK, EXIT_ERROR, EXIT_DRIFT, EXIT_USAGE = 0, 1, 2, 64


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> None:  # type: ignore[override]
        self.print_usage(sys.stderr)
        self.exit(EXIT_USAGE, f"{self.prog}: {message}\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    arguments = parser().parse_args(argv)
    try:
        code = int(arguments.func(arguments))
        sys.stdout.flush()  # here, where it can still be said that it failed
        return code
    except KeyboardInterrupt:
        return EXIT_ERROR
    except ModuleNotFoundError as error:
        if error.name != "trustme":  # the one package that only the embedded world needs
            raise
        sys.stderr.write("secret-drift-agent: the sandbox needs trustme: install secret-drift-agent[sandbox]\n")
        return EXIT_ERROR
    except BrokenPipeError:
        _forget_stdout()
        return EXIT_ERROR
    except Exception as error:  # noqa: BLE001 - the interpreter would tell its words, which may quote a value
        from agent.report.failures import last_words

        last_words(error)
        _forget_stdout()
        return EXIT_ERROR


def _forget_stdout() -> None:
    """What could not be written is not tried again at the end of the process, which would complain of it."""
    with contextlib.suppress(OSError, ValueError):  # replaced by something without a file behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = _Parser(prog="secret-drift-agent", description="Heals what still runs on an old Azure Key Vault secret.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)
    _run_parser(commands)
    _once_parser(commands)
    _scan_parser(commands)
    _explain_parser(commands)
    _asking_parsers(commands)
    _storm_parser(commands)
    _doctor_parser(commands)
    from agent.policy import cli as policy_cli
    from agent.sandbox import cli as sandbox_cli

    policy_cli.add_parser(commands).set_defaults(func=policy_cli.run)
    sandbox_cli.add_parser(commands)
    demo = commands.add_parser("demo", help="watch the agent heal the embedded world")
    demo.add_argument("--keep", action="store_true", help="leave the world running afterwards, for scan and explain")
    demo.add_argument("--dir", type=Path, help="where the world's files go (default: a temporary directory)")
    demo.set_defaults(func=_demo)
    return top


def _common(command: argparse.ArgumentParser) -> None:
    command.add_argument("--kubeconfig", help="default: in-cluster, else $KUBECONFIG or ~/.kube/config")
    command.add_argument("--context", help="context of the kubeconfig")
    command.add_argument("--policy", type=Path, metavar="FILE", help="default: the installed one; run, once: observe")
    command.add_argument(
        "-n", "--namespace", action="append", default=[], metavar="NAME", help="repeatable; default: all",
    )  # fmt: skip
    command.add_argument(
        "--agent-namespace", default=os.environ.get("SECRET_DRIFT_AGENT_NAMESPACE", "secret-drift-agent"),
        metavar="NAME", help="where the ledger lives (default: $SECRET_DRIFT_AGENT_NAMESPACE or secret-drift-agent)",
    )  # fmt: skip
    command.add_argument(
        "--vault-credential", default="auto",
        choices=("auto", "workload-identity", "managed-identity", "cli", "environment"),
    )  # fmt: skip
    command.add_argument("--log-format", choices=("json", "console"), default="json")
    command.add_argument("--log-level", choices=("debug", "info", "warning", "error"), default="info")


def _run_parser(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser("run", help="follow the cluster and heal, until stopped")
    _common(command)
    command.add_argument("--host", default="0.0.0.0", help="where /metrics, /healthz and /readyz listen")  # noqa: S104
    command.add_argument("--port", type=int, default=8080, help="0: any free one, told in the log")
    command.add_argument("--tls-cert", type=Path, metavar="FILE", help="PEM; the port speaks HTTPS, probes included")
    command.add_argument("--tls-key", type=Path, metavar="FILE", help="PEM; both files are read again when they change")
    command.add_argument("--metrics-token-file", type=Path, metavar="FILE", help="/metrics only for who brings it")
    command.set_defaults(func=_run)


def _once_parser(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser("once", help="one comparison, and the healing it calls for, within a deadline")
    _common(command)
    command.add_argument("--deadline", type=_seconds, default=300.0, metavar="DURATION", help="default: 5m")
    command.add_argument(
        "--push-gateway", type=_address, default=os.environ.get("SECRET_DRIFT_PUSH_GATEWAY") or None, metavar="URL",
        help="a Pushgateway that is told how the run ended (default: $SECRET_DRIFT_PUSH_GATEWAY)",
    )  # fmt: skip
    command.add_argument(
        "--push-group", type=_group, default=os.environ.get("SECRET_DRIFT_PUSH_GROUP") or "", metavar="NAME",
        help="keeps several clusters or CronJobs apart there (default: $SECRET_DRIFT_PUSH_GROUP)",
    )  # fmt: skip
    command.add_argument("--push-gateway-ca", type=Path, metavar="FILE", help="PEM; default: the system's CAs")
    command.add_argument("--push-gateway-token-file", type=Path, metavar="FILE", help="sent as a bearer token")
    command.set_defaults(func=_once)


def _scan_parser(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser("scan", help="show every drift, suspect and unknown; write nothing")
    _common(command)
    command.add_argument("-o", "--output", choices=("table", "json", "markdown"), default="table")
    command.set_defaults(func=_scan)


def _explain_parser(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser("explain", help="one chain as a tree: what each container runs, what would be done")
    _common(command)
    command.add_argument("chain", metavar="NAMESPACE/NAME", help="an ExternalSecret")
    command.add_argument("-o", "--output", choices=("tree", "json"), default="tree")
    command.set_defaults(func=_explain)


def _asking_parsers(commands: argparse._SubParsersAction[_Parser]) -> None:
    heal = commands.add_parser("heal", help="heal one chain now, by the leader, through the same gates; follow it")
    heal.add_argument("target", metavar="NAMESPACE/NAME", help="an ExternalSecret")
    heal.add_argument("--dry-run", action="store_true", help="say what would be done, and what refuses it")
    resume = commands.add_parser("resume", help="end the halt of a workload: what is stale is recycled again")
    resume.add_argument("target", metavar="NAMESPACE/WORKLOAD")
    for command in (heal, resume):
        _common(command)
        command.add_argument("--deadline", type=_seconds, default=900.0, metavar="DURATION", help="default: 15m")
        command.set_defaults(func=_ask)
    resume.set_defaults(dry_run=False)


def _storm_parser(commands: argparse._SubParsersAction[_Parser]) -> None:
    storm = commands.add_parser("storm", help="too many workloads would be recycled at once: what a person says to it")
    words = storm.add_subparsers(dest="word", required=True, metavar="WORD", parser_class=_Parser)
    ack = words.add_parser(
        "ack", help="it is wanted: for a while the blast radius holds nothing back; every other gate does",
    )  # fmt: skip
    _common(ack)
    ack.add_argument(
        "--for", dest="seconds", type=_storm_span, default=3600.0, metavar="DURATION",
        help="from now on; default: 1h, at most 24h; another one replaces it",
    )  # fmt: skip
    ack.set_defaults(func=_storm)


def _doctor_parser(commands: argparse._SubParsersAction[_Parser]) -> None:
    command = commands.add_parser(
        "doctor", help="can the agent do its work here, and what is missing; writes nothing",
        description="Exit codes: 0 nothing is to be done (warnings allowed), 2 something is, 1 it could not look.",
    )  # fmt: skip
    _common(command)
    command.add_argument("-o", "--output", choices=("table", "json"), default="table")
    command.set_defaults(func=_doctor)


def _seconds(text: str) -> float:
    from agent.policy.fields import parse_duration  # where somebody names one

    try:
        return parse_duration(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from None


def _storm_span(text: str) -> float:
    from agent.ledger.requests import LONGEST_ACK  # for this command alone

    seconds = _seconds(text)
    if 0 < seconds <= LONGEST_ACK:
        return seconds
    raise argparse.ArgumentTypeError(f"expected more than 0s and at most 24h; found {text!r}")


def _address(text: str) -> str:
    """Quotes nothing of what is wrong: it may hold a password."""
    wanted = (
        "expected http://HOST[:PORT][/PATH] or https://..., without a password (there is --push-gateway-token-file)"
    )
    try:
        parts = urlsplit(text)
        fits = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        fits = False
    if not fits or "@" in text or "?" in text or "#" in text or not text.isascii() or not text.isprintable():
        raise argparse.ArgumentTypeError(wanted)
    return text.rstrip("/")


def _group(text: str) -> str:
    if text and not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", text):
        raise argparse.ArgumentTypeError("expected up to 63 letters, digits, '.', '_' and '-', as of a label's value")
    return text


def _run(arguments: argparse.Namespace) -> int:
    garbage.rest()
    if (arguments.tls_cert is None) != (arguments.tls_key is None):
        sys.stderr.write("--tls-cert and --tls-key belong together: give both or neither\n")
        return EXIT_USAGE
    from agent.start import running

    with running(arguments) as started:
        if started.maker is None:
            return EXIT_ERROR
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: started.stop())
        return started.run(arguments.host, arguments.port)


def _once(arguments: argparse.Namespace) -> int:
    garbage.rest()
    from agent.start import running

    with running(arguments) as started:
        signal.signal(signal.SIGTERM, lambda *_: started.stop())
        return started.once(arguments.deadline, sys.stdout)


def _scan(arguments: argparse.Namespace) -> int:
    garbage.rest()
    from agent.start import running

    with running(arguments) as started:
        return started.scan(arguments.output, sys.stdout) if started.maker is not None else EXIT_ERROR


def _ask(arguments: argparse.Namespace) -> int:
    garbage.rest()
    from agent.start import running

    pair = _pair(
        arguments.target, "an ExternalSecret" if arguments.command == "heal" else "a workload", arguments.namespace
    )
    if pair is None:
        return EXIT_USAGE
    arguments.namespace = [pair[0]]
    with running(arguments) as started:
        if started.maker is None:
            return EXIT_ERROR
        signal.signal(signal.SIGTERM, lambda *_: started.stop())
        return started.ask(arguments.command, *pair, arguments.deadline, sys.stdout, dry_run=arguments.dry_run)


def _storm(arguments: argparse.Namespace) -> int:
    garbage.rest()
    from agent.start import running

    with running(arguments) as started:
        if started.maker is None:
            return EXIT_ERROR
        signal.signal(signal.SIGTERM, lambda *_: started.stop())
        return started.acknowledge(arguments.seconds, sys.stdout)


def _pair(text: str, what: str, namespaces: Sequence[str]) -> tuple[str, str] | None:
    """``namespaces``: those of -n, which can say nothing else."""
    namespace, slash, name = text.partition("/")
    if not (namespace and slash and name) or "/" in name:
        sys.stderr.write(f"expected NAMESPACE/NAME of {what}; found {text!r}\n")
    elif not set(namespaces) <= {namespace}:
        sys.stderr.write(f"{text} names its namespace: leave out -n, or name the same\n")
    else:
        return namespace, name
    return None


def _explain(arguments: argparse.Namespace) -> int:
    garbage.rest()
    from agent.start import running

    pair = _pair(arguments.chain, "an ExternalSecret", arguments.namespace)
    if pair is None:
        return EXIT_USAGE
    namespace, name = pair
    arguments.namespace = [namespace]
    with running(arguments) as started:
        if started.maker is None:
            return EXIT_ERROR
        return started.explain(namespace, name, arguments.output, sys.stdout)


def _doctor(arguments: argparse.Namespace) -> int:
    garbage.rest()
    from agent.doctor.command import doctor

    return doctor(arguments, sys.stdout)


def _demo(arguments: argparse.Namespace) -> int:
    from agent.sandbox import demo

    return demo.main(keep=arguments.keep, directory=arguments.dir)
