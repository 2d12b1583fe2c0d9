"""Calls one build hook; a program of its own that runs inside the sandbox.

It is started by the plain interpreter, while the hook runs in the build environment's: `pyproject_hooks`,
mounted beside this file, is therefore never on the backend's own `sys.path`, and its choice of a version
binds nobody. The request is a read-only file, the answer a file in a folder of its own; what the backend
prints goes to the log untouched.

Source: PEP 517, PEP 660.
"""

from __future__ import annotations

import json
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
    try:
        answer = {"result": call(request)}
    except subprocess.CalledProcessError as failure:
        answer = {"failed": failure.returncode}
    ANSWER.write_text(json.dumps(answer), encoding="utf-8")
    return 0 if "result" in answer else 1


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
        return getattr(backend, request["hook"])(*arguments(request))
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


def arguments(request: dict[str, Any]) -> list[Any]:
    """Give the hook's arguments: those that make something are told where to put it."""
    settings = request["config_settings"] or None
    if request["hook"].startswith("get_requires_"):
        return [settings]
    return [str(OUTPUT), settings]


if __name__ == "__main__":
    sys.exit(main())
