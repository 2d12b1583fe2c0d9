"""Where plugins come from: `pypm_<name>.so` in a few folders, packages of the lock, pypm's own sources."""

from __future__ import annotations

import configparser
import hashlib
import itertools
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from pypm.codec.record import parse_record
from pypm.digest import Sha256, sha256_hex
from pypm.errors import ConfigurationError, PluginError, PypmError
from pypm.files import storage_errors
from pypm.plugins.failures import plugin_error
from pypm.regular import read_regular, read_regular_text

ENTRY_POINT_GROUP = "pypm.plugins"
SUFFIXES = (".so", ".dylib", ".dll")
FOLDER = "plugins"
"""In the project, and below `pypm` in the other places."""

SOURCES = Path(__file__).with_name("native")
"""The C sources of pypm's own plugins."""
HEADER = Path(__file__).with_name("pypm_plugin.h")

_LARGEST_BYTES = 64 << 20
_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_REFERENCE = re.compile(r"[A-Za-z_][\w.]*(?::[A-Za-z_][\w.]*)?")


class NativeFound(Struct, frozen=True, kw_only=True):
    """A shared library, read whole: what was hashed is what is loaded, whatever happens to the file."""

    name: str
    path: Path
    content: bytes
    sha256: Sha256
    """Of the content; for a library that was built here, over its sources."""
    origin: str = "project"
    """What the folder is called in the lock."""

    @property
    def file_name(self) -> str:
        """Its name in the lock."""
        return self.path.name


class SourceFound(Struct, frozen=True, kw_only=True):
    """A plugin that comes with pypm as C sources; it is built on this machine before it is loaded."""

    name: str
    path: Path
    """The folder of its sources, beside the Makefile."""
    sha256: Sha256
    """Over everything that the build reads of pypm: sources, Makefile, header."""
    origin: str = "pypm"

    @property
    def file_name(self) -> str:
        """Its name in the lock."""
        return f"{self.name}.c"


class PythonFound(Struct, frozen=True, kw_only=True):
    """An entry point of a package."""

    name: str
    path: Path
    """The `.dist-info` folder that declares it."""
    reference: str
    """`module:attribute`."""
    sha256: Sha256
    """Over the package's RECORD: the hash of each of its files, whatever folder it is installed in."""
    requires: tuple[Path, ...] = ()
    """Folders like `site_packages` of the packages that it depends on."""
    origin: str = "package"

    @property
    def site_packages(self) -> Path:
        """What the plugin's `sys.path` begins with."""
        return self.path.parent


Loadable = NativeFound | PythonFound
Found = NativeFound | SourceFound | PythonFound


class SearchPath(Struct, frozen=True, kw_only=True):
    """Where to look, the first hit wins; native plugins before entry points."""

    folders: tuple[Path, ...] = ()
    origins: tuple[str, ...] = ()
    """What each folder is called in the lock; those without a name are the project's."""
    site_packages: tuple[Path, ...] = ()
    sources: Path | None = None
    """A folder with one folder of C sources for each plugin; looked at last."""

    def named_folders(self) -> Iterator[tuple[Path, str]]:
        """Yield the folders with what they are called."""
        yield from itertools.zip_longest(self.folders, self.origins, fillvalue="project")


def search_path(root: Path | None, variables: Mapping[str, str]) -> SearchPath:
    """Return the usual places: the project, the user, the system, and pypm's own sources."""
    home = Path(variables.get("HOME") or "/nonexistent")
    data = Path(variables.get("XDG_DATA_HOME") or home / ".local" / "share")
    places = [
        *([("project", root / FOLDER)] if root else []),
        ("user", data / "pypm" / FOLDER),
        ("system", Path("/usr/local/lib/pypm") / FOLDER),
        ("system", Path("/usr/lib/pypm") / FOLDER),
    ]
    return SearchPath(
        folders=tuple(path for _, path in places),
        origins=tuple(origin for origin, _ in places),
        sources=SOURCES,
    )


def package_path(prefix: Path, site_packages: Path) -> SearchPath:
    """Return where a plugin lies in the unpacked tree of the package that brings it."""
    folder = prefix / "lib" / "pypm" / FOLDER
    return SearchPath(folders=(folder,), origins=("package",), site_packages=(site_packages,))


def normal_name(text: str) -> str:
    """Return a plugin's name with `-` for `_`.

    Raises: ConfigurationError: it is none.
    """
    if not _is_name(text):
        raise ConfigurationError(
            f"`{text}` is not the name of a plugin",
            reference="malformed-plugin-name",
            hint="use lower-case letters, digits and single `-` or `_`, beginning with a letter",
        )
    return text.replace("_", "-")


def find(name: str, where: SearchPath) -> Found:
    """Return the first plugin of this name.

    Raises:
        PluginError: there is none, or what is there cannot be read as one.
    """
    name = normal_name(name)
    for folder, origin in where.named_folders():
        for file_name in _file_names(name):
            path = folder / file_name
            content = _read(name, path)
            if content is not None:
                return NativeFound(
                    name=name, path=path, content=content, sha256=sha256_hex(content), origin=origin
                )
    for site_packages in where.site_packages:
        for found in _entry_points(site_packages):
            if found.name == name:
                return found
    if where.sources is not None and (source := _source(name, where.sources)) is not None:
        return source
    raise plugin_error(
        name,
        "is not installed",
        reference="missing",
        hint=f"put `{_file_names(name)[0]}` into one of the folders above, or install a package that has it",
        details=tuple(str(folder) for folder in (*where.folders, *where.site_packages)),
    )


def find_at(path: Path) -> NativeFound:
    """Return the plugin that a file is.

    Raises:
        PluginError: it is not there, is not named as a plugin is, or cannot be read.
    """
    if not path.exists():
        raise PluginError(f"`{path}` does not exist", reference="plugin-missing")
    if not _is_library(path):
        raise PluginError(
            f"`{path}` is not named as a plugin is",
            reference="plugin-misnamed",
            hint=f"call it `pypm_NAME{SUFFIXES[0]}`, NAME in lower case and with `_` for `-`",
        )
    name = normal_name(path.stem.removeprefix("pypm_"))
    content = _read(name, path)
    if content is None:
        raise PluginError(f"`{path}` does not exist", reference="plugin-missing")
    return NativeFound(name=name, path=path, content=content, sha256=sha256_hex(content))


def find_all(where: SearchPath) -> tuple[Found, ...]:
    """Return every plugin that `find` could return, sorted by name."""
    names: set[str] = set()
    for folder in where.folders:
        for path in folder.iterdir() if folder.is_dir() else ():
            if _is_library(path):
                names.add(normal_name(path.stem.removeprefix("pypm_")))
    for path in where.sources.iterdir() if where.sources is not None and where.sources.is_dir() else ():
        if _NAME.fullmatch(path.name) and (path / f"{path.name}.c").is_file():
            names.add(path.name.replace("_", "-"))
    names.update(found.name for folder in where.site_packages for found in _entry_points(folder))
    return tuple(find(name, where) for name in sorted(names))


def candidates(name: str, where: SearchPath) -> tuple[Path, ...]:
    """Return every file that decides what `find` returns for a plugin, whether or not it exists."""
    libraries = (folder / file for folder in where.folders for file in _file_names(normal_name(name)))
    sources = () if where.sources is None else _source_files(normal_name(name), where.sources)
    return (*libraries, *sources)


def _is_library(path: Path) -> bool:
    """Whether a file is named as a plugin is."""
    name = path.stem.removeprefix("pypm_")
    return path.name.startswith("pypm_") and path.suffix in SUFFIXES and _is_name(name)


def _is_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None and len(text) <= 64


def _file_names(name: str) -> tuple[str, ...]:
    return tuple(f"pypm_{name.replace('-', '_')}{suffix}" for suffix in SUFFIXES)


def _source(name: str, sources: Path) -> SourceFound | None:
    """Find a plugin of pypm's own and hash all that its build reads."""
    files = _source_files(name, sources)
    if not files:
        return None
    folder = sources / name.replace("-", "_")
    with storage_errors(f"read `{folder}`"):
        lines = sorted(f"{path.name}\0{sha256_hex(read_regular(path))}\n" for path in files)
    return SourceFound(name=name, path=folder, sha256=sha256_hex("".join(lines).encode()))


def _source_files(name: str, sources: Path) -> tuple[Path, ...]:
    """Return all that the build of a plugin of pypm's own reads; nothing where there is no such plugin."""
    spelt = name.replace("-", "_")
    folder = sources / spelt
    if not (folder / f"{spelt}.c").is_file():
        return ()
    own = (path for path in folder.iterdir() if path.suffix in (".c", ".h"))
    return (sources / "Makefile", HEADER, *own)


def _read(name: str, path: Path) -> bytes | None:
    """Return the content of a regular file, or None where there is nothing. Links are followed."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise plugin_error(name, f"cannot be read: {error.strerror}", reference="unreadable") from error
    # A folder can be opened but not made a stream, so the look comes first.
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST_BYTES:
        os.close(descriptor)
        raise PluginError(
            f"`{path}` is not a regular file of at most {_LARGEST_BYTES >> 20} MiB",
            reference="plugin-unreadable",
        )
    with os.fdopen(descriptor, "rb") as stream, storage_errors(f"read `{path}`"):
        return stream.read(_LARGEST_BYTES)


def _entry_points(site_packages: Path) -> Iterator[PythonFound]:
    """Read the entry points as text: nothing of a package is imported to find it."""
    for path in sorted(site_packages.glob("*.dist-info/entry_points.txt")):
        parser = configparser.ConfigParser(delimiters=("=",), interpolation=None, strict=False)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        try:
            parser.read_string(read_regular_text(path))
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue  # A package that declares nothing readable declares no plugin.
        if not parser.has_section(ENTRY_POINT_GROUP):
            continue
        for key, value in parser.items(ENTRY_POINT_GROUP):
            reference = value.partition("[")[0].strip()
            if _NAME.fullmatch(key) and _REFERENCE.fullmatch(reference):
                yield PythonFound(
                    name=key.replace("_", "-"),
                    path=path.parent,
                    reference=reference,
                    sha256=_record_digest(path.parent),
                )


def _record_digest(dist_info: Path) -> Sha256:
    """Hash the hashes of a package's files, but for scripts, which differ with every environment."""
    try:
        rows = parse_record(read_regular(dist_info / "RECORD"))
    except (OSError, PypmError) as error:
        raise PluginError(
            f"`{dist_info / 'RECORD'}` cannot be read, so nothing vouches for the plugin in it",
            reference="plugin-unreadable",
            hint="install the package again",
        ) from error
    lines = sorted(
        f"{row.path}\0{row.sha256}\n" for row in rows if row.sha256 and not row.path.startswith(("../", "/"))
    )
    return Sha256(hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest())
