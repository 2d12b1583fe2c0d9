"""The only ctypes of the Linux backend: one typed function a system call, `OSError` on failure.

python-prctl serves `prctl` in the helper that `spawn` starts and in probes, once `use_python_prctl` found it.
`replay` cannot afford the two milliseconds of its import, and a bootstrap may run the sandbox in order to
compile it; there the same calls go through libc's, so that no restriction depends on what is installed.
"""

from __future__ import annotations

import _ctypes
import errno
import os

from sandbox.errors import UnsupportedError
from sandbox.linux import constants as c

MACHINE = os.uname().machine


# What follows is the part of `ctypes` that is needed here. Importing all of it costs two milliseconds,
# four times as much as the extension module that does the work.


class _Long(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "l"


class _Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class _Pointer(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "P"


class _Byte(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "c"


class _Function(_ctypes.CFuncPtr):
    """As a function of `ctypes.CDLL(None, use_errno=True)`."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Long


class _IntFunction(_ctypes.CFuncPtr):
    """One that returns `int`: the upper half of the register is no part of the answer, -1 would not be -1."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = _Int


class _LockedFunction(_ctypes.CFuncPtr):
    """As one of `ctypes.PyDLL`: the interpreter's own lock is held across the call."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO | _ctypes.FUNCFLAG_PYTHONAPI
    _restype_ = _Long


_PROGRAM = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]  # None is this process itself
_SYSCALL = _Function(_ctypes.dlsym(_PROGRAM, "syscall"))
_SYSCALL.argtypes = [_Long, *[_Pointer] * 6]
_PRCTL = _IntFunction(_ctypes.dlsym(_PROGRAM, "prctl"))
_PRCTL.argtypes = [_Long] * 5
_MEMSET = _Function(_ctypes.dlsym(_PROGRAM, "memset"))
_MEMSET.argtypes = [_Pointer, _Long, _Long]

if MACHINE not in c.CALLS:
    raise UnsupportedError(
        f"the namespaces backend does not know the system calls of `{MACHINE}`",
        hint="it runs on x86_64 and aarch64",
    )
_NUMBERS = c.CALLS[MACHINE]


def _call(name: str, *arguments: int | bytes | None) -> int:
    """Make one system call; missing arguments are zero. Raises OSError with the name of the call."""
    padded = (*arguments, None, None, None, None, None, None)[:6]
    result: int = _SYSCALL(_NUMBERS[name], *padded)
    if result == -1:
        number = _ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def _array(length: int) -> type[_ctypes.Array[_Byte]]:
    """The type of `length` bytes."""
    return type("_Bytes", (_ctypes.Array,), {"_type_": _Byte, "_length_": length})


def _address(buffer: bytearray) -> int:
    """Where `buffer` lies in memory; valid while the caller holds it and does not resize it."""
    return _ctypes.addressof(_array(len(buffer)).from_buffer(buffer))


def _pack(*words: int) -> bytes:
    """Lay out 64-bit words as the kernel's structures of `__u64` do; both architectures are little endian."""
    return b"".join(word.to_bytes(8, "little") for word in words)


def unshare(flags: int) -> None:
    """Source: unshare(2)."""
    _call("unshare", flags)


def mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """Source: mount(2)."""
    words = [None if text is None else os.fsencode(text) for text in (source, target, kind, options)]
    _call("mount", words[0], words[1], words[2], flags, words[3])


def interface_flags(name: str) -> int:
    """Whether a network interface is up, and more. Source: netdevice(7), SIOCGIFFLAGS."""
    return int.from_bytes(_interface_request(c.SIOCGIFFLAGS, name, 0), "little")


def set_interface_flags(name: str, flags: int) -> None:
    """Source: netdevice(7), SIOCSIFFLAGS."""
    _interface_request(c.SIOCSIFFLAGS, name, flags)


def _interface_request(request: int, name: str, flags: int) -> bytes:
    """One ioctl on a throw-away socket, without importing `_socket`; `struct ifreq` is 40 bytes."""
    sock = _call("socket", c.AF_INET, c.SOCK_DGRAM | os.O_CLOEXEC, 0)
    try:
        content = name.encode().ljust(16, b"\0") + flags.to_bytes(2, "little") + bytes(22)
        buffer = bytearray(content)
        _call("ioctl", sock, request, _address(buffer))
        return bytes(buffer[16:18])
    finally:
        os.close(sock)


def umount(target: str, flags: int) -> None:
    """Source: umount2(2)."""
    _call("umount2", os.fsencode(target), flags)


def pivot_root(new: str, old: str) -> None:
    """Source: pivot_root(2)."""
    _call("pivot_root", os.fsencode(new), os.fsencode(old))


def openat2(directory: int, path: str, flags: int, resolve: int) -> int:
    """Open below `directory` under the rules of `resolve`. Source: openat2(2)."""
    how = _pack(flags, 0, resolve)
    return _call("openat2", directory, os.fsencode(path), how, len(how))


def open_tree(directory: int, path: str, flags: int) -> int:
    """A detached copy of a mount tree. Source: open_tree(2)."""
    return _call("open_tree", directory, os.fsencode(path), flags)


def move_mount(source: int, target: int, name: str = "") -> None:
    """Attach the detached mount `source` at the descriptor `target`, or at `name` in it, links not followed.

    Source: move_mount(2).
    """
    flags = c.MOVE_MOUNT_F_EMPTY_PATH | (0 if name else c.MOVE_MOUNT_T_EMPTY_PATH)
    _call("move_mount", source, b"", target, os.fsencode(name), flags)


def mount_setattr(descriptor: int, flags: int, attributes: int) -> None:
    """Set mount attributes on the mount that `descriptor` is the root of. Source: mount_setattr(2)."""
    attr = _pack(attributes, 0, 0, 0)
    _call("mount_setattr", descriptor, b"", c.AT_EMPTY_PATH | flags, attr, len(attr))


def fsopen(kind: str) -> int:
    """Source: fsopen(2)."""
    return _call("fsopen", os.fsencode(kind), c.FSOPEN_CLOEXEC)


def fsconfig(descriptor: int, command: int, key: str | None = None, value: str | None = None) -> None:
    """Source: fsconfig(2)."""
    words = [None if text is None else os.fsencode(text) for text in (key, value)]
    _call("fsconfig", descriptor, command, words[0], words[1], 0)


def fsconfig_strings(descriptor: int, key: str, values: tuple[str, ...]) -> None:
    """Set `key` to each of the values, one after the other; an OSError's `filename` is the refused one.

    An environment has a hundred layers, so the loop is here. Source: fsconfig(2), FSCONFIG_SET_STRING.
    """
    call, number, encoded_key = _SYSCALL, _NUMBERS["fsconfig"], os.fsencode(key)
    for value in values:
        encoded = os.fsencode(value)
        if call(number, descriptor, c.FSCONFIG_SET_STRING, encoded_key, encoded, 0, None) == -1:
            code = _ctypes.get_errno()
            raise OSError(code, os.strerror(code), value)


def fsmount(descriptor: int, attributes: int) -> int:
    """Source: fsmount(2)."""
    return _call("fsmount", descriptor, c.FSMOUNT_CLOEXEC, attributes)


def flock(descriptor: int, operation: int) -> None:
    """As `fcntl.flock`, whose module costs more than all the locks of a run. Source: flock(2)."""
    _call("flock", descriptor, operation)


def status_flags(descriptor: int) -> int:
    """How a descriptor was opened. Source: fcntl(2), F_GETFL."""
    return _call("fcntl", descriptor, c.F_GETFL)


def set_status_flags(descriptor: int, flags: int) -> None:
    """Change what of it can be changed: appending, waiting, telling. Source: fcntl(2), F_SETFL."""
    _call("fcntl", descriptor, c.F_SETFL, flags)


def signal_when_readable(descriptor: int) -> None:
    """Have SIGIO sent to this process when there is something to be read. Source: fcntl(2), F_SETOWN."""
    _call("fcntl", descriptor, c.F_SETOWN, os.getpid())
    _call("fcntl", descriptor, c.F_SETFL, status_flags(descriptor) | c.O_ASYNC | os.O_NONBLOCK)


def signal_no_more(descriptor: int) -> None:
    """Undo `signal_when_readable`."""
    _call("fcntl", descriptor, c.F_SETFL, status_flags(descriptor) & ~c.O_ASYNC)


def set_lease(descriptor: int, kind: int) -> None:
    """Source: fcntl(2), F_SETLEASE."""
    _call("fcntl", descriptor, c.F_SETLEASE, kind)


def new_watch() -> int:
    """A descriptor that tells what happens in folders. Source: inotify(7)."""
    return _call("inotify_init1", os.O_CLOEXEC | os.O_NONBLOCK)


def add_watch(descriptor: int, path: str, mask: int) -> int:
    """The number that events from `path` bear; they count from 1. Source: inotify_add_watch(2)."""
    return _call("inotify_add_watch", descriptor, os.fsencode(path), mask)


def remove_watch(descriptor: int, number: int) -> None:
    """Source: inotify_rm_watch(2)."""
    _call("inotify_rm_watch", descriptor, number)


def setns(descriptor: int) -> None:
    """Join a namespace. Source: setns(2)."""
    _call("setns", descriptor, 0)


def wait_readable(descriptor: int) -> None:
    """Block until `descriptor` can be read; a pidfd can when its process is dead. Source: ppoll(2)."""
    request = bytearray(descriptor.to_bytes(4, "little") + c.POLLIN.to_bytes(4, "little"))
    while True:
        try:
            _call("ppoll", _address(request), 1)
        except InterruptedError:
            continue
        return


def close_range(first: int, last: int) -> None:
    """Source: close_range(2)."""
    _call("close_range", first, last, 0)


def close_all_but(kept: tuple[int, ...]) -> None:
    """Close every other descriptor of this process."""
    first = 0
    for descriptor in sorted(kept):
        if descriptor > first:
            close_range(first, descriptor - 1)
        first = descriptor + 1
    close_range(first, 0x7FFFFFFF)


def set_hostname(name: str) -> None:
    """Source: sethostname(2)."""
    encoded = os.fsencode(name)
    _call("sethostname", encoded, len(encoded))


def join_new_session_keyring() -> None:
    """Leave the caller's session keyring behind. Source: keyctl_join_session_keyring(3)."""
    _call("keyctl", c.KEYCTL_JOIN_SESSION_KEYRING)


def set_limit(resource: int, value: int) -> None:
    """Set the soft and hard limit of the calling process. Source: prlimit(2), getrlimit(2).

    Of processor time the hard one is a second later: at the hard limit the kernel kills, at the soft one it
    says why. Where the caller's own hard limit is lower, that one stays.
    """
    hard = value + 1 if resource == c.RLIMIT_CPU else value
    try:
        _call("prlimit64", 0, resource, _pack(value, hard))
    except PermissionError:
        return


def _libc_prctl(option: int, argument: int = 0) -> int:
    """Through libc, as variadic `unsigned long` arguments."""
    result: int = _PRCTL(option, argument, 0, 0, 0)
    if result == -1:
        number = _ctypes.get_errno()
        raise OSError(number, f"prctl({option}): {os.strerror(number)}")
    return result


_prctl = _libc_prctl


def use_python_prctl() -> bool:
    """Let python-prctl make the calls from here on, if it is installed; say whether it is."""
    global _prctl  # noqa: PLW0603 - one seam, set once at the start of a process
    try:
        from prctl import prctl as imported
    except ImportError:
        return False
    _prctl = imported
    return True


def prctl(option: int, argument: int = 0) -> int:
    """Source: prctl(2)."""
    try:
        return int(_prctl(option, argument))
    except ValueError:
        # python-prctl refuses what it was not compiled to know, such as a capability of a newer kernel.
        return _libc_prctl(option, argument)


def empty_bounding_set() -> None:
    """Drop every capability that this kernel knows; the first that it does not know ends the row.

    One call for all of them, because eighty calls by way of `prctl` would take longer than all mounts.
    Source: capabilities(7), PR_CAPBSET_DROP.
    """
    drop = _PRCTL
    for capability in range(64):
        if drop(c.PR_CAPBSET_DROP, capability, 0, 0, 0) == -1:
            number = _ctypes.get_errno()
            if number != errno.EINVAL or capability == 0:
                raise OSError(number, f"prctl(PR_CAPBSET_DROP): {os.strerror(number)}")
            return


def clear_ambient_capabilities() -> None:
    """Source: capabilities(7), PR_CAP_AMBIENT_CLEAR_ALL."""
    if _PRCTL(c.PR_CAP_AMBIENT, c.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == -1:
        number = _ctypes.get_errno()
        raise OSError(number, f"prctl(PR_CAP_AMBIENT): {os.strerror(number)}")


def set_no_capabilities() -> None:
    """Empty the effective, permitted and inheritable sets. Source: capset(2)."""
    header = c.LINUX_CAPABILITY_VERSION_3.to_bytes(4, "little") + bytes(4)
    _call("capset", header, bytes(24))


def capabilities() -> int:
    """Every capability in the effective, permitted or inheritable set, as bits. Source: capget(2)."""
    header = c.LINUX_CAPABILITY_VERSION_3.to_bytes(4, "little") + bytes(4)
    sets = bytearray(24)
    _call("capget", header, _address(sets))
    words = [int.from_bytes(sets[start : start + 4], "little") for start in range(0, 24, 4)]
    return (words[0] | words[1] | words[2]) | (words[3] | words[4] | words[5]) << 32


def landlock_errno() -> int:
    """Why there is no Landlock: ENOSYS, EOPNOTSUPP (not among `lsm=`), EPERM (a filter); 0 where there is."""
    try:
        _call("landlock_create_ruleset", None, 0, c.LANDLOCK_CREATE_RULESET_VERSION)
    except OSError as error:
        return error.errno or 0
    return 0


def landlock_abi() -> int:
    """The version of Landlock that the kernel speaks, 0 for none. Source: landlock_create_ruleset(2)."""
    try:
        return _call("landlock_create_ruleset", None, 0, c.LANDLOCK_CREATE_RULESET_VERSION)
    except OSError:
        return 0


def landlock_create_ruleset(attributes: bytes) -> int:
    """Source: landlock_create_ruleset(2)."""
    return _call("landlock_create_ruleset", attributes, len(attributes), 0)


def landlock_allow(ruleset: int, parent: int, access: int) -> None:
    """Allow `access` beneath the O_PATH descriptor `parent`. Source: landlock_add_rule(2)."""
    attr = access.to_bytes(8, "little") + parent.to_bytes(4, "little", signed=True)
    _call("landlock_add_rule", ruleset, c.LANDLOCK_RULE_PATH_BENEATH, attr, 0)


def landlock_restrict_self(ruleset: int) -> None:
    """Source: landlock_restrict_self(2)."""
    _call("landlock_restrict_self", ruleset, 0)


def install_filter(program: bytes) -> None:
    """Load a seccomp program of 8-byte instructions. Source: seccomp(2), struct sock_fprog."""
    buffer = bytearray(program)
    length = len(program) // 8
    header = length.to_bytes(8, "little") + _address(buffer).to_bytes(8, "little")
    _call("seccomp", c.SECCOMP_SET_MODE_FILTER, 0, header)


def signalfd(numbers: tuple[int, ...]) -> int:
    """A descriptor that is readable while one of these blocked signals is pending. Source: signalfd(2)."""
    mask = sum(1 << (number - 1) for number in numbers)
    return _call("signalfd4", -1, _pack(mask), 8, os.O_CLOEXEC)


def zero_memory(start: int, end: int) -> None:
    """Overwrite this process's own memory; used for the argument and environment area only."""
    _MEMSET(start, 0, end - start)


_RAW_SYSCALL = _LockedFunction(_ctypes.dlsym(_PROGRAM, "syscall"))
_RAW_SYSCALL.argtypes = _SYSCALL.argtypes


def clone(flags: int) -> int:
    """Fork into new namespaces: 0 in the child, the child's pid in the parent.

    Only for a process with a single thread. Unlike `unshare` and two forks the child is pid 1 at once,
    and the parent stays in the host's world. The interpreter's own lock is held across the call (PyDLL),
    so the copied interpreter is in the state of a thread that simply goes on.

    Source: clone(2).
    """
    result: int = _RAW_SYSCALL(_NUMBERS["clone"], flags | c.SIGCHLD, None, None, None, None, None)
    if result == -1:
        number = _ctypes.get_errno()
        raise OSError(number, f"clone: {os.strerror(number)}")
    return result
