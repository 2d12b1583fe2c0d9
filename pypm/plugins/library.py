"""Where a host finds its plugin's library: in its memory, or on disk where nothing can be mounted."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType

from pypm.files import remove_tree, storage_errors
from pypm.plugins.found import Loadable, NativeFound
from sandbox import Isolation, Mount

NATIVE_PATH = "/plugin/plugin.so"
"""Where the library lies inside."""


class Library:
    """The bytes that were hashed, at a path that the host can load. Use it as a context manager, or close it.

    A plugin in Python has none; its folders are in the store.
    """

    def __init__(self, plugin: Loadable, *, isolation: Isolation | None, scratch: Path) -> None:
        """Lay the bytes out; below `scratch` where they have to lie on disk. Raises: StorageError."""
        self.plugin = plugin
        self.path = NATIVE_PATH
        self.mounts: tuple[Mount, ...] = ()
        self._folder: Path | None = None
        if not isinstance(plugin, NativeFound):
            return
        if isolation is None or not isolation.in_place:
            self.mounts = (Mount.file(NATIVE_PATH, plugin.content, 0o555),)
            return
        with storage_errors("make a folder for a plugin's library"):
            self._folder = Path(tempfile.mkdtemp(prefix="library-", dir=scratch)).resolve()
            path = self._folder / "plugin.so"
            path.write_bytes(plugin.content)
            path.chmod(0o500)
        self.path = str(path)
        self.mounts = (Mount.bind(str(self._folder)),)

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove what lies on disk; callable twice."""
        if self._folder is not None:
            remove_tree(self._folder)
            self._folder = None
