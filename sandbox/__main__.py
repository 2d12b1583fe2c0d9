"""`python -m sandbox [options] -- COMMAND...` runs a command in a sandbox; `--probe` tells on the host."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import fields, replace

import sandbox
from sandbox.codes import SETUP_FAILED


def main() -> int:
    """Parse, run, and exit as the command did; 125 if the sandbox could not be made."""
    options = _parser().parse_args()
    try:
        if options.probe:
            return _probe()
        if not options.command:
            _say("no command is given; see `python -m sandbox --help`")
            return 2
        policy = _policy(options)
        _tell_weaker(policy)
        status = sandbox.run(policy, _command(options))
        _tell(status, stats=options.stats)
        return status.returncode
    except sandbox.SandboxError as error:
        _say(error.message)
        for detail in error.details[1:]:
            _say(f"  {detail}")
        if error.hint:
            _say(f"hint: {error.hint}")
        return SETUP_FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description="Run a command in a sandbox.")
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
    add("--timeout", type=float, metavar="SECONDS", help="end everything after this long")
    add("--memory", type=_size, metavar="SIZE", help="of all processes together: 512M, 2G")
    add("--cpus", type=float, metavar="N", help="processors' worth of time")
    add("--pids", type=int, metavar="N", help="processes and threads")
    add("--cpu-time", type=int, metavar="SECONDS", help="of each process")
    add("--file-size", type=_size, metavar="SIZE", help="of the largest file")
    add("--tmp-size", type=_size, metavar="SIZE", help="of /tmp, /dev/shm and the home, each")
    add("--output", type=_size, metavar="SIZE", help="of standard output and error together")
    add("--stats", action="store_true", help="tell at the end what all processes used")
    add("--isolation", type=sandbox.Isolation, metavar="|".join(item.value for item in sandbox.Isolation))
    add("command", nargs="*", metavar="COMMAND")
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
    return ((host.strip("[]"), int(port)),)


def _size(text: str) -> int:
    """A number of bytes, or of units of 1024: `512M`."""
    unit = "KMGT".find(text[-1:].upper()) + 1 if text else 0
    return int(float(text[:-1]) * 1024**unit) if unit else int(text)


def _command(options: argparse.Namespace) -> sandbox.Command:
    return sandbox.Command(argv=tuple(options.command), cwd=options.cwd, stats=options.stats)


def _tell(status: sandbox.ExitStatus, *, stats: bool) -> None:
    """What the command met that its exit code does not say, and what it used if that was asked."""
    for line in () if status.network is None else status.network.lines():
        _say(line)
    for reached in status.reached:
        _say(reached.sentence)
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
