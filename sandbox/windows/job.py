"""The structures of a Windows job object as ctypes layouts, and what a policy puts in them.

Every field has a width of its own instead of a C type's, so that the layouts are the same wherever they are
looked at: they are computed and tested on Linux.

Source: winnt.h and jobapi2.h of the Windows SDK; "Job Objects" and "Restricted Tokens" of the Win32 API.
"""

from __future__ import annotations

import ctypes
import subprocess
from ctypes import c_int64, c_uint16, c_uint32, c_uint64
from typing import Any, ClassVar

from sandbox.errors import UnsupportedError
from sandbox.policy import Limits, MountKind, NetworkKind, Policy, Terminal

# winnt.h: JOB_OBJECT_LIMIT_*
LIMIT_PROCESS_TIME = 0x2
LIMIT_ACTIVE_PROCESS = 0x8
LIMIT_PROCESS_MEMORY = 0x100
LIMIT_DIE_ON_UNHANDLED_EXCEPTION = 0x400
LIMIT_KILL_ON_JOB_CLOSE = 0x2000

# winnt.h: JOB_OBJECT_UILIMIT_*: handles, reading and writing the clipboard, system parameters, display
# settings, global atoms, desktops, and ending the session.
UI_RESTRICTIONS = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x20 | 0x40 | 0x80

# winnt.h: JOBOBJECTINFOCLASS
BASIC_UI_RESTRICTIONS = 4
EXTENDED_LIMIT_INFORMATION = 9

# winnt.h: CreateRestrictedToken
DISABLE_MAX_PRIVILEGE = 0x1
LUA_TOKEN = 0x4

# winbase.h: CreateProcess
CREATE_SUSPENDED = 0x4
CREATE_NEW_PROCESS_GROUP = 0x200
CREATE_UNICODE_ENVIRONMENT = 0x400
EXTENDED_STARTUPINFO_PRESENT = 0x80000
STARTF_USESTDHANDLES = 0x100
PROC_THREAD_ATTRIBUTE_HANDLE_LIST = 0x20002

_TICKS_PER_SECOND = 10_000_000
"""Job times count hundreds of nanoseconds."""
_LONGEST_COMMAND_LINE = 32_767
"""Characters, the closing NUL included: CreateProcess takes no more."""


class BasicLimits(ctypes.Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION: 64 bytes."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        ("per_process_user_time", c_int64),
        ("per_job_user_time", c_int64),
        ("flags", c_uint32),
        ("minimum_working_set_bytes", c_uint64),
        ("maximum_working_set_bytes", c_uint64),
        ("active_processes", c_uint32),
        ("affinity", c_uint64),
        ("priority_class", c_uint32),
        ("scheduling_class", c_uint32),
    ]


class Counters(ctypes.Structure):
    """IO_COUNTERS: 48 bytes."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        ("read_operations", c_uint64),
        ("write_operations", c_uint64),
        ("other_operations", c_uint64),
        ("read_bytes", c_uint64),
        ("write_bytes", c_uint64),
        ("other_bytes", c_uint64),
    ]


class ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION: 144 bytes."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        ("basic", BasicLimits),
        ("counters", Counters),
        ("process_memory_bytes", c_uint64),
        ("job_memory_bytes", c_uint64),
        ("peak_process_memory_bytes", c_uint64),
        ("peak_job_memory_bytes", c_uint64),
    ]


class StartupInformation(ctypes.Structure):
    """STARTUPINFOEXW: 112 bytes; pointers and handles as 64-bit numbers."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        ("size_bytes", c_uint32),
        ("reserved", c_uint64),
        ("desktop", c_uint64),
        ("title", c_uint64),
        ("x", c_uint32),
        ("y", c_uint32),
        ("width", c_uint32),
        ("height", c_uint32),
        ("width_characters", c_uint32),
        ("height_characters", c_uint32),
        ("fill", c_uint32),
        ("flags", c_uint32),
        ("show", c_uint16),
        ("reserved_size", c_uint16),
        ("reserved_bytes", c_uint64),
        ("standard_input", c_uint64),
        ("standard_output", c_uint64),
        ("standard_error", c_uint64),
        ("attributes", c_uint64),
    ]


class ProcessInformation(ctypes.Structure):
    """PROCESS_INFORMATION: 24 bytes."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        ("process", c_uint64),
        ("thread", c_uint64),
        ("process_id", c_uint32),
        ("thread_id", c_uint32),
    ]


def extended_limits(limits: Limits) -> ExtendedLimits:
    """What a job is told: to end with its last handle, to show no dialog, and the policy's limits.

    Neither breakaway flag is set, so no process inside can start one outside.
    """
    information = ExtendedLimits()
    flags = LIMIT_KILL_ON_JOB_CLOSE | LIMIT_DIE_ON_UNHANDLED_EXCEPTION
    if limits.memory_bytes is not None:
        flags |= LIMIT_PROCESS_MEMORY
        information.process_memory_bytes = limits.memory_bytes
    if limits.processes is not None:
        flags |= LIMIT_ACTIVE_PROCESS
        information.basic.active_processes = limits.processes
    if limits.cpu_seconds is not None:
        flags |= LIMIT_PROCESS_TIME
        information.basic.per_process_user_time = limits.cpu_seconds * _TICKS_PER_SECOND
    information.basic.flags = flags
    return information


def command_line(argv: tuple[str, ...]) -> str:
    """The words as the one line that CommandLineToArgvW takes apart into them again.

    Raises: ValueError for a program whose name holds a quote, which that function cannot read, and for a
    line that is too long.
    """
    if '"' in argv[0]:
        raise ValueError(f"a program's name cannot hold a quote: `{argv[0]}`")
    line = subprocess.list2cmdline(argv)
    if len(line) >= _LONGEST_COMMAND_LINE:
        raise ValueError(f"the command line has {len(line)} characters, more than Windows takes")
    return line


def environment_block(variables: dict[str, str]) -> str:
    """The variables as CreateProcess takes them: `NAME=value`, each with a NUL, sorted without case.

    Raises: ValueError for a NUL or a name that holds an equals sign.
    """
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name + value:
            raise ValueError(f"`{name}` is not a variable that an environment can hold")
    pairs = sorted(variables.items(), key=lambda pair: pair[0].upper())
    return "".join(f"{name}={value}\0" for name, value in pairs) + "\0"


def check(policy: Policy) -> None:
    """Refuse what a job cannot do and what would silently not hold. Raises: UnsupportedError."""
    problems = [
        f"mounts[{index}].target: `{mount.target}` cannot be mounted on Windows"
        for index, mount in enumerate(policy.mounts)
        if mount.kind in (MountKind.OVERLAY, MountKind.TMPFS, MountKind.FILE, MountKind.DEVICE)
        or (mount.kind is MountKind.BIND and mount.source not in (None, mount.target))
    ]
    if policy.network.kind is not NetworkKind.HOST:
        problems.append("network: a job object does not keep anything from the network")
    if policy.terminal is Terminal.PTY:
        problems.append("terminal: there is no pseudo-terminal of its own on Windows")
    if policy.limits.file_size_bytes is not None or policy.limits.open_files is not None:
        problems.append("limits: a job object limits neither the size of files nor open files")
    if problems:
        raise UnsupportedError(
            f"the policy cannot be kept on Windows: {problems[0]}",
            hint="ask for less in the policy; what Windows promises is in the table of platforms",
            details=tuple(problems),
        )
