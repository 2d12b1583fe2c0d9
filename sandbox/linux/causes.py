"""Why a host refuses namespaces, and what mends it. Read only when something has already failed."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from sandbox.errors import SetupError
from sandbox.linux import constants as c
from sandbox.linux import syscalls

APPARMOR_PROFILE = """\
abi <abi/4.0>,
include <tunables/global>
profile sandbox-userns {interpreter} flags=(unconfined) {{
  userns,
}}
"""


def explain_clone(error: OSError) -> SetupError:
    """The failed clone as a sentence with the cause and the mend."""
    message, hint = describe_clone(error.errno or 0)
    text = f"the sandbox could not be made (at `clone`): {message}"
    return SetupError(text, stage="clone", errno=error.errno or 0, hint=hint)


def describe_clone(number: int) -> tuple[str, str]:
    """Cause and mend of an error of clone(CLONE_NEWUSER | ...)."""
    if number == errno.ENOSPC or _sysctl("user/max_user_namespaces") == "0":
        return (
            "the kernel allows no further user namespace (`user.max_user_namespaces`)",
            "an administrator can allow them: `sysctl -w user.max_user_namespaces=15000`",
        )
    if _sysctl("kernel/unprivileged_userns_clone") == "0":
        return (
            "user namespaces are switched off for ordinary users",
            "an administrator can allow them: `sysctl -w kernel.unprivileged_userns_clone=1`",
        )
    if number == errno.EPERM and is_filtered():
        return (
            "a system call filter, probably a container's, denies user namespaces",
            "start the container with a seccomp profile that allows them, "
            "for instance `--security-opt seccomp=unconfined`",
        )
    if number == errno.EINVAL:
        return ("this kernel lacks a kind of namespace", "it needs Linux 5.12 or newer with user namespaces")
    return (
        f"creating namespaces failed with {errno.errorcode.get(number, number)}",
        "see `python -m sandbox --probe`",
    )


def describe_landlock() -> tuple[str, str]:
    """Why there is no Landlock here, and what mends it."""
    number = syscalls.landlock_errno()
    if number == errno.EPERM:
        return (
            "a system call filter, probably a container's, denies Landlock",
            "start the container with a newer seccomp profile, "
            "for instance `--security-opt seccomp=unconfined`",
        )
    if number == errno.EOPNOTSUPP:
        return (
            "Landlock is built into this kernel and switched off",
            "an administrator can add `landlock` to the kernel's parameter `lsm=`",
        )
    return ("this kernel has no Landlock", "it needs Linux 5.13 or newer with CONFIG_SECURITY_LANDLOCK")


def is_filtered() -> bool:
    """Whether this process runs under a seccomp filter; without `/proc` the kernel itself is asked."""
    return syscalls.prctl(c.PR_GET_SECCOMP) == c.SECCOMP_MODE_FILTER


def _sysctl(name: str) -> str | None:
    """A kernel setting, None where it does not exist or cannot be read."""
    try:
        return Path("/proc/sys", name).read_text(encoding="ascii").strip()
    except OSError:
        return None


def mend(stage: str, number: int) -> str | None:
    """What to do about a set-up that failed after the clone, where the errno tells."""
    denied = number in (errno.EPERM, errno.EACCES)
    if denied and stage.split(" ", maxsplit=1)[0] in ("map_ids", "keyring", "loopback", "hostname", "root"):
        # Ubuntu 23.10 and newer let anybody make a user namespace and then refuse every capability in it.
        profile = APPARMOR_PROFILE.format(interpreter=os.path.realpath(sys.executable))
        return (
            "AppArmor probably restricts user namespaces here; install this as "
            f"/etc/apparmor.d/sandbox-userns and load it with apparmor_parser:\n{profile}"
        )
    if denied and stage.startswith(("clone", "confine")):
        return "the outer sandbox or container must allow user namespaces"
    return None
