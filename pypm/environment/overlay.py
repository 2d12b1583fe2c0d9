"""Describe an environment as layers: one small generated folder on top of the wheels' own trees.

`run` mounts the layers, `sync` writes them to disk as one folder, and both show the same files. Where two
wheels bring the same path, the one whose name sorts first wins, on disk as in the mount: see
`docs/design/0012-environment-layers.md`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from pypm import __version__
from pypm.codec.merkle import environment_digest
from pypm.codec.record import RecordRow, dump_record
from pypm.digest import sha256_hex
from pypm.environment import windows
from pypm.environment.activation import activation_scripts
from pypm.environment.scripts import entry_script, rewritten_script
from pypm.errors import IntegrityError
from pypm.files import locked, remove_tree, storage_errors
from pypm.model.environment import Environment
from pypm.model.target import Interpreter
from pypm.model.wheel import StoredWheel
from pypm.regular import LARGEST_PROGRAM_BYTES, read_regular

_FORMAT = 2
"""Of the generated layer; raised when its content changes."""
_CACHEDIR_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# Made by pypm from a lock; can be removed at any time.\n"
    "# About this file: https://bford.info/cachedir/\n"
)


def describe(  # noqa: PLR0913 - the last two belong to projects with local sources only
    interpreter: Interpreter,
    wheels: Sequence[StoredWheel],
    location: Path,
    *,
    cache: Path,
    project_layers: Sequence[StoredWheel] = (),
    direct_urls: Mapping[str, str] = MappingProxyType({}),
) -> Environment:
    """Return the environment of these wheels at `location`, its generated layer made when it is missing.

    `cache` is the cache's root; the layer lies below `environments-v1/`, named by all that it depends on,
    so the same environment finds it again. `project_layers` (editable wheels) are mounted too, but not part
    of the digest. `direct_urls` are the contents of `direct_url.json` (PEP 610) by wheel name, for what
    came from a path, a URL or a repository.

    Raises:
        IntegrityError: one package is given twice.
        StorageError: the disk refused.
    """
    ordered = tuple(sorted(wheels, key=lambda wheel: wheel.name))
    project = tuple(sorted(project_layers, key=lambda wheel: wheel.name))
    _check_names((*project, *ordered))
    digest = environment_digest(
        ((wheel.name, wheel.version, wheel.merkle_root) for wheel in ordered), interpreter.identity
    )
    content = [
        _FORMAT,
        __version__,
        digest,
        str(location),
        str(interpreter.executable),
        interpreter.version,
        [wheel.sha256 for wheel in (*project, *ordered)],
        sorted(direct_urls.items()),
    ]
    base = cache / "environments-v1" / sha256_hex(json.dumps(content).encode("utf-8", "surrogateescape"))
    environment = Environment(
        digest=digest,
        location=location,
        interpreter=interpreter,
        wheels=ordered,
        project_layers=project,
        base=base,
        direct_urls=tuple(sorted(direct_urls.items())),
    )
    if not base.is_dir():
        _make(environment)
    return environment


def _check_names(wheels: Sequence[StoredWheel]) -> None:
    names: set[str] = set()
    for wheel in wheels:
        if wheel.name in names:
            raise IntegrityError(f"`{wheel.name}` is twice in the environment", reference="package-twice")
        names.add(wheel.name)


def _make(environment: Environment) -> None:
    """Write the generated layer beside its place and rename it in."""
    base = environment.base
    with locked(base.parent / "locks" / f"{base.name}.lock"):
        if base.is_dir():
            return
        for leftover in base.parent.glob(f".{base.name}.*"):
            remove_tree(leftover)
        staging = base.parent / f".{base.name}.{os.urandom(4).hex()}"
        try:
            with storage_errors(f"write `{staging}`"):
                _Layer(environment, staging).write()
                staging.rename(base)
        except BaseException:
            remove_tree(staging)
            raise


class _Layer:
    """Writes the generated layer of one environment into an empty folder."""

    def __init__(self, environment: Environment, folder: Path) -> None:
        self._environment = environment
        self._direct_urls = dict(environment.direct_urls)
        self._folder = folder
        interpreter = environment.interpreter
        self._python = environment.location / interpreter.program
        self._site_packages = interpreter.site_packages
        self._bin = folder / interpreter.programs
        self._launcher = windows.program_launcher(interpreter) if interpreter.is_windows else b""
        self._programs: set[str] = set()

    def write(self) -> None:
        (self._folder / self._site_packages).mkdir(parents=True)
        self._bin.mkdir()
        interpreter = self._environment.interpreter
        if interpreter.is_windows:
            for name, content in windows.interpreters(interpreter).items():
                (self._bin / name).write_bytes(content)
        else:
            # As `venv` does on 64-bit systems: some programs look for `lib64` by name.
            (self._folder / "lib64").symlink_to("lib")
            self._write_links()
        self._write_settings()
        scripts = activation_scripts(self._environment.location, self._prompt, interpreter.programs)
        for name, text in scripts.items():
            (self._bin / name).write_bytes(text.encode("utf-8", "surrogateescape"))
        for wheel in self._environment.installed:
            self._write_programs(wheel)

    @property
    def _prompt(self) -> str:
        location = self._environment.location
        return location.parent.name if location.name == ".venv" else location.name

    def _write_settings(self) -> None:
        interpreter = self._environment.interpreter
        settings = {
            "home": str(interpreter.executable.parent),
            "implementation": interpreter.implementation,
            "version_info": interpreter.version,
            "include-system-site-packages": "false",
            "pypm": __version__,
            # The interpreter reads the file as lines of UTF-8, which a folder's name need not be.
            "prompt": "".join(letter if letter.isprintable() else "?" for letter in self._prompt),
        }
        lines = "".join(f"{key} = {value}\n" for key, value in settings.items())
        (self._folder / "pyvenv.cfg").write_bytes(lines.encode("utf-8", "surrogateescape"))
        (self._folder / "CACHEDIR.TAG").write_text(_CACHEDIR_TAG, "ascii")
        (self._folder / ".gitignore").write_text("*\n", "ascii")

    def _write_links(self) -> None:
        interpreter = self._environment.interpreter
        (self._folder / "bin/python").symlink_to(interpreter.executable)
        names = {"python3", interpreter.python_tag}
        if interpreter.implementation == "pypy":
            names |= {"pypy", "pypy3", interpreter.python_tag.replace("python", "pypy")}
        for name in sorted(names):
            (self._folder / "bin" / name).symlink_to("python")

    def _write_programs(self, wheel: StoredWheel) -> None:
        """Write a wheel's programs and where it came from, and its RECORD with a row for each."""
        programs = {entry.name: entry_script(entry, self._python) for entry in wheel.entry_points}
        for name in wheel.scripts:
            content = read_regular(wheel.tree / "scripts" / name, largest_bytes=LARGEST_PROGRAM_BYTES)
            programs[name] = rewritten_script(content, self._python)
        if self._launcher:
            programs = windows.launched(programs, self._launcher, self._python)
        rows = []
        up = "../" * (self._site_packages.count("/") + 1)
        for name, content in sorted(programs.items()):
            # As with every other file: the wheel whose name sorts first has brought it already.
            if name not in self._programs:
                self._programs.add(name)
                (self._bin / name).write_bytes(content)
                (self._bin / name).chmod(0o755)
                rows.append(_row(f"{up}{self._bin.name}/{name}", content))
        dist_info = self._folder / self._site_packages / wheel.dist_info
        if rows or wheel.name in self._direct_urls:
            dist_info.mkdir()
            if wheel.name in self._direct_urls:
                content = self._direct_urls[wheel.name].encode("utf-8")
                (dist_info / "direct_url.json").write_bytes(content)
                rows.append(_row(f"{wheel.dist_info}/direct_url.json", content))
            present = read_regular(wheel.prefix / self._site_packages / wheel.dist_info / "RECORD")
            (dist_info / "RECORD").write_bytes(present + dump_record(rows))


def _row(path: str, content: bytes) -> RecordRow:
    return RecordRow(path=path, sha256=sha256_hex(content), size_bytes=len(content))
