"""A new plugin: C source, a test that loads it, a Makefile, and the header beside them."""

from __future__ import annotations

from pathlib import Path

from pypm.errors import UsageError
from pypm.files import storage_errors
from pypm.plugins.found import HEADER, normal_name

_TEMPLATE = Path(__file__).with_name("template")


def scaffold(name: str, folder: Path) -> tuple[Path, ...]:
    """Write a plugin called `name` to `folder`, which must not hold anything; return the files.

    Raises:
        ConfigurationError: it is not a name for a plugin.
        UsageError: there is something in the folder already.
        StorageError: the disk refused.
    """
    normal = normal_name(name)
    spelt = normal.replace("-", "_")
    with storage_errors(f"write to `{folder}`"):
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(
                f"`{folder}` is not empty", reference="plugin-exists", hint="choose another name or folder"
            )
        files = {
            folder / f"pypm_{spelt}.c": _TEMPLATE / "plugin.c",
            folder / f"test_{spelt}.c": _TEMPLATE / "test.c",
            folder / "Makefile": _TEMPLATE / "Makefile",
            folder / HEADER.name: HEADER,
        }
        folder.mkdir(parents=True, exist_ok=True)
        for target, source in files.items():
            text = source.read_text(encoding="utf-8")
            target.write_text(text.replace("@NAME@", normal).replace("@ID@", spelt), encoding="utf-8")
    return tuple(files)
