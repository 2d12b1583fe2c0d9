"""Ready plans: what `run` and `sync` worked out last time, so that the next time needs none of the machinery.

A plan is found by everything that went into it from the command line and the environment, and is used only
while every file that it was made from is the same. It holds plain data that `marshal` reads in well under a
millisecond. This module is on the fast path: it imports only what the interpreter has loaded already, or has
built in.

Source: `marshal` (data of the very same interpreter version, from the user's own cache folder; never data
from elsewhere), `_imp.source_hash` (the hash behind hash-based bytecode files; SipHash).
"""

# ruff: noqa: PTH103, PTH105, PTH108, PTH109, PTH113, PTH116, PTH118, PTH120, PTH123, PTH208
# `pathlib` costs more than the whole fast path may take.

from __future__ import annotations

import _imp
import marshal
import os
import sys

from pypm import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any, TypeAlias

    Entries: TypeAlias = tuple[tuple[str, Any], ...]

FORMAT = 4
"""Raised whenever the shape of a plan or of its payload changes."""

MOUNTED_LOCK = "mounted"
"""In the cache: whoever has mounted trees of the store holds a byte of this file."""

_BOOLEAN_FLAGS = frozenset({
    "-m", "--module", "--frozen", "--locked", "--no-sync", "--no-dev", "--all-extras", "--all-groups",
    "--no-default-groups", "--only-dev", "--no-install-project", "--read-only", "--no-grants", "--offline",
    "--no-progress", "-q", "--quiet", "--no-config",
})  # fmt: skip
_VALUE_FLAGS = frozenset({
    "--extra", "--no-extra", "--group", "--no-group", "--only-group", "--project", "-p", "--python",
    "--cache-dir", "--config-file", "--memory", "--cpus", "--timeout", "--pids", "--isolation", "--profile",
    "--color", "--expect-digest",
})  # fmt: skip
"""Flags that a plan can stand for. Those that grant paths depend on the working directory, and the rest ask
for talk: with any of them the whole program runs. `--allow-net=HOST` is taken with its `=` alone: whether the
next word is a host cannot be told here."""

_COMMANDS = ("run", "sync")
_CHOOSING_VARIABLES = ("PATH", "HOME", "PYENV_ROOT", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "NO_COLOR")
"""They decide which interpreter, configuration and plugins are found, and how a line looks."""

_SCRIPT_SUFFIX = ".py"
_INLINE_METADATA = b"# /// script"
"""Begins a script's own requirements (PEP 723); such a script does not run in the project's environment."""


_MODULE_SUFFIXES = (".py", ".pth")
_KIND_MASK = 0o170000
"""S_IFMT of stat(2)."""
_REGULAR = 0o100000
"""S_IFREG of stat(2)."""
_LARGEST_BYTES = 64 << 20
"""As in `pypm.files`, which costs too much here."""
_WRITABLE_BY_ALL = 0o002
"""S_IWOTH of inode(7)."""


class Call:
    """A command line that a plan may answer."""

    __slots__ = ("cache_folder", "command", "module", "options", "project", "words")

    def __init__(self, command: str) -> None:
        self.command = command
        self.options: list[str] = []
        """Flags and values as written, the command left out."""
        self.words: list[str] = []
        self.module = False
        self.project: str | None = None
        self.cache_folder: str | None = None

    @property
    def is_quiet(self) -> bool:
        return "-q" in self.options or "--quiet" in self.options

    @property
    def color(self) -> str:
        """What `--color` says, `auto` without it."""
        given = [option.partition("=")[2] for option in self.options if option.startswith("--color=")]
        return given[-1] if given else "auto"


def read_call(arguments: Sequence[str]) -> Call | None:
    """Return the `run` or `sync` call that `arguments` (without the program) write, or None for all else."""
    if not arguments or arguments[0] not in _COMMANDS:
        return None
    call = Call(arguments[0])
    position, count = 1, len(arguments)
    while position < count:
        word = arguments[position]
        if word == "--":
            position += 1
            break
        if not word.startswith("-"):
            break
        name, equals, value = word.partition("=")
        if name in _VALUE_FLAGS:
            if not equals:
                position += 1
                if position == count:
                    return None
                value = arguments[position]
            _note(call, name, value)
        elif word not in _BOOLEAN_FLAGS and not (name == "--allow-net" and value):
            return None
        call.module = call.module or word in {"-m", "--module"}
        call.options.append(f"{name}={value}" if equals or name in _VALUE_FLAGS else name)
        position += 1
    call.words = list(arguments[position:])
    return call if bool(call.words) is (call.command == "run") else None


def _note(call: Call, name: str, value: str) -> None:
    if name == "--project":
        call.project = value
    elif name == "--cache-dir":
        call.cache_folder = value


def command_words(words: Sequence[str], *, module: bool) -> tuple[str, ...]:
    """Return the argument vector: modules and scripts are handed to the environment's interpreter."""
    if module:
        return ("python", "-m", *words)
    if words[0].endswith(_SCRIPT_SUFFIX) and os.path.isfile(words[0]):
        return ("python", *words)
    return tuple(words)


def has_inline_metadata(words: Sequence[str], *, module: bool) -> bool:
    """Whether the command is a script that brings its own requirements (PEP 723)."""
    if module or not words[0].endswith(_SCRIPT_SUFFIX):
        return False
    try:
        status = os.stat(words[0])
        if status.st_mode & _KIND_MASK != _REGULAR:
            return False  # Nobody waits for the writer of a FIFO.
        if status.st_size > _LARGEST_BYTES:
            return True  # The whole program refuses to read it, and says so.
        with open(words[0], "rb", opener=_without_waiting) as script:
            return any(line.rstrip() == _INLINE_METADATA for line in script)
    except OSError:
        return False


def plan_key(call: Call, root: str, environ: Mapping[str, str]) -> tuple[Any, ...]:
    """Return everything outside of files that decides over the plan.

    The terminal is part of it: an interactive command gets a pseudo-terminal, a piped one its pipes. So is
    the user: a plan made by root holds root's mappings.
    """
    return (
        FORMAT,
        __version__,
        root,
        call.command,
        tuple(call.options),
        tuple(sorted(item for item in environ.items() if item[0].startswith("PYPM_"))),
        tuple(environ.get(name) for name in _CHOOSING_VARIABLES),
        sys.executable,
        (os.isatty(0), os.isatty(1), os.isatty(2)),
        (os.getuid(), os.geteuid(), os.getgid()) if hasattr(os, "getuid") else (),
        sys.implementation.cache_tag,
    )


def plan_path(folder: str, key: tuple[Any, ...]) -> str:
    """Return where the plan of this key lies. Two keys may share a place; the plan holds its key in full."""
    return os.path.join(folder, _imp.source_hash(FORMAT, repr(key).encode("utf-8", "surrogatepass")).hex())


class Facts:
    """What tells the world that a plan was made from apart from a changed one. Plain data inside."""

    __slots__ = ("files", "kinds", "listings")

    def __init__(self, files: Entries = (), kinds: Entries = (), listings: Entries = ()) -> None:
        self.files = files
        """Path, and what tells the file from a changed or replaced one."""
        self.kinds = kinds
        """Path, and whether it is a file, a folder or nothing: folders that change all the time."""
        self.listings = listings
        """Folder, and the names in it that could be modules."""

    def hold(self) -> bool:
        """Whether all of it is still so."""
        return (
            still(self.files)
            and all(_kind(path) == kind for path, kind in self.kinds)
            and all(_listing(path) == names for path, names in self.listings)
        )


def file_facts(paths: Iterable[str]) -> Entries:
    """Return what tells each file from a changed one; None for a file that is not there."""
    return tuple((path, _fact(path)) for path in paths)


def still(files: Entries) -> bool:
    """Whether each file is the one that it was."""
    return all(_fact(path) == fact for path, fact in files)


def kind_facts(paths: Iterable[str]) -> Entries:
    """Return of what kind each path is; None for one that is not there."""
    return tuple((path, _kind(path)) for path in paths)


def listing_facts(folders: Iterable[str]) -> Entries:
    """Return which names in each folder could be modules."""
    return tuple((folder, _listing(folder)) for folder in folders)


def _fact(path: str) -> tuple[int, ...] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev, status.st_mode)


def _kind(path: str) -> int | None:
    try:
        return os.lstat(path).st_mode & _KIND_MASK
    except OSError:
        return None


def _listing(folder: str) -> tuple[str, ...] | None:
    try:
        names = os.listdir(folder)
    except OSError:
        return None
    return tuple(sorted(name for name in names if name.endswith(_MODULE_SUFFIXES) or name.isidentifier()))


_CHECKSUM_KEY = 0x7079706D
"""Tells damage, not malice: who can write the user's cache folder needs no plan to do harm."""


def save(path: str, key: tuple[Any, ...], facts: Facts, payload: Any) -> None:
    """Write a plan beside its place and rename it in. A disk that refuses costs speed, nothing else."""
    beside = f"{path}.{os.getpid()}"
    content = marshal.dumps((key, facts.files, facts.kinds, facts.listings, payload))
    content = _imp.source_hash(_CHECKSUM_KEY, content) + content
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(beside, "wb") as stream:
            stream.write(content)
        os.replace(beside, path)
    except OSError:
        forget(beside)


def load(path: str, key: tuple[Any, ...]) -> Any | None:
    """Return the payload of the plan, or None when there is none or it is not fresh any more."""
    found = read(path, key)
    return found[1] if found is not None and found[0].hold() else None


def read(path: str, key: tuple[Any, ...]) -> tuple[Facts, Any] | None:
    """Return what the plan was made from and its payload, fresh or not; None when there is none."""
    try:
        with open(path, "rb", buffering=0, opener=_without_waiting) as stream:
            status = os.fstat(stream.fileno())
            if status.st_mode & _KIND_MASK != _REGULAR or status.st_size > _LARGEST_BYTES:
                return None
            if status.st_uid not in (0, os.geteuid()) or status.st_mode & _WRITABLE_BY_ALL:
                return None  # In a cache that several users share, another one could decide what we run.
            content = stream.read()
        checksum, content = content[:8], content[8:]
        if checksum != _imp.source_hash(_CHECKSUM_KEY, content):
            return None  # Damaged data can keep `marshal` busy for minutes, or make it ask for all memory.
        known_key, files, kinds, listings, payload = marshal.loads(content)  # noqa: S302 - our own file
    except (OSError, EOFError, ValueError, TypeError):
        return None
    return (Facts(files, kinds, listings), payload) if known_key == key else None


def _without_waiting(path: str, flags: int) -> int:
    """Open for `open`; a FIFO in the file's place has no writer that is worth waiting for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def forget(path: str) -> None:
    """Remove a plan that does not work on this host any more, so that the next call goes without it."""
    try:
        os.unlink(path)
    except OSError:
        return


def renew(path: str, key: tuple[Any, ...], payload: Any) -> None:
    """Give the plan another payload; what it was made from stays as it is."""
    found = read(path, key)
    if found is not None:
        save(path, key, found[0], payload)


def is_own(cache: str) -> bool:
    """Whether this user alone can write the cache, whose trees are mounted without a look at each file.

    The rule is that of `pypm.files.make_own_folder`, which tells the user where it is not so.
    """
    try:
        status = os.stat(cache)
    except OSError:
        return False
    return status.st_uid in (0, os.geteuid()) and not status.st_mode & _WRITABLE_BY_ALL


def hold(cache: str) -> bool:
    """Keep the cache's trees in their places until this process ends; False while somebody removes some.

    Each process locks the byte of its own number, so that holders never meet, and who removes locks all of
    them. Where nothing can be written nothing can be removed either. `fcntl`, which has the lock that the
    rest of pypm uses, costs as much as a third of the whole fast path.

    Source: lockf(3); the lock is no child's, and ends with the process.
    """
    if not hasattr(os, "lockf"):
        return True
    try:
        descriptor = os.open(os.path.join(cache, MOUNTED_LOCK), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError:
        return True
    try:
        os.lseek(descriptor, os.getpid(), os.SEEK_SET)
        os.lockf(descriptor, os.F_TLOCK, 1)
        if os.fstat(descriptor).st_nlink:
            return True
    except OSError:
        pass
    os.close(descriptor)  # Somebody removes trees just now, or has removed them and this very file.
    return False


def passed_variables(payload: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's variables that the plan lets in."""
    exact, prefixes = payload["exact"], payload["prefixes"]
    return {
        name: value
        for name, value in environ.items()
        if name in exact or (name.startswith(prefixes) and name not in payload["made"])
    }


def is_program(word: str, folders: Sequence[str]) -> bool:
    """Whether a command's first word will be found; for a path, only the sandbox can tell."""
    return "/" in word or any(os.path.lexists(f"{folder}/{word}") for folder in folders)


def folder_inside(root: str) -> str:
    """Return where the command starts: the working directory, if the sandbox shows it, else the project."""
    here = os.getcwd()
    real = os.path.realpath(root)
    return here if here == real or here.startswith(real + os.sep) else real
