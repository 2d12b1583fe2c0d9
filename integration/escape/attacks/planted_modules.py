"""Plant modules that pypm itself or an interpreter it asks could import from the project's folder.

Source: sys.path[0] of `python -c` and `python -m` is the working directory; site(3).
"""

import os

from attempt import PROJECT, works

WAYS = ("run",)
_NAMES = (
    "json",
    "platform",
    "sysconfig",
    "struct",
    "typing",
    "subprocess",
    "pypm",
    "sandbox",
    "click",
    "httpx",
    "packaging",
    "zipfile",
    "ssl",
    "ctypes",
    "signal",
    "tomllib",
    "site",
    "sitecustomize",
    "usercustomize",
    "re",
    "ast",
    "rich",
    "psutil",
    "prctl",
    "pyroute2",
    "findpython",
    "_socket",
    "encodings",
)


def outside(arena, way):
    shown = way.enter(["planted_modules"])
    marker = arena.place / "outside" / "module-owned"
    for command in (
        ["lock"],
        ["lock", "--upgrade"],
        ["sync", "--reinstall"],
        ["run", "true"],
        ["python", "list"],
        ["tree"],
        ["export"],
        ["sandbox", "info"],
        ["-n", "sync"],
    ):
        arena.host([*arena.pypm, *command], cwd=arena.project)
        shown += b"@%s|pypm %s|imports nothing of the project\n" % (
            b"escaped" if marker.exists() else b"denied",
            " ".join(command).encode(),
        )
        marker.unlink(missing_ok=True)
    for name in _NAMES:
        (arena.project / f"{name}.py").unlink(missing_ok=True)
    return shown


def inside():
    marker = str(PROJECT.parent / "outside" / "module-owned")
    for name in _NAMES:
        (PROJECT / f"{name}.py").write_text(f"open({marker!r}, 'w')\n")
    works("planting", lambda: os.path.exists(PROJECT / "json.py"))
