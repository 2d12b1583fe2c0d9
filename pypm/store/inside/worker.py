"""The worker: JSON requests on stdin, a line each; JSON answers on stdout, a line each.

It serves many wheels, so the cost of starting an interpreter in a sandbox is paid once.

Requests: `{"do": "unpack", "archive": ..., "staging": ..., "site_packages": ..., "include": ..., "limits":
[...], "mtime_ns": ..., "threads": ...}` and `{"do": "compile", "staging": ..., "sources": [...],
"mtime_ns": ...}`. Answers: `{"ok": ...}`, `{"refused": [code, message]}` or `{"failed": [errno, message]}`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from .archive import Limits
from .bytecode import compile_sources, seed_hashes
from .layout import Scheme
from .refusal import Refusal
from .unpack import Request, unpack


def main() -> None:
    """Serve until stdin ends."""
    seed_hashes()
    os.umask(0)
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    # Nothing that is printed by accident may be taken for an answer.
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            answers.write(json.dumps(_answer(json.loads(line)), separators=(",", ":")) + "\n")
            answers.flush()
        except BrokenPipeError:
            # Whoever asked is gone; `_exit`, because closing the stream would fail once more.
            os._exit(0)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        if request["do"] == "compile":
            return {"ok": compile_sources(request["staging"], request["sources"], request["mtime_ns"])}
        return {
            "ok": unpack(
                Request(
                    request["archive"],
                    request["staging"],
                    Scheme(request["site_packages"], request["include"], request["programs"]),
                    Limits(*request["limits"]),
                    request["mtime_ns"],
                    request["threads"],
                )
            )
        }
    except Refusal as refusal:
        return {"refused": [refusal.code, refusal.message]}
    except OSError as error:
        return {"failed": [error.errno or 0, str(error)]}
