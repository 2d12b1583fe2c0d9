"""Make system calls that hardly any program needs, and that kernels were broken by.

The filter itself must refuse them: a call that fails for its arguments has been in the kernel already.
Source: asm/unistd.h; CVE-2022-0185 (fsconfig), CVE-2023-2598 (io_uring), CVE-2017-17053 (modify_ldt),
CVE-2024-1086 (namespaces).
"""

import ctypes
import errno
import platform

from attempt import denied, works

_SAME = {
    **{"io_uring_enter": 426, "io_uring_register": 427, "fsconfig": 431},
    **{"quotactl_fd": 443, "open_tree_attr": 467, "pidfd_getfd": 438, "mount_setattr": 442},
}
_X86 = {
    **{"iopl": 172, "ioperm": 173, "clock_settime": 227},
    **{"delete_module": 176, "finit_module": 313, "kexec_file_load": 320, "quotactl": 179, "swapoff": 168},
    **{"lookup_dcookie": 212, "uselib": 134, "vhangup": 153, "setdomainname": 171, "nfsservctl": 180},
    **{"ustat": 136, "sysfs": 139, "_sysctl": 156, "ptrace": 101},
    **{"create_module": 174, "get_kernel_syms": 177, "query_module": 178, "tuxcall": 184, "vserver": 236},
}
_ARM = {
    **{"clock_settime": 112, "delete_module": 106, "finit_module": 273},
    **{"kexec_file_load": 294, "quotactl": 60, "swapoff": 225, "lookup_dcookie": 18, "vhangup": 58},
    **{"setdomainname": 162, "nfsservctl": 42, "ptrace": 117},
}
_libc = ctypes.CDLL(None, use_errno=True)


def _refused(number):
    """Whether the filter answers: raises for the two errors that it gives, and returns any other outcome."""
    ctypes.set_errno(0)
    result = _libc.syscall(ctypes.c_long(number), *[ctypes.c_long(-1)] * 5)
    if result == -1 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS):
        raise PermissionError(errno.errorcode[ctypes.get_errno()])
    return result, errno.errorcode.get(ctypes.get_errno(), "no error")


def inside():
    for name, number in {**_SAME, **(_X86 if platform.machine() == "x86_64" else _ARM)}.items():
        denied(name, lambda number=number: _refused(number))
    works("a call that programs need", lambda: _libc.getpid() > 0)
