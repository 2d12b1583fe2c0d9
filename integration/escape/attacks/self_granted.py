"""Grant yourself the caller's home, variables, network and weaker isolation, in your own `pyproject.toml`.

The attacker wrote a project that was just cloned; the victim types one command in it. Nothing has to break out
where the project's own file opens the door, so what it opens must wait for the user's word. What was trusted
once must not serve for what is granted later.
Source: `git clone URL && cd NAME && pypm run pytest`, as any README has it.
"""

import os
import socket
from pathlib import Path

from attempt import FACTS, denied, hidden, works

WAYS = ("run", "shell", "editable")


def prepare(arena):
    arena.facts(secret=str(arena.home / ".ssh" / "id_secret"), port=arena.listen())


def afterwards(arena):
    return arena.reached()


def outside(arena, way):
    profile = "build" if way.name == "editable" else way.name
    less = f'\n[tool.pypm.sandbox.{profile}]\nallow-env = ["NOTHING"]\n'
    more = (
        f"\n[tool.pypm.sandbox.{profile}]\n"
        'allow-read = ["~/.ssh"]\nallow-env = ["ESCAPE_SECRET"]\nallow-net = true\nisolation = "landlock"\n'
    )
    try:
        way.further = more
        shown = _judge(arena, way, "what a cloned project grants itself")
        way.further = less
        way.command(["self_granted"])
        arena.host([*arena.pypm, "trust", "--yes"], cwd=arena.project)
        way.further = more
        shown += _judge(arena, way, "more than was consented to")
        arena.host([*arena.pypm, "trust", "--yes"], cwd=arena.project)
        arena.host([*arena.pypm, "trust", "--revoke"], cwd=arena.project)
        shown += _judge(arena, way, "a consent that was revoked")
        # What goes on: the same project without its grants. A build has no flag to go without.
        way.further = "" if profile == "build" else more
        return shown + way.enter(["self_granted"], ("--no-grants",))
    finally:
        way.further = ""
        way.command(["self_granted"])


def _judge(arena, way, name):
    """Nothing may have run, and the refusal must name what was asked for."""
    if way.name == "shell":
        # On a terminal the user is asked, and says no.
        printed = arena.type(way.command(["self_granted"]), "n\n")
    else:
        printed = way.enter(["self_granted"])
    told = b"you have not consented to it" in printed and b"the variable `ESCAPE_SECRET`" in printed
    ran = b"@done" in printed or b"@works" in printed or arena.token.encode() in printed
    verdict = "denied" if told and not ran else "escaped"
    return f"@{verdict}|{name}|{' '.join(printed.decode('utf-8', 'replace').split())[-150:]}\n".encode()


def inside():
    denied("the home's key", lambda: Path(FACTS["secret"]).read_text())
    hidden("the caller's variable", lambda: os.environ.get("ESCAPE_SECRET"))
    denied("the host's loopback", lambda: socket.create_connection(("127.0.0.1", FACTS["port"]), 5))
    works("the project itself", lambda: Path("attack/attempt.py").read_bytes())
    works("writing in it", lambda: Path("attack/own").write_text("x"))
