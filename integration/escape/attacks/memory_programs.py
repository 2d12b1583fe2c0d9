"""Execute a program that is no file: memfd and fexecve, and look whether it is still confined.

Source: memfd_create(2), fexecve(3).
"""

import os
import subprocess

from attempt import FACTS, call, denied, works


def prepare(arena):
    arena.facts(secret=str(arena.home / ".ssh" / "id_secret"))


def _copy(program):
    descriptor = call("memfd_create", b"x", 0)
    with open(program, "rb") as source:
        os.write(descriptor, source.read())
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def inside():
    works(
        "executing from memory", lambda: subprocess.run([_copy("/usr/bin/true")], check=True).returncode == 0
    )
    denied(
        "reading a secret from there",
        lambda: subprocess.run([_copy("/usr/bin/cat"), FACTS["secret"]], check=True, capture_output=True),
    )
    denied(
        "mounting from there",
        lambda: subprocess.run(
            [_copy("/usr/bin/mount"), "-t", "tmpfs", "x", "/tmp"], check=True, capture_output=True
        ),
    )
