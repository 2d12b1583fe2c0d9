"""Runs in its own interpreter: enters fresh namespaces as the sandbox's setup child does, then runs a script.

argv: the descriptor of the channel to the test. The first message on it is the job; the sockets go back on
it, then the script's answer.
"""

from __future__ import annotations

import ctypes
import encodings.idna
import hashlib
import json
import os
import random
import select
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
MS_REC_PRIVATE, MS_BIND = 0x4000 | 0x40000, 0x1000
PR_SET_DUMPABLE = 4
NOBODY = 65534
LIBRARY = ctypes.CDLL(None, use_errno=True)
PRELOADED = (
    encodings.idna,
    hashlib,
    random,
    select,
    signal,
    ssl,
    struct,
    subprocess,
    tempfile,
    threading,
    time,
)
"""What scripts use. After the change of user the interpreter's own files may be out of reach."""


def check(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)


def enter(unprivileged: bool) -> None:
    if unprivileged:
        if os.getuid() == 0:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            LIBRARY.prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
        uid, gid = os.getuid(), os.getgid()
        check(LIBRARY.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET), "unshare")
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
        Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    else:
        check(LIBRARY.unshare(CLONE_NEWNS | CLONE_NEWNET), "unshare")
    check(LIBRARY.mount(b"none", b"/", None, MS_REC_PRIVATE, None), "mount private")


def place(files: dict[str, str]) -> None:
    check(LIBRARY.mount(b"tmpfs", b"/tmp", b"tmpfs", 0, None), "mount tmpfs")
    for path, content in files.items():
        if Path(path).exists():
            source = Path("/tmp") / Path(path).name
            source.write_text(content)
            check(LIBRARY.mount(bytes(source), os.path.realpath(path).encode(), None, MS_BIND, None), path)


def run(script: str, arguments: dict[str, Any], channel: socket.socket) -> Any:
    scope: dict[str, Any] = {"arguments": arguments, "wait": lambda: channel.recv(1), "__name__": "inside"}
    exec(compile(script, "<inside>", "exec"), scope)
    return scope["result"]


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    job = json.loads(channel.recv(1 << 20))
    sys.path.insert(0, job["checkout"])
    from sandbox.linux.egress_namespace import prepare_namespace, send_sockets

    try:
        enter(job["unprivileged"])
    except OSError as error:
        channel.send(json.dumps({"unsupported": str(error)}).encode())
        return
    channel.send(b"{}")
    place(job["files"])
    required, optional = (tuple(map(bytes.fromhex, job[key])) for key in ("required", "optional"))
    endpoints = tuple((str(address), int(port)) for address, port in job["endpoints"])
    if job["without_ipv6"]:
        for name in ("all", "default", "lo"):
            Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
    send_sockets(channel, prepare_namespace(required, optional, endpoints))
    channel.recv(1)
    try:
        answer = {"result": run(job["script"], job["arguments"], channel)}
    except BaseException:
        answer = {"error": traceback.format_exc()}
    channel.send(json.dumps(answer).encode())


main()
