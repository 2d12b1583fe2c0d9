"""The Win32 calls of the job backend. Loaded on Windows alone; every failure is an `OSError` of Windows."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from ctypes import byref, c_uint32, c_uint64, sizeof
from typing import Any

from sandbox.windows import job

TOKEN_ACCESS = 0x1 | 0x2 | 0x8 | 0x80  # TOKEN_ASSIGN_PRIMARY, DUPLICATE, QUERY, ADJUST_DEFAULT of winnt.h
INFINITE = 0xFFFFFFFF
WAIT_TIMEOUT = 0x102

_kernel: Any = None
_security: Any = None

if sys.platform == "win32":
    _kernel = ctypes.WinDLL("kernel32", use_last_error=True)
    _security = ctypes.WinDLL("advapi32", use_last_error=True)
    for _function in (_kernel.CreateJobObjectW, _kernel.GetCurrentProcess):
        _function.restype = c_uint64

    def _last_error() -> OSError:
        return ctypes.WinError(ctypes.get_last_error())
else:

    def _last_error() -> OSError:
        return OSError("there is no Windows here")


def _require(result: Any) -> Any:
    """The result of a call that answers 0 when it failed."""
    if not result:
        raise _last_error()
    return result


def create_job(limits: job.ExtendedLimits) -> int:
    """A job with `limits` and every restriction of the user interface, both read back afterwards."""
    handle = int(_require(_kernel.CreateJobObjectW(None, None)))
    restrictions = c_uint32(job.UI_RESTRICTIONS)
    for kind, wanted in (
        (job.EXTENDED_LIMIT_INFORMATION, limits),
        (job.BASIC_UI_RESTRICTIONS, restrictions),
    ):
        size = c_uint32(sizeof(wanted))
        _require(_kernel.SetInformationJobObject(c_uint64(handle), kind, byref(wanted), size))
    found, restricted = job.ExtendedLimits(), c_uint32()
    for kind, into in ((job.EXTENDED_LIMIT_INFORMATION, found), (job.BASIC_UI_RESTRICTIONS, restricted)):
        size = c_uint32(sizeof(into))
        _require(_kernel.QueryInformationJobObject(c_uint64(handle), kind, byref(into), size, None))
    if found.basic.flags != limits.basic.flags or restricted.value != job.UI_RESTRICTIONS:
        close(handle)
        raise OSError("the job object does not have the limits that it was given")
    return handle


def restricted_token() -> int:
    """The caller's token without privileges, and an ordinary user's where the caller is an administrator."""
    own, made = c_uint64(), c_uint64()
    process = c_uint64(_kernel.GetCurrentProcess())
    _require(_security.OpenProcessToken(process, TOKEN_ACCESS, byref(own)))
    try:
        flags = job.DISABLE_MAX_PRIVILEGE | job.LUA_TOKEN
        _require(_security.CreateRestrictedToken(own, flags, 0, None, 0, None, 0, None, byref(made)))
    finally:
        close(own.value)
    return made.value


def create_process(
    token: int, line: str, block: str, folder: str, handles: Sequence[int]
) -> job.ProcessInformation:
    """A suspended process that inherits exactly `handles`, the first three as its standard streams."""
    size = c_uint64()
    _kernel.InitializeProcThreadAttributeList(None, 1, 0, byref(size))
    attributes = ctypes.create_string_buffer(size.value)
    _require(_kernel.InitializeProcThreadAttributeList(attributes, 1, 0, byref(size)))
    try:
        distinct = list(dict.fromkeys(handles))
        listed = (c_uint64 * len(distinct))(*distinct)
        kind = c_uint64(job.PROC_THREAD_ATTRIBUTE_HANDLE_LIST)
        length = c_uint64(sizeof(listed))
        _require(_kernel.UpdateProcThreadAttribute(attributes, 0, kind, byref(listed), length, None, None))
        start = job.StartupInformation(size_bytes=sizeof(job.StartupInformation))
        start.flags = job.STARTF_USESTDHANDLES
        start.standard_input, start.standard_output, start.standard_error = handles[:3]
        start.attributes = ctypes.addressof(attributes)
        flags = (
            job.CREATE_SUSPENDED
            | job.CREATE_NEW_PROCESS_GROUP
            | job.CREATE_UNICODE_ENVIRONMENT
            | job.EXTENDED_STARTUPINFO_PRESENT
        )
        information = job.ProcessInformation()
        text, variables = ctypes.create_unicode_buffer(line), ctypes.create_unicode_buffer(block)
        _require(
            _security.CreateProcessAsUserW(
                c_uint64(token), None, text, None, None, True, flags, variables, folder, byref(start),
                byref(information),
            )
        )  # fmt: skip
        return information
    finally:
        _kernel.DeleteProcThreadAttributeList(attributes)


def assign_and_resume(handle: int, information: job.ProcessInformation) -> None:
    """Put the suspended process into the job, and only then let it run."""
    _require(_kernel.AssignProcessToJobObject(c_uint64(handle), c_uint64(information.process)))
    if _kernel.ResumeThread(c_uint64(information.thread)) == INFINITE:
        raise _last_error()


def wait(process: int, milliseconds: int) -> bool:
    """Whether the process ended within the time."""
    return int(_kernel.WaitForSingleObject(c_uint64(process), c_uint32(milliseconds))) != WAIT_TIMEOUT


def exit_code(process: int) -> int:
    """How an ended process ended."""
    code = c_uint32()
    _require(_kernel.GetExitCodeProcess(c_uint64(process), byref(code)))
    return code.value


def terminate_job(handle: int, code: int) -> None:
    """End everything in the job."""
    _require(_kernel.TerminateJobObject(c_uint64(handle), c_uint32(code)))


def terminate_process(process: int) -> None:
    """End a process that never ran."""
    _kernel.TerminateProcess(c_uint64(process), c_uint32(1))


def close(handle: int) -> None:
    """Close a handle."""
    _kernel.CloseHandle(c_uint64(handle))
