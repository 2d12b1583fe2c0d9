"""Calls one build hook; a program of its own that runs inside the sandbox.

It is started by the plain interpreter, while the hook runs in the build environment's: `pyproject_hooks`,
mounted beside this file, is therefore never on the backend's own `sys.path`, and its choice of a version
binds nobody. The request is a read-only file, the answer a file in a folder of its own; what the backend
prints goes to the log untouched.

Source: PEP 517, PEP 660.
"""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
REQUEST = HERE / "request.json"
ANSWER = HERE / "answer" / "answer.json"
OUTPUT = HERE / "output"


def main() -> int:
    """Read the request, call the hook, write the answer, give the exit status."""
    request = json.loads(REQUEST.read_text(encoding="utf-8"))
    code = 0
    try:
        answer = {"result": call(request)}
    except subprocess.CalledProcessError as failure:
        answer = {"failed": failure.returncode}
        # A hook that a signal ended is told as a shell tells it: the limit whose signal it was is named then.
        code = 128 - failure.returncode if failure.returncode < 0 else 1
    ANSWER.write_text(json.dumps(answer), encoding="utf-8")
    return code


def call(request: dict[str, Any]) -> Any:
    """Call the hook that the request names; a dictionary with `problem` stands for a backend without it."""
    sys.path.insert(0, str(HERE / "hooks"))
    import pyproject_hooks

    try:
        backend = pyproject_hooks.BuildBackendHookCaller(
            request["source"],
            request["backend"],
            request["backend_path"] or None,
            python_executable=request["python"],
        )
        result = getattr(backend, request["hook"])(*arguments(request))
        if request["relocate"] not in (None, request["source"]):
            relocate(OUTPUT / result, request["source"], request["relocate"])
        return result
    except pyproject_hooks.BackendUnavailable as error:
        sys.stderr.write(error.traceback)
        return {"problem": "unavailable"}
    except pyproject_hooks.HookMissing:
        return {"problem": "missing"}
    except pyproject_hooks.UnsupportedOperation as error:
        sys.stderr.write(error.traceback)
        return {"problem": "unsupported"}
    except ValueError as error:
        sys.stderr.write(f"backend-path: {error}\n")
        return {"problem": "backend-path"}


def relocate(wheel: Path, copy: str, place: str) -> None:
    """Make an editable wheel point at `place` in place of `copy`, whose path occurs nowhere by chance.

    Needed where the copy could not be mounted at the tree's own place. Backends write the path into `.pth`
    files, finders and `direct_url.json`.
    """
    import base64
    import csv
    import hashlib
    import io
    import zipfile

    if not stat.S_ISREG(wheel.lstat().st_mode):
        return  # Whoever takes the wheel refuses it; a FIFO would be waited for until then.
    relocated = wheel.with_name(wheel.name + ".relocated")
    rows: dict[str, list[str]] = {}
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(relocated, "w", zipfile.ZIP_DEFLATED) as new:
        # RECORD comes last: it tells of what was changed.
        for entry in sorted(old.infolist(), key=lambda entry: entry.filename.endswith(".dist-info/RECORD")):
            content = old.read(entry)
            if entry.filename.endswith(".dist-info/RECORD"):
                table = csv.reader(io.StringIO(content.decode("utf-8")))
                text = io.StringIO()
                csv.writer(text, lineterminator="\n").writerows(rows.get(row[0], row) for row in table if row)
                content = text.getvalue().encode("utf-8")
            elif entry.filename.endswith((".pth", ".py", ".json")):
                content = content.replace(copy.encode(), place.encode())
                digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                rows[entry.filename] = [entry.filename, f"sha256={digest}", str(len(content))]
            new.writestr(entry, content)
    relocated.replace(wheel)


def arguments(request: dict[str, Any]) -> list[Any]:
    """Give the hook's arguments: those that make something are told where to put it."""
    settings = request["config_settings"] or None
    if request["hook"].startswith("get_requires_"):
        return [settings]
    return [str(OUTPUT), settings]


if __name__ == "__main__":
    sys.exit(main())
