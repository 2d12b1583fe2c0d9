"""Replays operations after the fork and names the one that fails. Nothing is decided here."""

from __future__ import annotations

from sandbox.linux import guard, mounts, namespaces, payload, pseudo
from sandbox.linux.context import Context
from sandbox.linux.report import send_failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.linux.operations import Operation

PERFORM: dict[str, Callable[..., None]] = {
    "scrub": namespaces.scrub,
    "map_ids": namespaces.become_unprivileged,
    "keyring": namespaces.keyring,
    "loopback": namespaces.loopback,
    "egress": namespaces.egress,
    "hostname": namespaces.hostname,
    "root": mounts.root,
    "mirror": mounts.mirror,
    "placeholders": mounts.placeholders,
    "bind": mounts.bind,
    "overlay": mounts.overlay,
    "tmpfs": mounts.tmpfs,
    "file": mounts.file,
    "symlink": mounts.symlink,
    "protect": mounts.protect,
    "watch": guard.watch,
    "share": guard.share,
    "devices": pseudo.devices,
    "proc": pseudo.proc,
    "pivot": mounts.pivot,
    "session": payload.session,
    "pty": payload.pty,
    "limits": payload.limits,
    "confine": payload.confine,
    "drop_privileges": payload.drop_privileges,
    "landlock": payload.landlock,
    "enter": payload.enter,
    "seccomp": payload.seccomp,
}
"""Every operation of `operations.py` by its name."""


def perform(operations: tuple[Operation, ...], context: Context) -> bool:
    """Replay `operations` in order; at the first failure report it and return False."""
    name = "start"
    try:
        for name, *arguments in operations:
            PERFORM[name](context, *arguments)
    except BaseException as error:
        target = next((f" {word}" for word in reversed(arguments[:2]) if isinstance(word, str)), "")
        send_failure(context.report, f"{name}{target}", error)
        return False
    return True
