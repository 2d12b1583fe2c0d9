"""What the Landlock rung does not give, by attack and check, each with its reason.

A check that is listed here and fails on that rung is told as `less`; one that is not listed and fails is a
failure there as everywhere. `docs/escape.md` has the same list in words.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

METADATA = "Landlock knows neither modes nor times: of the caller's own files they can be changed"
EXISTS = "Landlock does not hide that something exists"
ROOT_FOLDER = "nothing new can be made in a folder that holds a protected file"
CALLER = "there is no user namespace: the command runs as the caller"
MACHINE = "the machine's own names are seen"
SHARED_NETWORK = "the network namespace is the host's, so that there is no socket in it at all"
SHARED_IPC = "queues and shared memory would be the host's, so that there are none"
NO_PATHS = "sockets with a path could be anybody's, so that there are none"
NO_TERMINALS = "the pseudo-terminals are the host's, so that no new one can be opened"
NO_TMP = "`/tmp` is the host's; the temporary folder is `TMPDIR`"
NO_SIZE = "the temporary folder lies on the host's disk, without a size of its own"
OWN_PROC = "only the command itself reads its `/proc`, and nothing there is written"
OTHER_ENVIRONMENT = (
    "the environment in use lies in the cache, so that nobody looks whether `.venv` is exchanged"
)
AFFINITY = (
    "numerical libraries choose processors for their own threads, which a filter cannot tell from others"
)
WATCHES = "there is no user namespace, and so no count of its own for who watches files"
BOUNDING = "it takes a capability to empty it; `no_new_privs` lets nothing of it be gained"
AS_ROOT = "the limit of processes does not count for root"

NO_LIST = "a list of hosts wants a network namespace, so that it is refused"
LISTED = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*/listed_*.py")))

LESS: dict[str, dict[str, str]] = {
    "cache_writes": {"chmod of one": METADATA},
    "terminal_disciplines": {"a terminal's size": NO_TERMINALS},
    "device_attributes": {"chmod *": METADATA, "times of *": METADATA},
    "environment_writes": {
        "chmod of *": METADATA,
        "times of *": METADATA,
    },
    "fingerprints": {
        "the host's name": MACHINE,
        "the user's name": CALLER,
        "users of the host": MACHINE,
        "host's network namespace": SHARED_NETWORK,
    },
    "floods": {"temporary files*": NO_SIZE},
    "host_proc": {"one's own arguments": OWN_PROC},
    "host_processes": {"pidfd_open of a host's pid": EXISTS},
    "host_replaces_files": {"going on with another .venv *": OTHER_ENVIRONMENT},
    "host_sockets": {"a pathname socket of one's own": NO_PATHS},
    "kernel_settings": {"one's own name": OWN_PROC},
    **{attack: {"came to its end": NO_LIST} for attack in LISTED},
    "magic_links": {"chmod of /proc/self/exe": METADATA},
    "mount_tree": {"looking at the mounts": OWN_PROC},
    "network": {"one's own loopback": SHARED_NETWORK},
    "odd_sockets": {"the list of interfaces": SHARED_NETWORK, "an ordinary socket": SHARED_NETWORK},
    "own_memory": {"finding what is there": OWN_PROC},
    "planted_modules": {"came to its end": ROOT_FOLDER},
    "privileges": {
        "* with its bit": "set-id programs are seen with their bit; `no_new_privs` takes its effect",
    },
    "project_decisions": {
        "chmod *": METADATA,
        "times of *": METADATA,
        "a new file at the top": ROOT_FOLDER,
        "removing it": ROOT_FOLDER,
    },
    "shared_ipc": {"a segment of one's own": SHARED_IPC},
    "socket_as_stream": {"the peer's pid": EXISTS},
    "store_metadata": {
        "chmod *": METADATA,
        "times *": METADATA,
        "an owner *": METADATA,
        "fchmodat2 with its descriptor alone": METADATA,
        "modes, times and attributes in the store": METADATA,
        "`pypm verify` afterwards": METADATA,
    },
    "symlinked_mount_point": {"a link of one's own": NO_TMP},
    "terminal_input": {"a terminal of one's own": NO_TERMINALS},
    "watched_out": {"the caller's own watching": WATCHES},
    "tmpfs_fill": {"3 GiB in *": NO_SIZE, "a file in /tmp": NO_TMP},
}
AS_ROOT_TOO: dict[str, dict[str, str]] = {
    "files_left_behind": {"giving a file away": CALLER},
    "fork_bomb": {"*": AS_ROOT},
    "privileges": {"setuid 0": CALLER, "setgid 0": CALLER, "an ordinary program": CALLER},
}
"""What is added to it where the caller is root."""
AS_USER_TOO: dict[str, dict[str, str]] = {
    "host_processes": {"scheduling a host's pid": AFFINITY},
    "privileges": {"the bounding set": BOUNDING},
}
"""What is added to it where the caller is an ordinary user."""


def reason(attack: str, check: str, *, as_root: bool) -> str | None:
    """Why the rung gives less in this check; None if it should not."""
    for table in (LESS, AS_ROOT_TOO if as_root else AS_USER_TOO):
        for pattern, why in table.get(attack, {}).items():
            if fnmatchcase(check, pattern):
                return why
    return None


def table() -> list[str]:
    """The rows of `docs/escape.md`: attack, for whom, checks that give less, and why."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for who, listed in (("everybody", LESS), ("root", AS_ROOT_TOO), ("users", AS_USER_TOO)):
        for attack, checks in listed.items():
            for check, why in checks.items():
                rows.setdefault((attack, who, why), []).append(
                    "all" if check == "*" else check.rstrip("*").rstrip()
                )
    told = [
        f"| `{attack}` | {who} | {', '.join(names)} | {why} |" for (attack, who, why), names in rows.items()
    ]
    return ["| attack | for | checks | why |", "|---|---|---|---|", *sorted(told)]
