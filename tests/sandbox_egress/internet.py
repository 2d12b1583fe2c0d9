"""A small internet in namespaces of its own, with sandboxes started in it; run as a program.

It has public, private and link-local addresses, names for them, and the same servers on all of them: whatever
is not reached there was refused, not missing. Each line on standard input is a request to run something in a
sandbox; its outcome is a line on standard output.

argv: the checkout, then a folder that holds `key.pem`, `cert.pem`, `ca.pem` and `www/`.
"""

from __future__ import annotations

import ctypes
import functools
import http.server
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

FILES, SIX, BOTH = "203.0.113.7", "2001:db8::7", "203.0.113.8"
PRIVATE, METADATA = "10.9.8.7", "169.254.169.254"
NAMES = f"""\
127.0.0.1 localhost loop.example.com
::1 localhost
{FILES} files.example.com git.example.com other.example.com
{SIX} six.example.com
{BOTH} both.example.com
2001:db8::8 both.example.com
{PRIVATE} private.example.com
{METADATA} metadata.example.com
fd00::7 private6.example.com
203.0.113.99 gone.example.com
"""
ADDRESSES = (FILES, BOTH, PRIVATE, METADATA, SIX, "2001:db8::8", "fd00::7")
HTTP, HTTPS, ECHO, FLOOD, COUNT = 80, 443, 7, 19, 9
MS_REC_PRIVATE, MS_BIND = 0x4000 | 0x40000, 0x1000
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
LIBRARY = ctypes.CDLL(None, use_errno=True)
REACHED: list[str] = []
"""Addresses at which somebody was served."""


def enter() -> None:
    """Leave the machine's network and give this one its addresses and names."""
    uid, gid = os.getuid(), os.getgid()
    _check(LIBRARY.unshare(CLONE_NEWNS | CLONE_NEWNET | (CLONE_NEWUSER if uid else 0)))
    if uid:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    _check(LIBRARY.mount(b"none", b"/", None, MS_REC_PRIVATE, None))
    hosts = Path(sys.argv[2]) / "hosts"
    hosts.write_text(NAMES)
    _check(LIBRARY.mount(bytes(hosts), os.path.realpath("/etc/hosts").encode(), None, MS_BIND, None))
    _ip("link", "set", "lo", "up")
    for address in ADDRESSES:
        _ip("address", "add", f"{address}/{128 if ':' in address else 32}", "dev", "lo")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words, *(["nodad"] if ":" in words[2] else [])], check=True)


def _check(result: int) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def serve(port: int, handle: Callable[[socket.socket], None]) -> None:
    """Answer on every address there is."""
    listener = socket.create_server(("::", port), family=socket.AF_INET6, backlog=4096, dualstack_ipv6=True)

    def one(connection: socket.socket) -> None:
        REACHED.append(connection.getsockname()[0].removeprefix("::ffff:"))
        with connection, suppress(OSError):
            handle(connection)

    def accept() -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def web(folder: Path, tls: ssl.SSLContext | None) -> Callable[[socket.socket], None]:
    """An HTTP server for one connection."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            return

    make = functools.partial(Handler, directory=str(folder))

    def handle(connection: socket.socket) -> None:
        plain = connection if tls is None else tls.wrap_socket(connection, server_side=True)
        make(plain, plain.getpeername(), None)  # type: ignore[arg-type]
        if tls is not None:
            plain.close()

    return handle


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)
    connection.shutdown(socket.SHUT_WR)


def flood(connection: socket.socket) -> None:
    """Send as much as is asked for in eight bytes."""
    left = struct.unpack("!Q", connection.recv(8, socket.MSG_WAITALL))[0]
    block = bytes(1 << 20)
    while left:
        left -= connection.send(block[: min(left, len(block))])


def count(connection: socket.socket) -> None:
    """Tell how many bytes came, once the other side says that it has sent all."""
    total = 0
    while data := connection.recv(1 << 20):
        total += len(data)
    connection.sendall(struct.pack("!Q", total))


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Run what was asked for and tell how it went."""
    import marshal

    import sandbox

    policy = sandbox.Policy.from_plain(request["policy"])
    REACHED.clear()
    started = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as plan:
        if request["way"] == "replay":
            plan.write(marshal.dumps(sandbox.prepare(policy)))
            plan.seek(0)
            script = (
                "import marshal, sys; sys.path.insert(0, sys.argv[1]); from sandbox import replay_outcome\n"
                "ended = replay_outcome(marshal.load(sys.stdin.buffer), tuple(sys.argv[2:]), '/')\n"
                "assert 'pyroute2' not in sys.modules\n"
                "for line in ended.network.lines(): print(line, file=sys.stderr)\n"
                "sys.exit(ended.returncode)"
            )
            words = [sys.executable, "-I", "-c", script, sys.argv[1], *request["argv"]]
            code = subprocess.run(words, stdin=plan, stdout=out, stderr=err, check=False).returncode
            network = None
        else:
            command = sandbox.Command(argv=tuple(request["argv"]), stdout=out.fileno(), stderr=err.fileno())
            status = sandbox.run(policy, command)
            code = status.returncode
            network = None if status.network is None else status.network.to_plain()
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode("utf-8", "replace"))
    return {
        "code": code,
        "out": texts[0],
        "err": texts[1],
        "network": network,
        "reached": sorted(set(REACHED)),
        "seconds": time.monotonic() - started,
    }


def main() -> None:
    sys.path.insert(0, sys.argv[1])
    place = Path(sys.argv[2])
    try:
        enter()
    except (OSError, subprocess.CalledProcessError) as error:
        print(json.dumps({"unsupported": str(error)}), flush=True)
        return
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(place / "cert.pem", place / "key.pem")
    serve(HTTP, web(place / "www", None))
    serve(HTTPS, web(place / "www", tls))
    serve(ECHO, echo)
    serve(FLOOD, flood)
    serve(COUNT, count)
    print("{}", flush=True)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
