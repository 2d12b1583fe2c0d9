"""Every version of every symbol and every library, for every policy and architecture: promised or not?"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).resolve().parents[2] / "pypm" / "plugins" / "native" / "auditwheel"
_LIBRARIES = ("libc.so.6", "libm.so.6", "libcurl.so.4", "libssl.so.3", "libpython3.11.so.1.0", "libgomp.so.1")
"""Besides those that any policy promises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One thing that a wheel could need."""

    tag: str
    kind: str
    """`v` for a version, `l` for a library."""
    what: str
    is_promised: bool
    """What PyPA's policy says."""


def questions(policies: Path) -> Iterator[Question]:
    """Yield every question that PyPA's tables answer.

    A version that no policy of an architecture knows is left out: there is no such symbol on it, so no file
    can need it.
    """
    for name in ("manylinux-policy.json", "musllinux-policy.json"):
        table = [policy for policy in json.loads((policies / name).read_bytes()) if policy["priority"]]
        libraries = {library for policy in table for library in policy["lib_whitelist"]}
        for policy in table:
            for machine in policy["symbol_versions"]:
                for alias in (policy["name"], *policy["aliases"]):
                    tag = f"{alias}_{machine}"
                    yield from _versions(table, policy, machine, tag)
                    for library in sorted(libraries.union(_LIBRARIES)):
                        # musl's library has the machine in its name; both spellings are the same library.
                        promised = library in policy["lib_whitelist"]
                        yield Question(tag=tag, kind="l", what=library, is_promised=promised)


def _versions(table: list[Any], policy: Any, machine: str, tag: str) -> Iterator[Question]:
    promised = {
        f"{family}_{version}"
        for family, versions in policy["symbol_versions"][machine].items()
        for version in versions
    }
    known = {
        f"{family}_{version}"
        for other in table
        for family, versions in other["symbol_versions"].get(machine, {}).items()
        for version in versions
    }
    for version in sorted(known):
        yield Question(tag=tag, kind="v", what=version, is_promised=version in promised)


def answers(program: Path, asked: list[Question]) -> list[bool]:
    """Ask our policy."""
    text = "".join(f"{one.kind} {one.tag} {one.what}\n" for one in asked)
    done = subprocess.run([str(program)], input=text, capture_output=True, text=True, check=True)
    return [line == "1" for line in done.stdout.split()]


def build(folder: Path) -> Path:
    """Compile the program that answers."""
    program = folder / "policy"
    driver = Path(__file__).with_name("policy_driver.c")
    argv = ["cc", "-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{SOURCES}", "-o", str(program), str(driver)]
    subprocess.run([*argv, str(SOURCES / "platform_policy.c")], check=True)
    return program
