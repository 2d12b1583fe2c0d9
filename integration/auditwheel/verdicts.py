"""What the two programs say of one wheel: does it keep what its strictest platform tag promises?"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_HEADERS = Path(__file__).resolve().parents[2] / "pypm" / "plugins"
_DRIVER = Path(__file__).resolve().parents[2] / "tests" / "plugins" / "audit_driver.c"
_OLD_NAMES = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
_TAG = re.compile(r"(?:(manylinux|musllinux)_(\d+)_(\d+)|(manylinux1|manylinux2010|manylinux2014))_(\w+)")
_ABOUT_THE_TAG = (
    "needs `",
    "is built for another machine",
    "is compiled code in a wheel",
    "begins as an ELF",
)
"""Findings that PyPA's program looks for too. Stack, RELRO and search paths are ours alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One program's."""

    keeps: bool
    why: str


def strictest(name: str) -> tuple[str, tuple[int, int], str] | None:
    """Return family, version of the C library and machine of the strictest tag; None for another platform."""
    tags = [_TAG.fullmatch(tag) for tag in name.removesuffix(".whl").rpartition("-")[2].split(".")]
    read = [
        (found[1] or "manylinux", _OLD_NAMES.get(found[4] or "") or (int(found[2]), int(found[3])), found[5])
        for found in tags
        if found
    ]
    return min(read, key=lambda one: one[1]) if read else None


def pypa(program: Path, wheel: Path) -> Verdict:
    """Run PyPA's program: the tag that it finds must be as strict as the wheel's own, or stricter.

    It is given no folder of this machine to find libraries in: what is installed here says nothing of it,
    and it trips over linker scripts such as `libc.so` of the C compiler.
    """
    done = subprocess.run(
        [str(program), "show", "--json", "--disable-isa-ext-check", "--ldpaths", "/nowhere", str(wheel)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        return Verdict(keeps=False, why=f"refuses it: {said[-1] if said else 'no reason'}")
    said = json.loads(done.stdout)
    best, claimed = strictest(f"x-{said['overall_tag']}.whl"), strictest(wheel.name)
    if claimed is None:
        return Verdict(keeps=said["pure"], why=f"finds {said['overall_tag']}")
    keeps = best is not None and best[0] == claimed[0] and best[2] == claimed[2] and best[1] <= claimed[1]
    return Verdict(keeps=keeps, why=f"finds {said['overall_tag']}" + _external(said))


def _external(said: dict[str, Any]) -> str:
    names = sorted(said["external_libs"])
    return f", needs {', '.join(names[:3])}" if names else ""


def ours(program: Path, wheel: Path, folder: Path) -> Verdict:
    """Run the plugin on the unpacked wheel."""
    tree = folder / wheel.stem
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tree)
    done = subprocess.run(
        [str(program), wheel.name, str(tree)], capture_output=True, text=True, errors="replace", check=True
    )
    findings = [line.partition("` ")[2] for line in done.stdout.splitlines() if line.startswith(("2", "3"))]
    broken = [finding for finding in findings if finding.startswith(_ABOUT_THE_TAG)]
    return Verdict(keeps=not broken, why=broken[0] if broken else "no finding")


def build(folder: Path) -> Path:
    """Compile the plugin as a program, under AddressSanitizer and UndefinedBehaviorSanitizer."""
    program = folder / "audit"
    sources = sorted((_HEADERS / "native" / "auditwheel").glob("*.c"))
    argv = ["cc", "-std=c99", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    argv += [f"-I{_HEADERS}", "-o", str(program), str(_DRIVER), *map(str, sources)]
    subprocess.run(argv, check=True, stdout=sys.stderr)
    return program
