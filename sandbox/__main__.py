"""`python -m sandbox [options] -- COMMAND...` runs a command in a sandbox; `--probe` tells on the host."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import fields

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
        return sandbox.run(policy, _command(options)).returncode
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
    add("--pty", action="store_true", help="give the command a terminal of its own")
    add("--timeout", type=float, metavar="SECONDS")
    add("--memory", type=int, metavar="BYTES", help="address space of each process")
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
    return sandbox.Policy(
        mounts=(*binds, *writable, *protected),
        network=sandbox.Network.HOST if options.net else sandbox.Network.NONE,
        environment=tuple(environment.items()),
        home="/home/sandbox",
        limits=sandbox.Limits(wall_clock_seconds=options.timeout, memory_bytes=options.memory),
        terminal=sandbox.Terminal.PTY if options.pty else sandbox.Terminal.DETACHED,
        isolation=options.isolation,
    )


def _command(options: argparse.Namespace) -> sandbox.Command:
    return sandbox.Command(argv=tuple(options.command), cwd=options.cwd)


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
    sys.stderr.write(f"sandbox: {text}\n")


if __name__ == "__main__":
    sys.exit(main())
