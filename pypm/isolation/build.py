"""The policies of builds and of unpacking: no home, no network, nothing writable but the result."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pypm.isolation import limits as limited
from pypm.isolation.interpreter import interpreter_places
from pypm.isolation.options import RunOptions
from pypm.isolation.places import Places, show_granted
from pypm.isolation.variables import BUILD_VARIABLES, HOME, made, passed
from sandbox import Command, Isolation, Limits, Mount, Policy

if TYPE_CHECKING:
    from pypm.model.environment import Environment
    from pypm.model.target import Interpreter

BUILD_FOLDER = Path("/build")
BUILD_ENVIRONMENT = BUILD_FOLDER / "env"
"""Where the build requirements' environment lies; its `Environment.location`."""
BUILD_SOURCE = BUILD_FOLDER / "source"
"""Where the source tree lies: compilers and backends write this path into what they make, so it is fixed."""
_HOME = BUILD_FOLDER / "home"
_OUTPUT = BUILD_FOLDER / "output"
_ANSWER = BUILD_FOLDER / "answer"
_REQUEST = BUILD_FOLDER / "request.json"
_SCRIPT = BUILD_FOLDER / "inside.py"
_HOOKS = BUILD_FOLDER / "hooks" / "pyproject_hooks"

_UNPACK_MEMORY_BYTES = (4 << 30) + (256 << 20) * (os.cpu_count() or 1)
"""Address space for unpacking, far more than any archive needs. Each thread reserves its stack and a heap of
its own (glibc: 64 MiB, aligned), used or not, and there is about one thread a processor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildLayout:
    """The folders and files of one hook call, on this machine unless it is said otherwise."""

    home: Path
    """The caller's: an interpreter below it is shown, the rest of it is not."""
    environment: Environment
    """The build requirements, at `BUILD_ENVIRONMENT`."""
    source: Path
    """A copy of the source tree, writable."""
    location: Path
    """Where the copy appears inside: `BUILD_SOURCE`, or the real place for an editable wheel. Where nothing
    can be mounted, `source` itself."""
    repository: Path | None
    """The tree's git folder, shown read-only as `.git` in the source."""
    output: Path
    """Empty and writable; the wheel is made here."""
    answer: Path
    """Empty and writable; the script writes its one answer here."""
    script: Path
    hooks: Path
    """The folder of the package `pyproject_hooks`."""
    request: bytes
    epoch: int
    """`SOURCE_DATE_EPOCH`, seconds."""
    project: Path | None = None
    """The folder of the project whose grants these are."""


LARGEST_FILE_BYTES = 8 << 30
"""What a build may write into one file, well beyond the largest wheels: a sparse file of many terabytes costs
a backend nothing, and whoever hashes it afterwards a day."""


def build_policy(layout: BuildLayout, options: RunOptions, caller_variables: Mapping[str, str]) -> Policy:
    """Describe what a build hook may see and use: the source, its requirements, the system's compiler.

    Nothing of the caller's variables is passed by itself, for a build must not depend on who starts it;
    `options` (the `build` profile) may name some, and hosts, folders and limits.

    Raises: sandbox.PolicyError for what the sandbox refuses.
    """
    environment = layout.environment
    places = Places()
    places.show(interpreter_places(environment.interpreter, home=layout.home))
    show_granted(options.allow_read, layout.project, places, writable=False)
    show_granted(options.allow_write, layout.project, places, writable=True)
    variables = {
        **passed(caller_variables, options.allow_env, default=()),
        **made(environment.location),
        **BUILD_VARIABLES,
        "SOURCE_DATE_EPOCH": str(layout.epoch),
    }
    return Policy(
        mounts=(
            *places.mounts(),
            *(_in_place(layout) if options.in_place else _mounted(layout)),
            *limited.devices(options),
        ),
        network=limited.network(options),
        environment=tuple(sorted(variables.items())),
        limits=_limits(options),
        temporary_size_bytes=limited.temporary_size(options),
        hostname="pypm",
        home=str(_HOME),
        require=limited.guarantees(options),
        isolation=options.isolation,
    )


def _mounted(layout: BuildLayout) -> tuple[Mount, ...]:
    """Everything at its fixed place."""
    environment, location = layout.environment, str(layout.location)
    git = () if layout.repository is None else (Mount.bind(str(layout.repository), f"{location}/.git"),)
    return (
        Mount.overlay(str(environment.location), [str(layer) for layer in environment.layers]),
        Mount.bind(str(layout.source), location, writable=True),
        *git,
        Mount.bind(str(layout.output), str(_OUTPUT), writable=True),
        Mount.bind(str(layout.answer), str(_ANSWER), writable=True),
        Mount.bind(str(layout.script), str(_SCRIPT)),
        Mount.bind(str(layout.hooks), str(_HOOKS)),
        Mount.file(str(_REQUEST), layout.request),
    )


def _in_place(layout: BuildLayout) -> tuple[Mount, ...]:
    """Everything where it lies on this machine: the script beside the folders that it reads and fills."""
    git = () if layout.repository is None else (Mount.bind(str(layout.repository)),)
    return (
        Mount.bind(str(layout.environment.location)),
        Mount.bind(str(layout.script.parent)),
        Mount.bind(str(layout.hooks)),
        *git,
        *(Mount.bind(str(path), writable=True) for path in (layout.source, layout.output, layout.answer)),
    )


def _limits(options: RunOptions) -> Limits:
    limits = limited.limits(options)
    return replace(limits, file_size_bytes=limits.file_size_bytes or LARGEST_FILE_BYTES)


def build_command(layout: BuildLayout, *, stdin: int, output: int) -> Command:
    """The command that calls the hook; both of its outputs go to the descriptor `output`.

    The script runs on the plain interpreter (`-I -S`): the requirements are the backend's, not the script's.
    """
    executable = str(layout.environment.interpreter.executable)
    in_place = layout.location == layout.source
    argv = (executable, "-I", "-S", "-B", str(layout.script if in_place else _SCRIPT))
    return Command(argv=argv, cwd=str(layout.location), stdin=stdin, stdout=output, stderr=output)


def unpack_policy(
    interpreter: Interpreter,
    *,
    readable: Sequence[Path],
    writable: Sequence[Path],
    home: Path,
    isolation: Isolation | None = None,
) -> Policy:
    """Describe what unpacking may see and use: archives and scripts to read, folders to write, nothing else.

    All of them appear at their own places. `home` is the caller's: an interpreter below it is shown, the
    rest of it is not. `isolation` names a weaker one.

    Raises: sandbox.PolicyError for what the sandbox refuses.
    """
    places = Places()
    places.show(interpreter_places(interpreter, home=home))
    places.show(readable)
    places.show(writable, writable=True)
    return Policy(
        mounts=places.mounts(),
        environment=tuple(sorted({**made(None), **BUILD_VARIABLES}.items())),
        limits=Limits(memory_bytes=_UNPACK_MEMORY_BYTES),
        hostname="pypm",
        home=str(HOME),
        isolation=isolation,
    )
