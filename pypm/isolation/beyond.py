"""What a project's options open beyond the default policy, which counts only with the user's consent.

Whoever clones a project has not read its `[tool.pypm.sandbox]`. Lowering a limit or making the project
read-only harms nobody; everything that opens more is told apart here, so that it can be withheld, shown,
compared with the flags of the command line, and digested for a consent to exactly this.
See docs/design/0036-consent-to-grants.md.
"""

from __future__ import annotations

import shlex
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from pypm.digest import Content
from pypm.isolation.boundary import Boundary
from pypm.isolation.build import LARGEST_FILE_BYTES
from pypm.isolation.limits import TEMPORARY_SIZE_BYTES, WEB_PORTS
from pypm.isolation.options import HostPort, RunOptions
from pypm.isolation.protection import PROTECTED
from pypm.isolation.variables import PASSED


def beyond_default(options: RunOptions, boundary: Boundary, *, build: bool = False) -> RunOptions:
    """Return what these options open that a run, or a `build`, does not have by default.

    A run sees its project and writes it, so paths of it are nothing new. A build works on a copy and gets no
    variable: to it the writing of the tree itself is new, and each name.
    """
    opened: dict[str, Any] = {
        "allow_all_net": options.allow_all_net or None,
        "allow_net": options.allow_net,
        "allow_read": tuple(path for path in options.allow_read if not _is_own(path, boundary)),
        "allow_write": tuple(
            path
            for path in options.allow_write
            if build or not _is_own(path, boundary) or _is_protected(path, boundary)
        ),
        "allow_env": tuple(name for name in options.allow_env if build or not _is_matched(name, PASSED)),
        "allow_device": options.allow_device,
    }
    if options.isolation is not None and options.isolation.in_place:
        opened["isolation"] = options.isolation
    if (options.tmp_size_bytes or 0) > TEMPORARY_SIZE_BYTES:
        opened["tmp_size_bytes"] = options.tmp_size_bytes
    if build and (options.file_size_bytes or 0) > LARGEST_FILE_BYTES:
        opened["file_size_bytes"] = options.file_size_bytes
    return RunOptions(**opened)


def not_covered(opened: RunOptions, given: RunOptions) -> RunOptions:
    """Return what is left of `opened` where the user has said `given` on the command line.

    A flag is the user's own word: what it names needs no other one. A value that a flag replaces does not
    count anyway.
    """
    writable, readable = given.allow_write, (*given.allow_read, *given.allow_write)
    return replace(
        opened,
        allow_all_net=None if given.allow_all_net else opened.allow_all_net,
        allow_net=()
        if given.allow_all_net
        else tuple(place for place in opened.allow_net if not _is_named(place, given.allow_net)),
        allow_read=tuple(path for path in opened.allow_read if not _is_below(path, readable)),
        allow_write=tuple(path for path in opened.allow_write if not _is_below(path, writable)),
        allow_env=tuple(name for name in opened.allow_env if not _is_matched(name, given.allow_env)),
        allow_device=tuple(name for name in opened.allow_device if name not in given.allow_device),
        isolation=None if given.isolation is not None else opened.isolation,
        tmp_size_bytes=None if given.tmp_size_bytes is not None else opened.tmp_size_bytes,
        file_size_bytes=None if given.file_size_bytes is not None else opened.file_size_bytes,
    )


def read_only(options: RunOptions, boundary: Boundary) -> RunOptions:
    """Return the options of a project whose user said `--read-only`: nothing of its folder is written."""
    return replace(
        options, allow_write=tuple(path for path in options.allow_write if not _is_own(path, boundary))
    )


def withhold(options: RunOptions, waiting: RunOptions) -> RunOptions:
    """Return the options without what waits for consent: its places and names gone, its values not said."""
    changes: dict[str, Any] = {}
    for field in fields(RunOptions):
        has, waits = getattr(options, field.name), getattr(waiting, field.name)
        if isinstance(has, tuple):
            changes[field.name] = tuple(item for item in has if item not in waits)
        elif waits is not None:
            changes[field.name] = None
    return replace(options, **changes)


def is_nothing(options: RunOptions) -> bool:
    """Whether nothing is opened."""
    return options == RunOptions()


def grant_content(options: RunOptions, opened: RunOptions, boundary: Boundary) -> Content:
    """Return what a consent is given to, for a digest: all that is granted, and which limits are raised.

    Paths are told by where they lead: from the project's folder, else from the home, so that one digest
    holds on several machines; a link that comes to lead elsewhere is another grant.
    """
    return {
        "net": sorted(str(place) for place in options.allow_net),
        "all-net": bool(options.allow_all_net),
        "read": sorted(_told(path, boundary) for path in options.allow_read),
        "write": sorted(_told(path, boundary) for path in options.allow_write),
        "env": sorted(options.allow_env),
        "device": sorted(options.allow_device),
        "isolation": None if opened.isolation is None else opened.isolation.value,
        "tmp-size": opened.tmp_size_bytes,
        "file-size": opened.file_size_bytes,
    }


def as_flags(opened: RunOptions) -> str | None:
    """Return the flags that say the same for one run; None where some of it has no flag."""
    if opened.tmp_size_bytes is not None or opened.file_size_bytes is not None:
        return None
    words = [f"--allow-net={place}" for place in opened.allow_net if not opened.allow_all_net]
    words += ["--allow-net"] if opened.allow_all_net else []
    words += [f"--allow-read={path}" for path in opened.allow_read]
    words += [f"--allow-write={path}" for path in opened.allow_write]
    words += [f"--allow-env={name}" for name in opened.allow_env]
    words += [f"--allow-device={name}" for name in opened.allow_device]
    words += [] if opened.isolation is None else [f"--isolation={opened.isolation.value}"]
    return shlex.join(words)


def _is_own(path: Path, boundary: Boundary) -> bool:
    """Whether a path is the project's own: named in its folder, and behind all links still there.

    A folder that holds the home is no project's own, whatever `pyproject.toml` lies in it.
    """
    if boundary.root is None:
        return False
    root = boundary.root.resolve()
    if boundary.home.resolve().is_relative_to(root):
        return False
    named = path.is_relative_to(boundary.root) or path.is_relative_to(root)
    return named and path.resolve().is_relative_to(root)


def _is_protected(path: Path, boundary: Boundary) -> bool:
    assert boundary.root is not None
    root, real = boundary.root.resolve(), path.resolve()
    return any(real.is_relative_to(root / protected.path) for protected in PROTECTED)


def _is_named(place: HostPort, given: tuple[HostPort, ...]) -> bool:
    """Whether the flags name this host with this port, a flag without a port standing for the web's."""
    web = place.port in WEB_PORTS
    return any(place == flag or (web and flag.port is None and flag.host == place.host) for flag in given)


def _is_below(path: Path, folders: tuple[Path, ...]) -> bool:
    return any(path.resolve().is_relative_to(folder.resolve()) for folder in folders)


def _is_matched(name: str, given: tuple[str, ...]) -> bool:
    return any(name == flag or (flag.endswith("*") and name.startswith(flag[:-1])) for flag in given)


def _told(path: Path, boundary: Boundary) -> str:
    real = path.resolve()
    for name, base in ((".", boundary.root), ("~", boundary.home)):
        if base is not None and real.is_relative_to(base.resolve()):
            return f"{name}/{real.relative_to(base.resolve()).as_posix()}"
    return str(real)
