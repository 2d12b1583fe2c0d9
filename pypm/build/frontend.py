"""The build front end: calls a backend's hooks inside the sandbox, follows its output, takes what it made.

Every hook runs on a fresh copy of the source tree at a fixed place, with the build requirements mounted as an
environment, without network and home, and with the variables that make builds repeat. Nothing that the
backend leaves behind is trusted: the answer is a small file that is parsed strictly, the result one regular
file of the name that was announced.

Source: PEP 517, PEP 660, reproducible-builds.org (`SOURCE_DATE_EPOCH`).
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

import sandbox
from pypm.build.diagnosis import diagnose
from pypm.build.in_place import lay_out
from pypm.build.log import BuildLog, run_followed
from pypm.build.system import read_regular_file
from pypm.build.tree import SourceTree, copy_tree, take_compiled
from pypm.codec.requirements import parse_requirement
from pypm.errors import BuildError, ConfigurationError, InternalError
from pypm.files import remove_tree, storage_errors
from pypm.isolation import BuildLayout, RunOptions, build_command, build_policy, isolation_errors
from pypm.model.environment import Environment

ConfigSettings = Mapping[str, str | Sequence[str]]

_LARGEST_ANSWER_BYTES = 1 << 20
_LARGEST_METADATA_BYTES = 8 << 20
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+!-]{0,250}")


_NETWORK_KEY = "`allow-net` in [tool.pypm.sandbox.build]:"
"""What opens the network to a build, as a refusal names it."""


def _ignore(_: str) -> None:
    """Nobody watches the build."""


def _allow(_: Path, __: tuple[Path, ...]) -> None:
    """Every tree may be written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """What a build is done with; the same one serves all hooks of a source tree."""

    environment: Environment
    """The build requirements, described for `isolation.BUILD_ENVIRONMENT`."""
    home: Path
    """The caller's, which no build sees."""
    scratch: Path
    """Where copies are made, on the cache's file system; emptied afterwards."""
    project: Path | None = None
    """The folder of the project whose profile `options` is."""
    options: RunOptions = field(default_factory=RunOptions)
    """The `build` profile."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """The caller's variables, of which `options.allow_env` may let some in."""
    on_line: Callable[[str], None] = _ignore
    """Called with each line of output, safe to show on a terminal."""
    may_write: Callable[[Path, tuple[Path, ...]], None] = _allow
    """Called with a tree and the compiled modules that an editable build is about to write there; raises to
    refuse."""
    start: Callable[[sandbox.Policy, sandbox.Command], sandbox.Process] = sandbox.spawn


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """One hook call with its folders."""

    source: SourceTree
    bench: Workbench
    hook: str
    folder: Path
    config_settings: ConfigSettings | None

    @property
    def output(self) -> Path:
        return self.folder / "output"

    @property
    def location(self) -> Path:
        """Where the copy of the source tree appears inside."""
        return self.folder / "source" if self.bench.options.in_place else self.source.location

    def failure(self, reason: str, *, reference: str, log: BuildLog, hint: str | None = None) -> BuildError:
        return BuildError(
            f"`{self.source.name}` could not be built: {reason}",
            reference=reference,
            hint=diagnose(log.lines) or hint,
            details=log.end,
        )


def build_wheel(
    source: SourceTree,
    bench: Workbench,
    output: Path,
    *,
    editable: bool = False,
    config_settings: ConfigSettings | None = None,
) -> Path:
    """Build the wheel of a source tree, or its editable one, and move it into the folder `output`.

    The wheel's name is what the backend says; that it is the expected package and version, and that its
    content is sound, is for the store to check as with any other wheel. Of an editable build, compiled
    modules are brought into the working tree, where the wheel expects them; nothing else is written there.

    Raises: BuildError with the end of the log; IsolationError; StorageError; what `bench.may_write` raises.
    """
    hook = "build_editable" if editable else "build_wheel"
    with _call(source, bench, hook, config_settings) as (call, result, log):
        wheel = _take_file(call, result, log, output, suffix=".whl")
        if editable:
            for module in take_compiled(call.folder / "source", source.root, bench.may_write):
                bench.on_line(f"compiled {module}")
        return wheel


def build_sdist(
    source: SourceTree, bench: Workbench, output: Path, *, config_settings: ConfigSettings | None = None
) -> Path:
    """Build the source distribution of a source tree and move it into the folder `output`.

    Raises: BuildError with the end of the log; IsolationError; StorageError.
    """
    with _call(source, bench, "build_sdist", config_settings) as (call, result, log):
        return _take_file(call, result, log, output, suffix=".tar.gz")


def build_metadata(
    source: SourceTree,
    bench: Workbench,
    *,
    editable: bool = False,
    config_settings: ConfigSettings | None = None,
) -> bytes:
    """Return the core metadata that the wheel of a source tree would have.

    A backend that cannot tell without building is made to build; the wheel is thrown away.

    Raises: BuildError with the end of the log; IsolationError; StorageError.
    """
    kind = "editable" if editable else "wheel"
    hook = f"prepare_metadata_for_build_{kind}"
    with _call(source, bench, hook, config_settings) as (call, result, log):
        name = _file_name(call, result, log, suffix=".dist-info")
        folder = call.output / name
        if folder.is_symlink():
            raise call.failure(f"`{name}` is a link", reference="foreign-file", log=log)
        content = read_regular_file(folder / "METADATA", largest_bytes=_LARGEST_METADATA_BYTES)
        if content is None:
            raise call.failure(f"`{name}` has no `METADATA`", reference="build-without-metadata", log=log)
        return content


def build_requires(
    source: SourceTree,
    bench: Workbench,
    *,
    kind: str = "wheel",
    config_settings: ConfigSettings | None = None,
) -> tuple[Requirement, ...]:
    """Return what the backend needs besides `build-system.requires`.

    `kind` is `wheel`, `editable` or `sdist`.

    Raises: BuildError with the end of the log; IsolationError; StorageError.
    """
    with _call(source, bench, f"get_requires_for_build_{kind}", config_settings) as (call, result, log):
        if not isinstance(result, list) or not all(isinstance(item, str) for item in result):
            raise call.failure(f"`{call.hook}` gave no list of text", reference="build-protocol", log=log)
        try:
            return tuple(parse_requirement(text, where=call.hook) for text in result)
        except ConfigurationError as error:
            raise call.failure(error.message, reference="build-protocol", log=log, hint=error.hint) from error


@contextmanager
def _call(
    source: SourceTree, bench: Workbench, hook: str, config_settings: ConfigSettings | None
) -> Iterator[tuple[_Call, Any, BuildLog]]:
    """Call a hook in a scratch folder that lives as long as the block; give call, result and log."""
    # Behind all links: whatever is shown inside or walked through is reached through none.
    folder = bench.scratch.resolve() / f"build-{os.getpid()}-{secrets.token_hex(4)}"
    call = _Call(source=source, bench=bench, hook=hook, folder=folder, config_settings=config_settings)
    log = BuildLog(on_line=bench.on_line)
    try:
        copy_tree(source.root, folder / "source")
        with storage_errors(f"make the build folder `{folder}`"):
            # The last one is where the tree's own git folder is mounted.
            mounts_git = source.repository is not None and not bench.options.in_place
            for name in ("output", "answer", *(("source/.git",) if mounts_git else ())):
                (folder / name).mkdir()
        status = _run(call, log)
        yield call, _result(call, status, log), log
    finally:
        remove_tree(folder)


def _run(call: _Call, log: BuildLog) -> sandbox.ExitStatus:
    """Run the script inside and follow its output to the end."""
    bench, source = call.bench, call.source
    script, hooks, request = (
        Path(__file__).resolve().with_name("inside_hooks.py"),
        _hooks_package(),
        _request(call),
    )
    if bench.options.in_place:
        script = lay_out(
            call.folder, script=script, hooks=hooks, request=request, repository=source.repository
        )
    layout = BuildLayout(
        home=bench.home,
        project=bench.project,
        environment=bench.environment,
        source=call.folder / "source",
        location=call.location,
        repository=source.repository,
        output=call.output,
        answer=call.folder / "answer",
        script=script,
        hooks=hooks,
        request=request,
        epoch=source.epoch,
    )
    with isolation_errors():
        policy = build_policy(layout, bench.options, bench.variables)
        status = run_followed(
            lambda nothing, writing: bench.start(
                policy, build_command(layout, stdin=nothing, output=writing)
            ),
            log,
        )
    for line in () if status.network is None else status.network.lines(_NETWORK_KEY):
        log.add(line)
    for reached in status.reached:
        log.add(f"limit: {reached.sentence}")
    return status


def _request(call: _Call) -> bytes:
    system = call.source.system
    request = {
        "hook": call.hook,
        "source": str(call.location),
        # An editable wheel that was built in a copy must point at the tree itself.
        "relocate": str(call.source.location) if call.hook == "build_editable" else None,
        "backend": system.backend,
        "backend_path": list(system.backend_path),
        "python": str(call.bench.environment.location / "bin" / "python"),
        "config_settings": {
            key: value if isinstance(value, str) else list(value)
            for key, value in (call.config_settings or {}).items()
        },
    }
    return json.dumps(request, sort_keys=True).encode("ascii")


def _hooks_package() -> Path:
    """The folder of `pyproject_hooks`, found without importing it: it runs inside only."""
    found = importlib.util.find_spec("pyproject_hooks")
    if found is None or not found.submodule_search_locations:
        raise InternalError(
            "`pyproject_hooks` is not installed beside pypm",
            reference="missing-dependency",
            hint="install pypm again, with its dependencies",
        )
    return Path(next(iter(found.submodule_search_locations))).resolve()


def _result(call: _Call, status: sandbox.ExitStatus, log: BuildLog) -> Any:
    """Read the answer; anything but a result is an error."""
    backend = call.source.system.backend
    content = read_regular_file(call.folder / "answer" / "answer.json", largest_bytes=_LARGEST_ANSWER_BYTES)
    try:
        answer = json.loads(content) if content else {}
    except (ValueError, RecursionError):
        answer = {}
    result = answer.get("result") if isinstance(answer, dict) else None
    problem = result.get("problem") if isinstance(result, dict) else None
    if problem == "unavailable":
        raise call.failure(
            f"its backend `{backend}` cannot be imported",
            reference="backend-unavailable",
            log=log,
            hint="`build-system.requires` must list the package that holds it",
        )
    if problem == "missing":
        raise _missing(call, log)
    if status.returncode != 0 or result is None or problem is not None:
        reason = f"`{call.hook}` of `{backend}` {_ending(status)}"
        raise call.failure(reason, reference="build-failed", log=log)
    return result


def _missing(call: _Call, log: BuildLog) -> BuildError:
    backend = call.source.system.backend
    if call.hook == "build_editable":
        return call.failure(
            f"its backend `{backend}` makes no editable wheels (PEP 660)",
            reference="no-editable-build",
            log=log,
            hint="raise the backend's version in `build-system.requires`, or depend on it without `editable`",
        )
    return call.failure(
        f"its backend `{backend}` has no hook `{call.hook}`", reference="build-protocol", log=log
    )


def _ending(status: sandbox.ExitStatus) -> str:
    if status.timed_out:
        return "took longer than its `timeout` allows"
    if status.limit is not None:
        met = next(each.sentence for each in status.reached if each.limit == status.limit)
        return f"was ended: {met}"
    if status.returncode > 128:
        return f"was ended by signal {status.returncode - 128}"
    return "failed"


def _take_file(call: _Call, result: Any, log: BuildLog, output: Path, *, suffix: str) -> Path:
    """Move the announced file out of the scratch folder."""
    name = _file_name(call, result, log, suffix=suffix)
    made = call.output / name
    if made.is_symlink() or not made.is_file():
        raise call.failure(f"`{call.hook}` made no file `{name}`", reference="build-protocol", log=log)
    with storage_errors(f"move `{name}` to `{output}`"):
        output.mkdir(parents=True, exist_ok=True)
        made.chmod(0o644)
        return Path(shutil.move(made, output / name))


def _file_name(call: _Call, result: Any, log: BuildLog, *, suffix: str) -> str:
    if not isinstance(result, str) or not _FILE_NAME.fullmatch(result) or not result.endswith(suffix):
        raise call.failure(
            f"`{call.hook}` announced no `*{suffix}` file but `{str(result)[:80]}`",
            reference="build-protocol",
            log=log,
        )
    return result
