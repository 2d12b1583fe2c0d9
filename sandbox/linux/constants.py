"""Numbers of the Linux user-space interface, each group with the header that it comes from.

They are written out because the fast path cannot afford to ask anybody, and because Python exposes
only some of them.
"""

from __future__ import annotations

# linux/sched.h
SIGCHLD = 17
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
CLONE_NEWTIME = 0x00000080
ANY_NAMESPACE = (
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET
)

# linux/mount.h
MS_RDONLY = 0x1
MS_NOSUID = 0x2
MS_NODEV = 0x4
MS_NOEXEC = 0x8
MS_BIND = 0x1000
MS_REC = 0x4000
MS_PRIVATE = 0x40000
MS_SHARED = 0x100000
MNT_DETACH = 0x2
OPEN_TREE_CLONE = 0x1
MOVE_MOUNT_F_EMPTY_PATH = 0x4
MOVE_MOUNT_T_EMPTY_PATH = 0x40
FSOPEN_CLOEXEC = 0x1
FSMOUNT_CLOEXEC = 0x1
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6
MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8

# linux/fcntl.h
AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000

# asm-generic/fcntl.h, linux/fcntl.h
F_GETFL = 3
F_SETFL = 4
F_SETOWN = 8
F_RDLCK = 0
F_UNLCK = 2
F_SETLEASE = 1024
F_SETDELEG = 1040
O_ASYNC = 0x2000
LOCK_SH = 1
LOCK_EX = 2
LOCK_NB = 4

# linux/inotify.h
IN_CLOSE_WRITE = 0x8
IN_OPEN = 0x20
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800
IN_UNMOUNT = 0x2000
IN_Q_OVERFLOW = 0x4000
IN_ONLYDIR = 0x01000000
IN_DONT_FOLLOW = 0x02000000
IN_ISDIR = 0x40000000

# asm-generic/poll.h
POLLIN = 0x1

# linux/openat2.h
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_IN_ROOT = 0x10

# linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_GET_SECCOMP = 21
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_GET_NO_NEW_PRIVS = 39
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

# linux/capability.h
LINUX_CAPABILITY_VERSION_3 = 0x20080522

# linux/keyctl.h
KEYCTL_JOIN_SESSION_KEYRING = 1

# linux/seccomp.h
SECCOMP_SET_MODE_FILTER = 1
SECCOMP_MODE_FILTER = 2

# linux/landlock.h
LANDLOCK_CREATE_RULESET_VERSION = 1
LANDLOCK_RULE_PATH_BENEATH = 1

# linux/socket.h, linux/net.h, linux/sockios.h, linux/if.h
AF_INET = 2
SOCK_DGRAM = 2
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1

# asm-generic/ioctls.h, the same on x86_64 and aarch64
TIOCSCTTY = 0x540E
TIOCSTI = 0x5412
TIOCLINUX = 0x541C
TIOCSETD = 0x5423

# asm-generic/resource.h, the same on x86_64 and aarch64
RLIMIT_CPU = 0
RLIMIT_FSIZE = 1
RLIMIT_CORE = 4
RLIMIT_NPROC = 6
RLIMIT_NOFILE = 7
RLIMIT_AS = 9

# arch/x86/entry/syscalls/syscall_64.tbl and asm-generic/unistd.h: the calls that `syscalls.py` makes.
_SAME_CALLS = {
    "close_range": 436,
    "fsconfig": 431,
    "fsmount": 432,
    "fsopen": 430,
    "landlock_add_rule": 445,
    "landlock_create_ruleset": 444,
    "landlock_restrict_self": 446,
    "mount_setattr": 442,
    "move_mount": 429,
    "open_tree": 428,
    "openat2": 437,
}
CALLS = {
    "x86_64": {
        **_SAME_CALLS,
        "capget": 125,
        "capset": 126,
        "clone": 56,
        "fcntl": 72,
        "flock": 73,
        "inotify_add_watch": 254,
        "inotify_init1": 294,
        "inotify_rm_watch": 255,
        "ioctl": 16,
        "keyctl": 250,
        "mount": 165,
        "pivot_root": 155,
        "ppoll": 271,
        "prlimit64": 302,
        "seccomp": 317,
        "sethostname": 170,
        "setns": 308,
        "signalfd4": 289,
        "socket": 41,
        "umount2": 166,
        "unshare": 272,
    },
    "aarch64": {
        **_SAME_CALLS,
        "capget": 90,
        "capset": 91,
        "clone": 220,
        "fcntl": 25,
        "flock": 32,
        "inotify_add_watch": 27,
        "inotify_init1": 26,
        "inotify_rm_watch": 28,
        "ioctl": 29,
        "keyctl": 219,
        "mount": 40,
        "pivot_root": 41,
        "ppoll": 73,
        "prlimit64": 261,
        "seccomp": 277,
        "sethostname": 161,
        "setns": 268,
        "signalfd4": 74,
        "socket": 198,
        "umount2": 39,
        "unshare": 97,
    },
}
"""Numbers by `uname -m` and name; `numbers.py` adds those that only the filter knows."""
