"""Which Python of this machine a project gets.

The first on `PATH` that fits wins, then those that version managers installed, the newest first: what a
user sees when typing `python` is what the project gets. The choice is remembered, so an ordinary command
neither searches nor starts anything.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from pypm.environment.inquiry import ask
from pypm.errors import InterpreterError, StorageError
from pypm.files import write_atomically
from pypm.model.target import Interpreter
from pypm.programs import folders_on_path, is_inside
from pypm.regular import read_regular_text

VERSION_FILE = ".python-version"
_NAME = re.compile(
    r"(?P<implementation>cpython|pypy|python)?[-@]?(?P<version>\d+(?:\.\d+){0,2})(?P<threads>t)?"
)
_OLDEST = Version("3.8")
"""What the sandboxed unpacker supports."""
_PROGRAM = re.compile(r"(python|pypy)(\d+(\.\d+)?t?)?(\.exe)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for with `--python` or `.python-version`, parsed."""

    path: Path | None = None
    specifier: SpecifierSet | None = None
    implementation: str | None = None
    free_threaded: bool | None = None

    def admits(self, interpreter: Interpreter) -> bool:
        """Tell whether this interpreter is what was asked for."""
        if self.specifier is not None and not self.specifier.contains(interpreter.version, prereleases=True):
            return False
        if self.implementation not in (None, interpreter.implementation):
            return False
        return self.free_threaded in (None, _is_free_threaded(interpreter))


def parse_request(text: str) -> Request:
    """Parse `3.12`, `3.13t`, `cpython3.12`, `pypy@3.10`, `>=3.10` or a path.

    Raises:
        InterpreterError: it is none of these.
    """
    if "/" in text or "\\" in text:
        return Request(path=Path(text).expanduser())
    if match := _NAME.fullmatch(text.strip().lower()):
        version = match["version"]
        exact = version.count(".") == 2
        return Request(
            specifier=SpecifierSet(f"=={version}" if exact else f"=={version}.*"),
            implementation={"pypy": "pypy", "cpython": "cpython"}.get(match["implementation"] or ""),
            free_threaded=bool(match["threads"]),
        )
    with contextlib.suppress(InvalidSpecifier):
        if text.startswith(("<", ">", "=", "!", "~")):
            return Request(specifier=SpecifierSet(text))
    raise InterpreterError(
        f"`{text}` does not name a Python",
        reference="unknown-python-request",
        hint="write a version (`3.12`), a range (`>=3.10`), `pypy3.10`, or the path of an interpreter",
    )


def read_version_file(folder: Path) -> str | None:
    """Return what `.python-version` in `folder` asks for: its first line that is neither blank nor a
    comment.

    The file comes with a project that somebody else may have written, and an interpreter is started
    outside of any sandbox to ask what it is. So it may name a version, and never a program.

    Raises:
        InterpreterError: it names a path.
    """
    path = folder / VERSION_FILE
    try:
        # Opening a FIFO would wait for whoever writes to it.
        lines = read_regular_text(path).splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    asked = next((line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")), None)
    if asked is not None and parse_request(asked).path is not None:
        raise InterpreterError(
            f"`{VERSION_FILE}` names a program, `{asked}`; a project may only name a version",
            reference="version-file-path",
            hint="if you trust that program, name it yourself with `--python PATH`",
        )
    return asked


def find_interpreter(
    requires_python: SpecifierSet, request: str | None, cache: Path, *, outside: Path | None = None
) -> Interpreter:
    """Return the Python for a project; `cache` is the folder of remembered answers (`Cache.interpreters`).

    An interpreter is asked outside of any sandbox, so none is looked for in the project, which is `outside`;
    one that the user names by its path may lie where it likes.

    Raises:
        InterpreterError: none fits; the message names what there is.
    """
    wanted = parse_request(request) if request else Request()
    if wanted.path is not None:
        return _only(wanted.path, requires_python, cache)
    key = _choice_key(requires_python, request)
    remembered = _recall(cache, key, outside)
    if remembered is not None and _fits(remembered, requires_python, wanted):
        return remembered
    seen: list[Interpreter] = []
    for interpreter in find_all(cache, outside=outside):
        if _fits(interpreter, requires_python, wanted):
            _remember(cache, key, interpreter)
            return interpreter
        seen.append(interpreter)
    raise _nothing_fits(requires_python, request, seen)


def find_all(cache: Path, *, outside: Path | None = None) -> Iterator[Interpreter]:
    """Yield the interpreters of this machine, each once, the preferred first; those that do not start, and
    those that lie in the project `outside`, are left out."""
    seen: set[tuple[Path, str]] = set()
    for candidate in _candidates(outside):
        with contextlib.suppress(InterpreterError):
            interpreter = ask(candidate, cache)
            # `python3.7` and `python3.7m` of one prefix are one interpreter in two files.
            if (build := (interpreter.base_prefix, interpreter.identity)) not in seen:
                seen.add(build)
                yield interpreter


def _candidates(outside: Path | None) -> Iterator[Path]:
    """Yield paths of programs that look like Python, each real file once, the one that runs us last."""
    real: set[str] = set()
    own = Path(sys.executable)
    for candidate in (*_on_path(outside), *_installed(), own):
        resolved = os.path.realpath(candidate)
        is_foreign = candidate != own and (
            is_inside(candidate, outside) or is_inside(candidate.parent, outside)
        )
        if resolved not in real and not is_foreign:
            real.add(resolved)
            yield candidate


def _on_path(outside: Path | None) -> Iterator[Path]:
    """Yield `PATH` in its order; in one folder `python3` and `python` come before the versioned names."""
    for folder in folders_on_path(outside):
        try:
            names = [name for name in os.listdir(folder) if _PROGRAM.fullmatch(name)]  # noqa: PTH208
        except OSError:
            continue
        if Path(folder).name == "shims":
            # pyenv's launchers start bash to choose a version; those versions are found as what they are.
            names = [name for name in names if name in ("python", "python3")]
        for name in sorted(names, key=_program_order):
            path = Path(folder, name)
            if os.access(path, os.X_OK) and path.is_file():
                yield path


def _program_order(name: str) -> tuple[bool, int, list[int]]:
    numbers = [-int(number) for number in re.findall(r"\d+", name)]
    return name.startswith("pypy"), len(numbers) > 1, numbers or [-3]


def _installed() -> list[Path]:
    """Return what version managers and the platform's installers have, the newest first."""
    from findpython.providers import ALL_PROVIDERS

    found: list[Path] = []
    for name, provider_class in ALL_PROVIDERS.items():
        provider = None if name == "path" else provider_class.create()
        if provider is not None:
            with contextlib.suppress(OSError):
                found += [Path(python.executable) for python in provider.find_pythons()]
    return sorted(
        found, key=lambda path: [int(number) for number in re.findall(r"\d+", str(path))], reverse=True
    )


def _only(path: Path, requires_python: SpecifierSet, cache: Path) -> Interpreter:
    """Return the interpreter at a path that the user named: a program, or an environment's or prefix's
    folder."""
    if path.is_dir():
        places = [path / "bin" / "python3", path / "bin" / "python", path / "Scripts" / "python.exe"]
        path = next((place for place in places if place.exists()), places[0])
    if not path.exists():
        raise InterpreterError(
            f"there is no Python at `{path}`",
            reference="interpreter-missing",
            hint="`pypm python list` shows those of this machine",
        )
    interpreter = ask(path.absolute(), cache)
    if not requires_python.contains(interpreter.version, prereleases=True):
        raise InterpreterError(
            f"`{path}` is Python {interpreter.version}, but the project requires `{requires_python}`",
            reference="interpreter-mismatch",
            hint="choose another interpreter, or change `requires-python`",
        )
    return interpreter


def _fits(interpreter: Interpreter, requires_python: SpecifierSet, wanted: Request) -> bool:
    version = Version(interpreter.version)
    if version < _OLDEST or not requires_python.contains(version, prereleases=True):
        return False
    # Without being asked for, a project gets neither a preview nor a build that most wheels do not support.
    if wanted.specifier is None and (version.is_prerelease or _is_free_threaded(interpreter)):
        return False
    return wanted.admits(interpreter)


def _is_free_threaded(interpreter: Interpreter) -> bool:
    return any(tag.split("-")[1].rstrip("d").endswith("t") for tag in interpreter.target.tags[:1])


def _nothing_fits(
    requires_python: SpecifierSet, request: str | None, seen: list[Interpreter]
) -> InterpreterError:
    wanted = f"`{request}` and " if request else ""
    found = ", ".join(f"{one.version} (`{one.executable}`)" for one in seen) or "no Python at all"
    return InterpreterError(
        f"no Python on this machine fits {wanted}`{requires_python or '>=3.8'}`; found {found}",
        reference="no-interpreter",
        hint="install a fitting Python, or name one with `--python PATH`",
    )


def _choice_key(requires_python: SpecifierSet, request: str | None) -> str:
    """A choice holds for one question and one `PATH`."""
    surroundings = [os.environ.get(name, "") for name in ("PATH", "PYENV_ROOT", "HOME")]
    question = json.dumps([str(requires_python), request, sys.executable, surroundings])
    return hashlib.sha256(question.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _recall(cache: Path, key: str, outside: Path | None) -> Interpreter | None:
    try:
        executable = Path(read_regular_text(cache / f"choice-{key}"))
    except (OSError, UnicodeDecodeError):
        return None
    if is_inside(executable, outside):
        return None  # Chosen for another project, whose user had this one's programs on `PATH`.
    with contextlib.suppress(InterpreterError):
        return ask(executable, cache)
    return None


def _remember(cache: Path, key: str, interpreter: Interpreter) -> None:
    with contextlib.suppress(StorageError, OSError):
        cache.mkdir(parents=True, exist_ok=True)
        write_atomically(cache / f"choice-{key}", str(interpreter.executable).encode("utf-8"))
