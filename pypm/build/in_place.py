"""The folders of a hook call where nothing can be mounted: what is mounted elsewhere is laid out on disk.

The script that runs inside finds everything beside itself, so the scratch folder of the call takes the place
of `/build`. Its path is another one each time: a build that writes it into its result does not repeat.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pypm.files import storage_errors

SCRIPT = "inside.py"
REQUEST = "request.json"


def lay_out(folder: Path, *, script: Path, hooks: Path, request: bytes, repository: Path | None) -> Path:
    """Put the script, the request and links to hooks and repository into `folder`; return the script.

    Raises: StorageError.
    """
    with storage_errors(f"fill the build folder `{folder}`"):
        shutil.copyfile(script, folder / SCRIPT)
        (folder / REQUEST).write_bytes(request)
        (folder / "hooks").mkdir()
        (folder / "hooks" / hooks.name).symlink_to(hooks)
        if repository is not None:
            (folder / "source" / ".git").symlink_to(repository)
    return folder / SCRIPT
