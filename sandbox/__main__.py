"""`python -m sandbox [options] -- COMMAND...` runs a command in a sandbox; `--probe` tells on the host."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from dataclasses import fields, replace
from typing import NoReturn

import sandbox
from sandbox.codes import SETUP_FAILED

USAGE = 2
"""Exit code of a mistake in the command line."""


def main() -> int:
    """Parse, run, and exit as the command did; 125 if the sandbox could not be made."""
    parser = _parser()
    options = parser.parse_args()
    # What follows the command's name is its own; the dashes that may stand before it are nobody's.
    options.command = options.command[options.command[:1] == ["--"] :]
    try:
        if options.probe:
            return _probe()
        if not options.command:
            parser.error("no command is given")
        policy = _policy(options)
        _tell_weaker(policy)
        status = sandbox.run(policy, _command(options))
        _tell(status, options.command[0], stats=options.stats)
        return status.returncode
    except sandbox.SandboxError as error:
        _say(error.message)
        for detail in error.details[1:]:
            _say(f"  {detail}")
        if error.hint:
            _say(f"hint: {error.hint}")
        return SETUP_FAILED


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line and a hint; the whole usage is there for who asks for it."""
        _say(message)
        _say("hint: `python -m sandbox --help` lists what it understands")
        raise SystemExit(USAGE)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="python -m sandbox",
        description="Run a command in a sandbox.",
        epilog="The exit code is the command's own; 124 timed out, 125 no sandbox, 126, 127 not started.",
    )
    add = parser.add_argument
    add("--probe", action="store_true", help="print what this host can enforce, and why not")
    add("--bind", action="append", default=[], metavar="PATH", help="show a path read-only")
    add("--write", action="append", default=[], metavar="PATH", help="show a path for writing")
    add("--protect", action="append", default=[], metavar="PATH", help="read-only within a --write path")
    add("--env", action="append", default=[], metavar="NAME[=VALUE]", help="set or pass a variable")
    add("--cwd", default="/", help="working directory inside")
    add("--net", action="store_true", help="use the host's network instead of none")
    add("--allow-net", action="append", default=[], type=_host, metavar="HOST[:PORT]", help="reach this host")
    add("--allow-net-into", action="append", default=[], metavar="CIDR", help="names may point in here")
    add("--pty", action="store_true", help="give the command a terminal of its own")
    add("--timeout", type=_number, metavar="SECONDS", help="end everything after this long")
    add("--memory", type=_size, metavar="SIZE", help="of all processes together: 512M, 2G")
    add("--cpus", type=_number, metavar="N", help="processors' worth of time")
    add("--pids", type=_whole, metavar="N", help="processes and threads")
    add("--cpu-time", type=_whole, metavar="SECONDS", help="of each process")
    add("--file-size", type=_size, metavar="SIZE", help="of the largest file")
    add("--tmp-size", type=_size, metavar="SIZE", help="of /tmp, /dev/shm and the home, each")
    add("--output", type=_size, metavar="SIZE", help="of standard output and error together")
    add("--stats", action="store_true", help="tell at the end what all processes used")
    names = "|".join(item.value for item in sandbox.Isolation)
    add("--isolation", type=_isolation, metavar=names, help="use this isolation, which may be a weaker one")
    add("command", nargs=argparse.REMAINDER, metavar="COMMAND", help="the program and its arguments")
    return parser


def _policy(options: argparse.Namespace) -> sandbox.Policy:
    binds = [sandbox.Mount.bind(os.path.realpath(path)) for path in options.bind]
    writable = [sandbox.Mount.bind(os.path.realpath(path), writable=True) for path in options.write]
    protected = [sandbox.Mount.protect(os.path.abspath(path)) for path in options.protect]  # noqa: PTH100
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "TERM": os.environ.get("TERM", "dumb")}
    for word in options.env:
        name, equals, value = word.partition("=")
        if equals or name in os.environ:
            environment[name] = value if equals else os.environ[name]
    policy = sandbox.Policy(
        mounts=(*binds, *writable, *protected),
        network=_network(options),
        environment=tuple(environment.items()),
        home="/home/sandbox",
        limits=_limits(options),
        terminal=sandbox.Terminal.PTY if options.pty else sandbox.Terminal.DETACHED,
        isolation=options.isolation,
    )
    return policy if options.tmp_size is None else replace(policy, temporary_size_bytes=options.tmp_size)


def _network(options: argparse.Namespace) -> sandbox.Network:
    if options.net:
        return sandbox.Network.HOST
    if not options.allow_net and not options.allow_net_into:
        return sandbox.Network.NONE
    pairs = dict.fromkeys(pair for pairs in options.allow_net for pair in pairs)
    return sandbox.Network.hosts(*pairs, networks=tuple(options.allow_net_into))


def _limits(options: argparse.Namespace) -> sandbox.Limits:
    return sandbox.Limits(
        wall_clock_seconds=options.timeout,
        memory_bytes=options.memory,
        processes=options.pids,
        cpus=options.cpus,
        cpu_seconds=options.cpu_time,
        file_size_bytes=options.file_size,
        output_bytes=options.output,
    )


def _host(text: str) -> tuple[tuple[str, int], ...]:
    """`HOST`, which means the ports of the web, or `HOST:PORT`, `[ADDRESS]:PORT`."""
    host, colon, port = text.rpartition(":")
    if not colon or (host.count(":") and not host.endswith("]")):
        return ((text, 443), (text, 80))
    if not port.isdecimal():
        raise argparse.ArgumentTypeError(f"`{text}` is not HOST or HOST:PORT")
    return ((host.strip("[]"), int(port)),)


def _size(text: str) -> int:
    """A number of bytes, or of units of 1024: `512M`."""
    unit = "KMGT".find(text[-1:].upper()) + 1 if text else 0
    try:
        return int(float(text[:-1]) * 1024**unit) if unit else int(text)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"`{text}` is not a size such as 512M or 2G") from None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number") from None


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"`{text}` is not a whole number") from None


def _isolation(text: str) -> sandbox.Isolation:
    try:
        return sandbox.Isolation(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"there is no isolation `{text}`") from None


def _command(options: argparse.Namespace) -> sandbox.Command:
    return sandbox.Command(argv=tuple(options.command), cwd=options.cwd, stats=options.stats)


def _tell(status: sandbox.ExitStatus, word: str, *, stats: bool) -> None:
    """What the command met and how it was ended, which it cannot say itself; its usage if asked for."""
    for line in () if status.network is None else status.network.lines():
        _say(line)
    for reached in status.reached:
        _say(reached.sentence)
    if status.unstarted is not None:
        _say(f"`{word}` cannot be started inside: {os.strerror(status.unstarted)}")
    elif status.lost:
        _say(f"`{status.lost}` was replaced from outside, so the run was ended")
    elif status.timed_out:
        _say(f"`{word}` was ended at its time limit")
    elif status.signal is not None and not status.reached:
        _say(f"`{word}` was ended by signal {status.signal} ({signal.strsignal(status.signal)})")
    for line in status.usage.lines() if stats else ():
        _say(line)


def _probe() -> int:
    """One line a fact; 1 if the namespaces backend does not work here."""
    host = sandbox.probe()
    for item in fields(host):
        value = getattr(host, item.name)
        if value is not None:
            sys.stdout.write(f"{item.name.replace('_', ' ')}: {value}\n")
    return 0 if host.namespaces else 1


def _tell_weaker(policy: sandbox.Policy) -> None:
    """Less than everything is only ever asked for by name, and never goes unsaid."""
    if policy.isolation is None or not policy.isolation.in_place:
        return
    coverage = sandbox.choose_backend(policy).coverage()
    if not coverage.guarantees:
        return  # There is none of it here, which the attempt says better.
    missing = coverage.missing(frozenset(sandbox.Guarantee))
    names = ", ".join(item.value for item in missing)
    _say(f"weaker isolation: `{policy.isolation.value}` does not guarantee {names}")


def _say(text: str) -> None:
    """Names in a policy or from the network are shown, and not obeyed by the terminal."""
    shown = "".join(character if character.isprintable() else "\ufffd" for character in text)
    sys.stderr.write(f"sandbox: {shown}\n")


if __name__ == "__main__":
    sys.exit(main())
