"""Where each file of a wheel goes in an environment.

Source: the binary distribution format (PyPA specifications, "Installing a wheel") and `sysconfig`'s `venv`
scheme; headers go where pip puts them in a virtual environment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from .archive import check_collisions
from .refusal import Refusal

UNHASHED = ("RECORD", "RECORD.jws", "RECORD.p7s")
"""Files of the `.dist-info` that RECORD cannot vouch for. They are not installed: pypm writes its own RECORD,
and the signatures are a withdrawn part of the format."""

_RESERVED_PROGRAMS = re.compile(r"(?i)(python(\d+(\.\d+)*)?t?w?(\.exe)?|activate(\..*)?|deactivate(\..*)?)")
"""Programs of the environment itself: who replaces them decides what every later command runs."""

_RESERVED_TOP = ("pyvenv.cfg", "cachedir.tag")


class Scheme(NamedTuple):
    """Folders below an environment's root."""

    site_packages: str
    """`lib/python3.11/site-packages`."""
    include: str
    """`include/site/python3.11`; each distribution gets a folder below it."""
    programs: str = "bin"
    """`Scripts` on Windows."""


class Wheel(NamedTuple):
    """The two folders that make an archive a wheel."""

    stem: str
    """`name-version`, as the archive spells it."""

    @property
    def dist_info(self) -> str:
        return self.stem + ".dist-info"

    @property
    def data(self) -> str:
        return self.stem + ".data"


def find_wheel(names: Iterable[str]) -> Wheel:
    """Return the archive's one `.dist-info`; refuse a second one and a `.data` folder of another name."""
    folders = {name.split("/", 1)[0] for name in names if "/" in name}
    infos = sorted(folder for folder in folders if folder.lower().endswith(".dist-info"))
    if len(infos) != 1:
        listed = " and ".join(f"`{info}`" for info in infos) or "none"
        raise Refusal("dist-info", f"a wheel has exactly one `.dist-info` folder; this one has {listed}")
    wheel = Wheel(infos[0][: -len(".dist-info")])
    if infos[0] != wheel.dist_info or wheel.stem.count("-") != 1:
        raise Refusal("dist-info", f"`{infos[0]}` is not named `NAME-VERSION.dist-info`")
    for folder in folders:
        if folder.lower().endswith(".data") and "-" in folder and folder != wheel.data:
            raise Refusal("data-folder", f"`{folder}` is not this wheel's `.data` folder")
    return wheel


def is_unhashed(name: str, wheel: Wheel) -> bool:
    """Tell whether RECORD leaves this file out by the specification."""
    folder, _, rest = name.partition("/")
    return folder == wheel.dist_info and rest in UNHASHED


def place(name: str, wheel: Wheel, scheme: Scheme) -> tuple[str, bool]:
    """Return where `name` goes below the environment's root, and whether it is a script."""
    folder, _, rest = name.partition("/")
    if folder != wheel.data:
        return f"{scheme.site_packages}/{name}", False
    kind, _, path = rest.partition("/")
    if not path:
        raise Refusal("data-scheme", f"`{name}` lies in no scheme of the `.data` folder")
    if kind in ("purelib", "platlib"):
        return f"{scheme.site_packages}/{path}", False
    if kind == "headers":
        distribution = wheel.stem.partition("-")[0]
        return f"{scheme.include}/{distribution}/{path}", False
    if kind == "scripts":
        if "/" in path:
            raise Refusal("data-scheme", f"the script `{name}` lies in a folder")
        check_program(path)
        return f"{scheme.programs}/{path}", True
    if kind == "data":
        return _place_data(name, path), False
    raise Refusal("data-scheme", f"`{kind}` of `{name}` is not a scheme")


def _place_data(name: str, path: str) -> str:
    top, _, rest = path.partition("/")
    if top.lower() in _RESERVED_TOP or top.startswith("."):
        raise Refusal("reserved-file", f"`{name}` would replace a file of the environment itself")
    if top.lower() in ("bin", "scripts") and rest:
        check_program(rest)
    # In an environment `lib64` is a link to `lib`.
    return f"lib/{rest}" if top == "lib64" else path


def check_program(name: str) -> None:
    """Refuse a program that would stand in for the interpreter or the activation scripts."""
    if _RESERVED_PROGRAMS.fullmatch(name):
        raise Refusal(
            "reserved-script", f"the script `{name}` would replace a program of the environment itself"
        )


def check_places(places: Iterable[str]) -> None:
    """Refuse two files that different schemes put in one place."""
    check_collisions(iter(places))


_SYSTEM_TOOLS = frozenset(
    [
        "sh",
        "bash",
        "dash",
        "zsh",
        "fish",
        "env",
        "sudo",
        "su",
        "ssh",
        "scp",
        "sftp",
        "git",
        "gpg",
        "curl",
        "wget",
        "ls",
        "cat",
        "cp",
        "mv",
        "rm",
        "ln",
        "chmod",
        "chown",
        "mkdir",
        "touch",
        "grep",
        "sed",
        "awk",
        "find",
        "xargs",
        "tar",
        "gzip",
        "make",
        "cc",
        "gcc",
        "g++",
        "clang",
        "ld",
        "ar",
        "as",
        "docker",
        "podman",
        "login",
        "passwd",
        "uname",
        "id",
        "which",
        "apt",
        "apt-get",
        "dpkg",
        "rpm",
        "dnf",
        "yum",
        "systemctl",
        "mount",
        "umount",
        "ps",
        "kill",
        "top",
        "less",
        "more",
        "vi",
        "vim",
        "nano",
        "perl",
        "node",
        "npm",
    ]
)
_STARTUP_MODULES = frozenset(("sitecustomize", "usercustomize"))


def startup_carrier(path: str, scheme: Scheme) -> bool:
    """Tell whether a file at `path` runs, or can run, without being asked for.

    `.pth` files and the two customisation modules run with every start of the interpreter; a program named
    like a tool of the system runs in its stead when the environment is active.
    """
    folder, _, name = path.rpartition("/")
    if folder == scheme.programs:
        return name in _SYSTEM_TOOLS
    if path.startswith(scheme.site_packages + "/"):
        first = path[len(scheme.site_packages) + 1 :].split("/", 1)[0]
        return (folder == scheme.site_packages and name.lower().endswith(".pth")) or (
            first.split(".", 1)[0] in _STARTUP_MODULES
        )
    return False
