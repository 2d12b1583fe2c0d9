"""Where a project's git repository lies when it lies elsewhere; the one place here that reads a file."""

from __future__ import annotations

import re
from pathlib import Path

from pypm.regular import open_regular

_LONGEST_POINTER_BYTES = 4096
_WORKTREE = re.compile(r"^\[core\][^\[]*^\s*worktree\s*=\s*(.+)$", re.MULTILINE | re.IGNORECASE)


def folders_elsewhere(root: Path) -> tuple[Path, ...]:
    """Return git's own folders for a `.git` that is a file, as worktrees and submodules have it.

    They are shown read-only, so that versions can be read from tags. A `.git` file may come with the sources,
    and must not open another project's repository: so git's folder is believed only when it points back. A
    worktree's does by its file `gitdir`, a submodule's by `core.worktree`. Nothing points back to a link, or
    from a folder made with `--separate-git-dir`: `--allow-read` shows those.

    Source: gitrepository-layout(5), git-worktree(1).
    """
    place = root / ".git"
    if place.is_symlink() or not place.is_file():
        return ()
    text = _read(place)
    if not text.startswith("gitdir:"):
        return ()
    folder = (place.parent / text.removeprefix("gitdir:").strip()).resolve()
    if not _is_git_folder(folder) or not _points_back(folder, place):
        return ()
    # A worktree keeps only its HEAD and index for itself; objects and references lie in the common folder.
    common = (folder / (_read(folder / "commondir").strip() or ".")).resolve()
    # Git makes its worktrees' folders there and nowhere else; a folder in the project could name any other.
    is_own = common.joinpath("worktrees") == folder.parent and _is_git_folder(common)
    return (folder, common) if is_own else (folder,)


def _points_back(folder: Path, place: Path) -> bool:
    """Whether a git folder says that it belongs to the project of this `.git` file."""
    back = _read(folder / "gitdir").strip()
    if back:
        return (folder / back).resolve() == place.resolve()
    match = _WORKTREE.search(_read(folder / "config"))
    return match is not None and (folder / match[1].strip().strip('"')).resolve() == place.parent.resolve()


def _is_git_folder(folder: Path) -> bool:
    return (folder / "HEAD").is_file() and ((folder / "objects").is_dir() or (folder / "commondir").is_file())


def _read(path: Path) -> str:
    try:
        with open_regular(path) as stream:
            return stream.read(_LONGEST_POINTER_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
