"""What an attack says from inside: `denied(...)` for what must fail, `works(...)` for its neighbour.

`beyond(...)` is for what is known to get through.

It is copied into the project beside the attacks and started as `python attempt.py NAME...`; of several each
is a process of its own, one after the other. It uses the standard library alone, because it runs in whatever
interpreter the sandbox shows.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
PLACE = Path(os.environ.get("ESCAPE_PLACE", PROJECT / "src"))
"""Where whoever came in by this way may write: the project's sources, or a plugin's own folder."""
_TOLD = HERE / f"{sys.argv[1] if len(sys.argv) > 1 else ''}.json"
FACTS = json.loads(_TOLD.read_text()) if _TOLD.exists() else {}
"""What the outside tells an attacker who is well informed: pids, ports, paths."""
_LONGEST_SECONDS = 60

_X86 = {
    **{"ptrace": 101, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "setns": 308},
    **{"unshare": 272, "add_key": 248, "request_key": 249, "keyctl": 250, "bpf": 321, "perf_event_open": 298},
    **{"userfaultfd": 323, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312},
    **{"name_to_handle_at": 303, "open_by_handle_at": 304, "fanotify_init": 300, "personality": 135},
    **{"memfd_create": 319, "execveat": 322, "shmget": 29, "mq_open": 240, "clone": 56, "getpid": 39},
    **{"kexec_load": 246, "init_module": 175, "reboot": 169, "syslog": 103, "swapon": 167, "acct": 163},
    **{
        "sethostname": 170,
        "settimeofday": 164,
        "capget": 125,
        "chmod": 90,
        "socket": 41,
        "prctl": 157,
        "ioctl": 16,
    },
}
_ARM = {
    **{"ptrace": 117, "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "setns": 268},
    **{"unshare": 97, "add_key": 217, "request_key": 218, "keyctl": 219, "bpf": 280, "perf_event_open": 241},
    **{"userfaultfd": 282, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272},
    **{"name_to_handle_at": 264, "open_by_handle_at": 265, "fanotify_init": 262, "personality": 92},
    **{"memfd_create": 279, "execveat": 281, "shmget": 194, "mq_open": 180, "clone": 220, "getpid": 172},
    **{"kexec_load": 104, "init_module": 105, "reboot": 142, "syslog": 116, "swapon": 224, "acct": 89},
    **{"sethostname": 161, "settimeofday": 170, "capget": 90, "socket": 198, "prctl": 167, "ioctl": 29},
}
_NEW = {
    **{"pidfd_send_signal": 424, "io_uring_setup": 425, "open_tree": 428, "move_mount": 429, "fsopen": 430},
    **{"fsmount": 432, "fspick": 433, "pidfd_open": 434, "clone3": 435, "openat2": 437, "pidfd_getfd": 438},
    **{"mount_setattr": 442, "fchmodat2": 452},
}
NUMBERS = {**(_X86 if platform.machine() == "x86_64" else _ARM), **_NEW}
"""System call numbers; from 424 on they are the same everywhere. Source: asm/unistd.h."""

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def call(name: str, *arguments: object) -> int:
    """Make a system call by its name. Raises: OSError."""
    words = [ctypes.c_long(word) if isinstance(word, int) else word for word in arguments]
    result = int(_libc.syscall(ctypes.c_long(NUMBERS[name]), *words))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _say(verdict: str, name: str, detail: object) -> None:
    text = " ".join(str(detail).split())[:160]
    os.write(1, f"@{verdict}|{name}|{text}\n".encode("ascii", "replace"))


def denied(name: str, action: Callable[[], object]) -> None:
    """What `action` does must raise; whatever it returns is an escape, None too."""
    try:
        result = action()
    except Exception as error:
        _say("denied", name, f"{type(error).__name__}: {error}")
    else:
        _say("escaped", name, repr(result))


def hidden(name: str, action: Callable[[], object]) -> None:
    """What `action` looks for must not be found: it raises or returns something empty."""
    try:
        result = action()
    except Exception as error:
        _say("denied", name, f"{type(error).__name__}: {error}")
    else:
        _say("escaped" if result else "denied", name, repr(result))


def beyond(name: str, action: Callable[[], object]) -> None:
    """What nobody promises to deny, done all the same: `open` where it can be."""
    try:
        result = action()
    except Exception as error:
        _say("denied", name, f"{type(error).__name__}: {error}")
    else:
        _say("open", name, repr(result))


def works(name: str, action: Callable[[], object]) -> None:
    """The neighbouring thing that an ordinary program needs."""
    try:
        result = action()
    except Exception as error:
        _say("broken", name, f"{type(error).__name__}: {error}")
    else:
        _say("broken" if result is False else "works", name, repr(result))


def compiled(source: str, *flags: str) -> Path:
    """Compile a C program; returns its path. Raises: OSError, where there is no compiler."""
    folder = Path(tempfile.mkdtemp())
    (folder / "attack.c").write_text(source)
    command = ["cc", "-O1", "-w", "-o", str(folder / "attack"), str(folder / "attack.c"), *flags]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(0, "cannot be compiled: " + done.stderr[:120])
    return folder / "attack"


def run(program: Path, *arguments: str) -> str:
    """Run a compiled attack: 0 is success, and everything else raises."""
    done = subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(0, f"status {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout


def _one(name: str) -> None:
    sys.modules["attempt"] = sys.modules["__main__"]
    sys.path.insert(0, str(HERE))
    importlib.import_module(name).inside()
    os.write(1, b"@done||\n")


def _each(names: list[str]) -> None:
    for name in names:
        os.write(1, f"@begin|{name}|\n".encode())
        try:
            subprocess.run([sys.executable, __file__, name], check=False, timeout=_LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            os.write(1, b"it hangs\n")


if __name__ == "__main__":
    if len(sys.argv) == 2:
        _one(sys.argv[1])
    else:
        _each(sys.argv[1:])
        os.write(1, b"@end|\n")
