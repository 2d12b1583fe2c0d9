"""What an environment's folder must hold, file by file: the stored wheels' files, and what pypm generates.

The generated layer in the cache proves nothing, since it could be changed together with `.venv`. So it is
generated anew, elsewhere, and both are compared with that.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pypm.codec.manifest import load_header, load_rows
from pypm.digest import sha256_hex
from pypm.environment.overlay import describe
from pypm.environment.windows import launcher_name
from pypm.environment.writer import STATE_FILE, read_state
from pypm.files import locked, remove_tree, storage_errors
from pypm.model.environment import Environment
from pypm.model.verification import ExpectedFile
from pypm.regular import LARGEST_PROGRAM_BYTES, read_regular

_PROGRAM_BITS = 0o7100
"""Of a generated file, the umask decides the other bits."""


@contextmanager
def generated_anew(environment: Environment, scratch: Path) -> Iterator[dict[str, ExpectedFile]]:
    """Generate the environment's own layer again below `scratch`, and return what it holds for the block.

    Raises:
        StorageError: the disk refused.
    """
    folder = scratch / f"verify-{os.urandom(8).hex()}"
    try:
        with storage_errors(f"make `{folder}`"):
            folder.mkdir(parents=True)
        fresh = describe(
            environment.interpreter,
            environment.wheels,
            environment.location,
            cache=folder,
            project_layers=environment.project_layers,
            direct_urls=dict(environment.direct_urls),
        )
        owners = _owners(environment)
        with storage_errors(f"read `{fresh.base}`"):
            yield {path: _file(fresh.base, path, owners) for path in _paths(fresh.base)}
    finally:
        remove_tree(folder)


def expected_files(environment: Environment, generated: dict[str, ExpectedFile]) -> dict[str, ExpectedFile]:
    """Return what must lie at the environment's location, by path below it.

    As in the environment itself, the generated layer wins over wheels, and of these the first by name.

    Raises:
        IntegrityError: the manifest of a stored wheel is damaged.
    """
    expected = dict(generated)
    for wheel in environment.installed:
        content = read_regular(wheel.tree / "manifest")
        for path, mode, size_bytes, sha256 in load_rows(content, load_header(content, tree=wheel.tree)):
            if path not in expected and not path.startswith("../"):
                expected[path] = ExpectedFile(wheel.name, sha256, size_bytes, mode)
    state = read_state(environment.location)
    if state is not None and (state.digest, state.base) == (environment.digest, environment.base.name):
        status = (environment.location / STATE_FILE).stat()
        expected[STATE_FILE] = ExpectedFile("", "", mode=stat.S_IMODE(status.st_mode), mode_mask=0)
    else:
        expected[STATE_FILE] = ExpectedFile("", "another environment's state")
    return expected


def forget_generated(environment: Environment) -> None:
    """Remove the generated layer, so that the next description of the environment makes it anew.

    Raises:
        StorageError: the disk refused.
    """
    base = environment.base
    doomed = base.with_name(f".{base.name}.{os.urandom(4).hex()}")
    with locked(base.parent / "locks" / f"{base.name}.lock"), storage_errors(f"remove `{base}`"):
        base.rename(doomed)
        remove_tree(doomed)


def _owners(environment: Environment) -> dict[str, str]:
    """Whose the generated files are: programs by name, and what lies in a `.dist-info`."""
    owners: dict[str, str] = {}
    interpreter = environment.interpreter
    site_packages, folder = interpreter.site_packages, interpreter.programs
    for wheel in environment.installed:
        for name in (*(entry.name for entry in wheel.entry_points), *wheel.scripts):
            owners.setdefault(f"{folder}/{name}", wheel.name)
            if interpreter.is_windows:
                owners.setdefault(f"{folder}/{launcher_name(name)}", wheel.name)
        for name in ("RECORD", "direct_url.json"):
            owners[f"{site_packages}/{wheel.dist_info}/{name}"] = wheel.name
    return owners


def _paths(folder: Path) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        below = os.path.relpath(parent, folder)
        links = [name for name in folders if os.path.islink(f"{parent}/{name}")]  # noqa: PTH114
        for name in (*files, *links):
            yield name if below == "." else f"{below}/{name}"


def _file(folder: Path, path: str, owners: dict[str, str]) -> ExpectedFile:
    place = folder / path
    owner = owners.get(path, "")
    if place.is_symlink():
        return ExpectedFile(owner, "", target=os.fspath(place.readlink()))
    content = read_regular(place, largest_bytes=LARGEST_PROGRAM_BYTES)
    mode = stat.S_IMODE(place.stat().st_mode)
    return ExpectedFile(owner, sha256_hex(content), len(content), mode, mode_mask=_PROGRAM_BITS)
