"""What no option may open: the root, the store, the environment, the files that decide what runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pypm.isolation.protection import PROTECTED
from pypm.isolation.values import MalformedError
from pypm.paths import KERNEL_FOLDERS
from sandbox import Mount, Policy, PolicyError


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """The places of this machine that grants are checked against."""

    root: Path | None
    """The project; None for a tool or a script that belongs to none."""
    home: Path
    cache: Path
    """Downloads and store: writing there would change every environment of the machine."""
    consents: Path | None = None
    """Where the user's settings and consents lie: who writes them decides in the user's place."""

    def check(self, path: Path, *, writable: bool) -> None:
        """Refuse a grant that would undo the isolation, judged by where the path really leads.

        Links are followed first: a link in the project that leads to the home folder is the home folder.

        Raises: MalformedError with the reason.
        """
        if not path.exists():
            raise MalformedError(f"names `{path}`, which does not exist")
        real = path.resolve()
        if real == Path("/"):
            raise MalformedError("must not be the root of the file system")
        if any(_within(real, Path(kernel)) for kernel in KERNEL_FOLDERS):
            raise MalformedError(f"names `{path}`, which the sandbox makes itself")
        if writable:
            self._check_writable(path, real)
        try:
            Policy(mounts=(Mount.bind(str(real), writable=writable),))
        except PolicyError as error:
            raise MalformedError(f"names `{path}`: {error.details[0].partition(': ')[2]}") from error

    def _check_writable(self, path: Path, real: Path) -> None:
        cache, home = self.cache.resolve(), self.home.resolve()
        if _within(home, real):
            raise MalformedError(
                f"must not make the whole home folder writable; name a folder inside instead of `{path}`"
            )
        if _within(real, cache) or _within(cache, real):
            raise MalformedError(f"must not make the store in `{self.cache}` writable")
        consents = None if self.consents is None else self.consents.resolve()
        if consents is not None and (_within(real, consents) or _within(consents, real)):
            raise MalformedError(f"must not make pypm's own settings in `{self.consents}` writable")
        if self.root is None:
            return
        root = self.root.resolve()
        for protected in PROTECTED:
            if not protected.grantable and _within(real, root / protected.path):
                raise MalformedError(
                    f"must not make `{path}` writable: `{protected.path}` {protected.reason}"
                )
        if real != root and _within(root, real):
            raise MalformedError(f"must not be `{path}`, which holds the project and its protected files")


def _within(path: Path, folder: Path) -> bool:
    return path == folder or folder in path.parents
