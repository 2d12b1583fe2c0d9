"""Where a project's git repository lies when it lies elsewhere; the one place here that reads a file."""

from __future__ import annotations

from pathlib import Path

_LONGEST_POINTER_BYTES = 4096


def folders_elsewhere(root: Path) -> tuple[Path, ...]:
    """Return git's own folders for a `.git` that is a file or a link, as worktrees and submodules have it.

    They are shown read-only, so that versions can be read from tags. A pointer is believed only when it leads
    to something that is a git folder, that is when `HEAD` lies in it: a `.git` file that came with the
    sources must not open whatever folder it names.
    """
    place = root / ".git"
    return _follow(place) if place.is_symlink() or place.is_file() else ()


def _follow(place: Path) -> tuple[Path, ...]:
    if place.is_symlink():
        folder = place.resolve()
        return (folder,) if _is_git_folder(folder) else ()
    text = _read(place)
    if not text.startswith("gitdir:"):
        return ()
    folder = (place.parent / text.removeprefix("gitdir:").strip()).resolve()
    if not _is_git_folder(folder):
        return ()
    # A worktree keeps only its HEAD and index for itself; objects and references lie in the common folder.
    common = (folder / (_read(folder / "commondir").strip() or ".")).resolve()
    return (folder, common) if common != folder and _is_git_folder(common) else (folder,)


def _is_git_folder(folder: Path) -> bool:
    return (folder / "HEAD").is_file() and ((folder / "objects").is_dir() or (folder / "commondir").is_file())


def _read(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return stream.read(_LONGEST_POINTER_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
