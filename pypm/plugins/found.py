"""Where plugins come from: `pypm_<name>.so` in a few folders, and entry points of installed packages."""

from __future__ import annotations

import configparser
import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pypm.codec.record import parse_record
from pypm.digest import Sha256, sha256_hex
from pypm.errors import ConfigurationError, PluginError, PypmError
from pypm.files import storage_errors
from pypm.plugins.failures import plugin_error

ENTRY_POINT_GROUP = "pypm.plugins"
SUFFIXES = (".so", ".dylib", ".dll")
FOLDER = "plugins"
"""In the project, and below `pypm` in the other places."""

_LARGEST_BYTES = 64 << 20
_NAME = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")
_REFERENCE = re.compile(r"[A-Za-z_][\w.]*(?::[A-Za-z_][\w.]*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeFound:
    """A shared library, read whole: what was hashed is what is loaded, whatever happens to the file."""

    name: str
    path: Path
    content: bytes
    sha256: Sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonFound:
    """An entry point of an installed package."""

    name: str
    path: Path
    """The `.dist-info` folder that declares it."""
    reference: str
    """`module:attribute`."""
    sha256: Sha256
    """Over the package's RECORD: the hash of each of its files, whatever folder it is installed in."""

    @property
    def site_packages(self) -> Path:
        """What the plugin's `sys.path` begins with."""
        return self.path.parent


Found = NativeFound | PythonFound


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPath:
    """Where to look, the first hit wins; native plugins before entry points."""

    folders: tuple[Path, ...]
    site_packages: tuple[Path, ...] = ()


def search_path(
    root: Path | None, environment: Path | None, site_packages: Sequence[Path], variables: Mapping[str, str]
) -> SearchPath:
    """Return the usual places: the project, its environment, the user, the system, and pypm's own."""
    home = Path(variables.get("HOME") or "/nonexistent")
    data = Path(variables.get("XDG_DATA_HOME") or home / ".local" / "share")
    folders = [
        *([root / FOLDER] if root else []),
        *([environment / "lib" / "pypm" / FOLDER] if environment else []),
        data / "pypm" / FOLDER,
        Path("/usr/local/lib/pypm") / FOLDER,
        Path("/usr/lib/pypm") / FOLDER,
        Path(__file__).with_name("native"),
    ]
    return SearchPath(folders=tuple(folders), site_packages=tuple(site_packages))


def normal_name(text: str) -> str:
    """Return a plugin's name with `-` for `_`.

    Raises: ConfigurationError: it is none.
    """
    if not _NAME.fullmatch(text) or len(text) > 64:
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
    for folder in where.folders:
        for file_name in _file_names(name):
            content = _read(name, folder / file_name)
            if content is not None:
                return NativeFound(
                    name=name, path=folder / file_name, content=content, sha256=sha256_hex(content)
                )
    for site_packages in where.site_packages:
        for found in _entry_points(site_packages):
            if found.name == name:
                return found
    raise plugin_error(
        name,
        "is not installed",
        reference="missing",
        hint=f"put `{_file_names(name)[0]}` into one of the folders above, or install a package that has it",
        details=tuple(str(folder) for folder in (*where.folders, *where.site_packages)),
    )


def find_all(where: SearchPath) -> tuple[Found, ...]:
    """Return every plugin that `find` could return, sorted by name."""
    names: set[str] = set()
    for folder in where.folders:
        for path in folder.iterdir() if folder.is_dir() else ():
            stem = path.stem.removeprefix("pypm_")
            if path.name.startswith("pypm_") and path.suffix in SUFFIXES and _NAME.fullmatch(stem):
                names.add(stem.replace("_", "-"))
    names.update(found.name for folder in where.site_packages for found in _entry_points(folder))
    return tuple(find(name, where) for name in sorted(names))


def check_pin(found: Found, pinned: Mapping[str, Sha256]) -> None:
    """Refuse a plugin that is not the one which the lock names.

    Raises: PluginError.
    """
    expected = pinned.get(found.name)
    if expected is not None and expected != found.sha256:
        raise plugin_error(
            found.name,
            "is not the one that the lock names",
            reference="changed",
            hint="`pypm lock` pins the one that is there now, if you trust it",
            details=(f"locked: {expected}", f"found:  {found.sha256} in {found.path}"),
        )


def _file_names(name: str) -> tuple[str, ...]:
    return tuple(f"pypm_{name.replace('-', '_')}{suffix}" for suffix in SUFFIXES)


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
            parser.read_string(path.read_text(encoding="utf-8"))
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
        rows = parse_record((dist_info / "RECORD").read_bytes())
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
