"""Host paths that are shown at their own place, put together so that no mount hides or widens another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from pypm.errors import IsolationError
from sandbox import Mount

_SYSTEM = tuple(Path(folder) for folder in ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64"))
"""Shown by `Policy(system=True)`."""


@dataclass(slots=True)
class Places:
    """Collects what is shown, each under its real path once; other names for it become links inside.

    One place has one view: a folder that was reachable under two names, protected in one of them only, would
    not be protected at all.
    """

    shown: dict[Path, bool] = field(default_factory=dict)
    """Real path to whether it is writable."""
    links: dict[Path, Path] = field(default_factory=dict)
    """Further names, each with the real path that it leads to."""

    def show(self, paths: Iterable[Path], *, writable: bool = False) -> None:
        """Add paths; writable wins where a path is asked for both ways."""
        for path in paths:
            real = path.resolve()
            self.shown[real] = self.shown.get(real, False) or writable
            if path != real:
                self.links[path] = real

    def show_real(self, real: Path, *, writable: bool) -> None:
        """Add a path that was resolved and judged; a second look could see another destination."""
        self.shown[real] = self.shown.get(real, False) or writable

    def name(self, path: Path, also: Path) -> None:
        """Let `path`, which is shown, be found as `also` too."""
        self.links[also] = path.resolve()

    def is_writable(self, path: Path) -> bool:
        """Whether what is shown at `path` could be written, before anything is protected."""
        holders = [folder for folder in self.shown if path.is_relative_to(folder)]
        return bool(holders) and self.shown[max(holders, key=lambda folder: len(folder.parts))]

    def mounts(self) -> tuple[Mount, ...]:
        """Outer folders first, so that an inner one is mounted on top and keeps its own right."""
        mounts: list[Mount] = []
        shown: list[tuple[Path, bool]] = []
        for path, writable in sorted(self.shown.items(), key=lambda item: (len(item[0].parts), item[0])):
            if writable or not _is_covered(path, shown):
                shown.append((path, writable))
                mounts.append(Mount.bind(str(path), writable=writable))
        for name, real in sorted(self.links.items()):
            # Inside another mount the host's own link is seen already.
            if not any(name.is_relative_to(folder) for folder in (*_SYSTEM, *self.shown)):
                mounts.append(Mount.symlink(str(name), str(real)))
        return tuple(mounts)


def show_granted(paths: Iterable[Path], root: Path | None, places: Places, *, writable: bool) -> None:
    """Show what the grants lead to, looked up once: a folder of the project must not lead out of it.

    A run may write the project, so it can replace a folder by a link to wherever it wants to be let in next
    time, also in the moment after the grant was judged. What is mounted later passes no link any more.
    """
    for path in paths:
        if root is None or not path.is_relative_to(root):
            places.show([path], writable=writable)
            continue
        real = path.resolve()
        if not real.is_relative_to(root.resolve()):
            raise IsolationError(
                f"`{path}` in the project leads to `{real}`, outside of it",
                reference="grant-leads-out",
                hint="name the destination itself, if it is meant",
            )
        places.show_real(real, writable=writable)


def _is_covered(path: Path, shown: list[tuple[Path, bool]]) -> bool:
    """Whether a read-only path is seen read-only already."""
    if any(path.is_relative_to(folder) for folder in _SYSTEM):
        return True
    holders = [writable for folder, writable in shown if path.is_relative_to(folder)]
    return bool(holders) and not holders[-1]
