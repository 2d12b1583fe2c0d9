"""What must load where there is no POSIX: every module of the command line, and sandbox's own side of it.

A faked `sys.platform` and modules that cannot be imported show what is asked for at import time, which is
where it would hurt: a program that does not even start.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent

POSIX = ("fcntl", "grp", "pty", "pwd", "resource", "termios", "tty", "posix_ipc", "syslog")
LINUX_ONLY = ("sandbox.linux", "sandbox.none", "sandbox.signals", "sandbox.terminal")
INSIDE = (".inside", "inside_")
"""Runs inside of the sandbox, in whatever interpreter is there."""

LOADING = """
import importlib, os, sys, types
platform, *modules = sys.argv[1:]
blocked = {blocked!r}

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name in blocked or name.split(".")[0] in ("prctl", "pyroute2"):
            raise ModuleNotFoundError(f"no module {{name!r}} on {{platform}}", name=name)

for name in blocked:
    sys.modules.pop(name, None)
# What these standard modules decide by the platform is decided before it is faked.
import asyncio, concurrent.futures, ctypes, ctypes.util, multiprocessing, pathlib, platform as _, shutil
import signal, socket, ssl, subprocess, tempfile, threading, uuid, webbrowser, zipfile, tarfile, sysconfig
import certifi, click, email, findpython, httpx, packaging, rich.console, rich.progress
for name in blocked:
    sys.modules.pop(name, None)
sys.meta_path.insert(0, Blocker())
sys.platform = platform
if platform == "win32":
    fake = types.ModuleType("msvcrt")
    fake.locking, fake.LK_NBLCK, fake.LK_UNLCK = (lambda *_: None), 2, 0
    sys.modules["msvcrt"] = fake
    ctypes.WinDLL = lambda *_, **__: types.SimpleNamespace(
        CreateJobObjectW=types.SimpleNamespace(), GetCurrentProcess=types.SimpleNamespace())
    for name in ("O_NOFOLLOW", "O_DIRECTORY", "O_CLOEXEC", "O_NONBLOCK", "O_PATH", "fork", "getuid",
                 "geteuid", "getgid", "getegid", "uname", "setsid", "killpg", "memfd_create", "pidfd_open",
                 "getgroups", "fchmod", "chown", "sched_getaffinity", "confstr", "sysconf"):
        if hasattr(os, name):
            delattr(os, name)
    for name in ("SIGALRM", "SIGHUP", "SIGQUIT", "SIGWINCH", "SIGCHLD", "SIGTSTP", "SIGKILL", "SIGUSR1",
                 "setitimer", "pthread_sigmask"):
        if hasattr(signal, name):
            delattr(signal, name)
failed = []
for module in modules:
    try:
        importlib.import_module(module)
    except Exception as error:
        failed.append(f"{{module}}: {{type(error).__name__}}: {{error}}")
print("\\n".join(failed))
"""


def modules() -> list[str]:
    found = []
    for package in ("pypm", "sandbox"):
        for path in sorted((CHECKOUT / package).rglob("*.py")):
            parts = path.relative_to(CHECKOUT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            if not name.startswith(LINUX_ONLY) and not any(mark in name for mark in INSIDE):
                found.append(name)
    return [name for name in found if not name.endswith("__main__")]


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_every_module_loads_without_posix_modules(platform: str) -> None:
    blocked = POSIX if platform == "win32" else ()
    done = subprocess.run(
        [sys.executable, "-c", LOADING.format(blocked=blocked), platform, *modules()],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
