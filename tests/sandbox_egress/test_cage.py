"""The allow-list in real network namespaces: what gets through, what does not, and what is said about it."""

from __future__ import annotations

import os
import random
import resource
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
from contextlib import suppress

import pytest

from sandbox.linux.egress import EgressSettings, allow_list
from sandbox.linux.egress_loop import Loop
from tests.sandbox_egress.cage import LOOPBACK, Cage, closes_down_to, echo, open_descriptors, server, to

USERS = [
    pytest.param(True, id="unprivileged"),
    pytest.param(
        False, id="root", marks=pytest.mark.skipif(os.getuid() != 0, reason="only root has no user namespace")
    ),
]

RESETS = {"ConnectionResetError:104", "BrokenPipeError:32", "OSError:107"}
"""How a reset shows: in reading, in writing, in ending."""

ECHO_ELSEWHERE = """
import socket, threading
listener = socket.create_server(("127.0.0.1", 0), backlog=100)
print(listener.getsockname()[1], flush=True)
def echo(connection):
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)
while True:
    threading.Thread(target=echo, args=listener.accept()[:1], daemon=True).start()
"""
"""A server in a process of its own, which has all the descriptors that it wants."""

TALK = """
import socket
def talk(host, port, data=b"hello"):
    with socket.create_connection((host, port), timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer.decode()
def outcome(call):
    try:
        return call()
    except socket.gaierror as error:
        return error.args[0]
    except OSError as error:
        return type(error).__name__ + ":" + str(error.errno)
"""


@pytest.mark.parametrize("unprivileged", USERS)
def test_only_the_allowed_name_and_port_are_reached(unprivileged: bool) -> None:
    with server(echo) as target:
        cage = Cage(
            allow_list([("api.example.com", 443), ("git.example.com", 22)]),
            EgressSettings(resolve=to(("api.example.com", target)), networks=LOOPBACK),
            unprivileged=unprivileged,
        )
        result = cage.run(
            TALK
            + """
result = {
    "allowed": talk("api.example.com", 443),
    "upper case": talk("API.Example.Com", 443),
    "final dot": talk("api.example.com.", 443),
    "ipv6": talk(socket.getaddrinfo("api.example.com", 443, socket.AF_INET6)[0][4][0], 443),
    "configured": socket.getaddrinfo(
        "api.example.com", 443, socket.AF_INET, flags=socket.AI_ADDRCONFIG
    )[0][4][0],
    "other port": outcome(lambda: talk("api.example.com", 22)),
    "other name": [outcome(lambda: talk("telemetry.example.com", 443)) for _ in range(3)],
    "below": outcome(lambda: talk("x.api.example.com", 443)),
    "literal": outcome(lambda: talk("8.8.8.8", 443)),
    "literal 6": outcome(lambda: talk("2001:4860:4860::8888", 443)),
    "metadata": outcome(lambda: talk("169.254.169.254", 80)),
    "own loopback": outcome(lambda: talk("127.0.0.1", 443)),
    "outside loopback": outcome(lambda: talk("127.0.0.1", arguments["port"])),
    "unused address": outcome(lambda: talk("198.18.77.1", 443)),
}
""",
            port=target[1],
        )
    assert result == {
        "allowed": "hello",
        "upper case": "hello",
        "final dot": "hello",
        "ipv6": "hello",
        "configured": "198.18.1.0",
        "other port": "ConnectionRefusedError:111",
        "other name": [socket.EAI_NONAME] * 3,
        "below": socket.EAI_NONAME,
        "literal": "OSError:101",
        "literal 6": "OSError:101",
        "metadata": "OSError:101",
        "own loopback": "ConnectionRefusedError:111",
        "outside loopback": "ConnectionRefusedError:111",
        "unused address": "ConnectionRefusedError:111",
    }
    report = cage.egress.close()
    assert [(each.name, each.count) for each in report.refused_names] == [
        ("telemetry.example.com", 3),
        ("x.api.example.com", 1),
    ]
    assert (
        "network: `telemetry.example.com` refused 3 times; allow it with --allow-net telemetry.example.com"
        in (report.lines())
    )
    (traffic,) = report.traffic
    assert (traffic.host, traffic.port, traffic.connections) == ("api.example.com", 443, 4)
    assert (traffic.sent_bytes, traffic.received_bytes) == (20, 20)
    assert report.faults == ()


def test_large_transfers_arrive_whole_in_both_directions() -> None:
    size = 64 << 20
    with server(echo) as target:
        cage = Cage(allow_list([("big.example.com", 80)]), _to("big.example.com", target))
        result = cage.run(
            """
import hashlib, os, socket, threading
block = os.urandom(1 << 20)
sent, received = hashlib.sha256(), hashlib.sha256()
with socket.create_connection(("big.example.com", 80)) as connection:
    def send():
        for _ in range(arguments["size"] >> 20):
            connection.sendall(block)
            sent.update(block)
        connection.shutdown(socket.SHUT_WR)
    sender = threading.Thread(target=send)
    sender.start()
    count = 0
    while chunk := connection.recv(1 << 20):
        received.update(chunk)
        count += len(chunk)
    sender.join()
result = [count, sent.hexdigest() == received.hexdigest()]
""",
            size=size,
        )
    report = cage.egress.close()
    assert (report.broken, report.unreachable, report.faults) == ((), (), ())
    assert result == [size, True]
    (traffic,) = report.traffic
    assert (traffic.sent_bytes, traffic.received_bytes) == (size, size)


def test_half_closed_connections_go_on_in_the_other_direction() -> None:
    """The client ends first and still reads; the server ends first and still reads."""
    heard = threading.Event()
    last_words: list[bytes] = []

    def answers_after_the_end(connection: socket.socket) -> None:
        data = b""
        while chunk := connection.recv(65536):
            data += chunk
        connection.sendall(data[::-1])

    def ends_first(connection: socket.socket) -> None:
        connection.sendall(b"bye")
        connection.shutdown(socket.SHUT_WR)
        last_words.append(connection.recv(100, socket.MSG_WAITALL))
        heard.set()

    with server(answers_after_the_end) as first, server(ends_first) as second:
        cage = Cage(
            allow_list([("a.example.com", 80), ("b.example.com", 80)]),
            EgressSettings(
                resolve=to(("a.example.com", first), ("b.example.com", second)), networks=LOOPBACK
            ),
        )
        result = cage.run(
            TALK
            + """
first = talk("a.example.com", 80, b"abc")
with socket.create_connection(("b.example.com", 80)) as connection:
    said = b""
    while chunk := connection.recv(100):
        said += chunk
    connection.sendall(b"after your end")
result = [first, said.decode()]
"""
        )
        assert heard.wait(20)
    assert result == ["cba", "bye"]
    assert last_words == [b"after your end"]
    cage.egress.close()


def test_resets_are_passed_on_in_both_directions() -> None:
    seen: list[str] = []
    done = threading.Event()

    def resets(connection: socket.socket) -> None:
        connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    def is_reset(connection: socket.socket) -> None:
        connection.sendall(b"x")
        try:
            while connection.recv(100):
                pass
            seen.append("end")
        except ConnectionResetError:
            seen.append("reset")
        done.set()

    with server(resets) as first, server(is_reset) as second:
        cage = Cage(
            allow_list([("a.example.com", 80), ("b.example.com", 80)]),
            EgressSettings(
                resolve=to(("a.example.com", first), ("b.example.com", second)), networks=LOOPBACK
            ),
        )
        result = cage.run(
            TALK
            + """
import struct
inner = outcome(lambda: talk("a.example.com", 80))
connection = socket.create_connection(("b.example.com", 80))
connection.recv(1)
connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
connection.close()
result = inner
"""
        )
        assert done.wait(20)
    assert result in RESETS
    assert seen == ["reset"]
    cage.egress.close()


def test_a_slow_reader_holds_the_sender_back_and_no_memory_grows() -> None:
    """Readers that read nothing for a while: the server can only send what the kernel's sockets take."""
    stalled = 20
    went_out = [0] * stalled
    lock = threading.Lock()
    numbers = iter(range(stalled))
    idle = threading.Semaphore(0)

    def floods(connection: socket.socket) -> None:
        with lock:
            number = next(numbers)
        block = bytes(1 << 16)
        connection.settimeout(0.5)
        try:
            while True:
                went_out[number] += connection.send(block)
        except TimeoutError:
            idle.release()
        connection.settimeout(20)
        connection.sendall(b"done")

    with server(floods) as target:
        cage = Cage(allow_list([("flood.example.com", 80)]), _to("flood.example.com", target))
        before = _resident_kib()

        def check() -> None:
            for _ in range(stalled):
                assert idle.acquire(timeout=30)
            grown.append(_resident_kib() - before)
            cage.go_on()

        grown: list[int] = []
        watcher = threading.Thread(target=check)
        watcher.start()
        result = cage.run(
            """
import socket
connections = []
for _ in range(arguments["stalled"]):
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    connection.connect(("flood.example.com", 80))
    connections.append(connection)
wait()
result = []
for connection in connections:
    count, tail = 0, b""
    while chunk := connection.recv(1 << 20):
        count += len(chunk)
        tail = (tail + chunk)[-4:]
    result.append([count - 4, tail.decode()])
""",
            stalled=stalled,
        )
        watcher.join()
    assert [tail for _, tail in result] == ["done"] * stalled
    assert sorted(count for count, _ in result) == sorted(went_out)
    # What waits is in the kernel's sockets; the relay's own buffer is one for all.
    assert grown[0] < 8 << 10
    cage.egress.close()


def test_many_connections_at_once() -> None:
    count = 200
    before = open_descriptors()
    with server(echo) as target:
        cage = Cage(allow_list([("many.example.com", 443)]), _to("many.example.com", target))
        result = cage.run(
            """
import socket
connections = [socket.create_connection(("many.example.com", 443)) for _ in range(arguments["count"])]
for number, connection in enumerate(connections):
    connection.sendall(b"%d" % number)
answers = [connection.recv(100).decode() for connection in connections]
result = answers == [str(number) for number in range(arguments["count"])]
""",
            count=count,
        )
        assert result is True
        report = cage.egress.close()
    assert report.traffic[0].connections == count
    assert report.unreachable == () == report.faults
    assert closes_down_to(before)


def test_more_connections_than_are_carried_wait_their_turn() -> None:
    with server(echo) as target:
        settings = EgressSettings(
            resolve=to(("many.example.com", target)), networks=LOOPBACK, max_connections=3
        )
        cage = Cage(allow_list([("many.example.com", 443)]), settings)
        result = cage.run(
            TALK
            + """
import threading
result = []
threads = [threading.Thread(target=lambda: result.append(talk("many.example.com", 443))) for _ in range(30)]
for each in threads:
    each.start()
for each in threads:
    each.join()
"""
        )
    assert result == ["hello"] * 30
    report = cage.egress.close()
    assert report.traffic[0].connections == 30
    assert report.lines() == ("network: connections had to wait: 3 at once are carried",)


def test_a_tls_greeting_for_another_name_is_refused_and_reported() -> None:
    received: list[bytes] = []

    def records(connection: socket.socket) -> None:
        data = connection.recv(65536)
        received.append(data)
        connection.sendall(data[:1])

    hellos = {
        name: _client_hello(name) for name in ("api.example.com", "evil.example.net", None, "cdn.example.com")
    }
    whole = hellos["api.example.com"]
    with server(records) as target:
        cage = Cage(
            allow_list([("api.example.com", 443), ("cdn.example.com", 443)]), _to("api.example.com", target)
        )
        result = cage.run(
            TALK
            + """
import time
def greet(data, pieces):
    with socket.create_connection(("api.example.com", 443), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(data), -(-len(data) // pieces)):
            connection.sendall(data[start : start + -(-len(data) // pieces)])
            time.sleep(0.005 if pieces > 1 else 0)
        return connection.recv(100).hex()
result = {
    name: [outcome(lambda: greet(bytes.fromhex(data), pieces)) for pieces in (1, 20)]
    for name, data in arguments["hellos"].items()
}
result["not tls"] = talk("api.example.com", 443, b"SSH-2.0")
""",
            hellos={
                **{str(name): data.hex() for name, data in hellos.items()},
                "malformed": (whole[:60] + b"\xff" * (len(whole) - 60)).hex(),
            },
        )
    assert result["api.example.com"] == ["16", "16"]
    assert result["cdn.example.com"] == ["16", "16"], "another allowed name is as good as the own one"
    assert result["None"] == ["16", "16"]
    assert result["not tls"] == "S"
    assert {*result["evil.example.net"]} <= RESETS
    assert {*result["malformed"]} <= RESETS
    assert not any(b"evil" in data for data in received), "not a byte of it went out"
    assert hellos["api.example.com"] in received
    report = cage.egress.close()
    assert [(each.host, each.server_name, each.count) for each in report.refused_servers] == [
        ("api.example.com", "evil.example.net", 2),
        ("api.example.com", None, 2),
    ]


def test_names_that_point_at_the_machine_or_its_network_are_not_dialled() -> None:
    with server(echo) as target:
        names = {
            "loop.example.com": target,
            "mapped.example.com": ("::ffff:127.0.0.1", target[1]),
            "meta.example.com": ("169.254.169.254", 80),
            "lan.example.com": ("192.168.1.1", 80),
        }
        cage = Cage(
            allow_list([(name, 80) for name in [*names, "nowhere.example.com"]]),
            EgressSettings(resolve=to(*names.items())),
        )
        result = cage.run(
            TALK + "result = [outcome(lambda: talk(name, 80)) for name in arguments['names']]",
            names=[*names, "nowhere.example.com"],
        )
    assert {*result} <= RESETS
    report = cage.egress.close()
    reasons = {each.host: each.reason for each in report.unreachable}
    assert "loopback" in reasons["loop.example.com"]
    assert "loopback" in reasons["mapped.example.com"]
    assert "link-local" in reasons["meta.example.com"]
    assert "private" in reasons["lan.example.com"]
    assert reasons["nowhere.example.com"] == "Name or service not known"
    assert all(each.sent_bytes == 0 for each in report.traffic)


def test_localhost_and_literals_are_reached_when_listed() -> None:
    with server(echo) as target, server(echo, "::1") as target6:
        cage = Cage(
            allow_list([("localhost", target[1]), ("::1", target6[1]), ("192.0.2.7", 5432)]),
            EgressSettings(connect_timeout_seconds=0.2),
        )
        result = cage.run(
            TALK
            + """
port, port6 = arguments["port"], arguments["port6"]
result = [talk("localhost", port), talk("127.0.0.1", port), talk("::1", port6)]
result.append(outcome(lambda: talk("192.0.2.7", 5433)))
with socket.create_connection(("192.0.2.7", 5432)):
    pass
""",
            port=target[1],
            port6=target6[1],
        )
    assert result == ["hello"] * 3 + ["ConnectionRefusedError:111"]
    assert ("192.0.2.7", 5432) in {(each.host, each.port) for each in cage.egress.close().traffic}


def test_wildcards_give_every_name_below_an_address() -> None:
    with server(echo) as target:
        names = [(f"w{number}.example.com", target) for number in range(5)]
        cage = Cage(
            allow_list([("*.example.com", 80), ("w1.example.com", 81)]),
            EgressSettings(resolve=to(*names), networks=LOOPBACK),
        )
        result = cage.run(
            TALK
            + """
result = [talk(f"w{number}.example.com", 80) for number in range(5)]
result += [talk("w1.example.com", 81), outcome(lambda: talk("w2.example.com", 81))]
result += [outcome(lambda: talk("example.com", 80)), outcome(lambda: talk("198.18.0.9", 80))]
"""
        )
    assert result[:6] == ["hello"] * 6
    assert result[6] == "ConnectionRefusedError:111"
    assert result[7] == socket.EAI_NONAME
    assert result[8] in RESETS
    cage.egress.close()


def test_without_ipv6_everything_goes_over_ipv4() -> None:
    with server(echo, "::1") as target:
        cage = Cage(allow_list([("api.example.com", 443)]), _to("api.example.com", target), without_ipv6=True)
        result = cage.run(
            TALK
            + """
result = [talk("api.example.com", 443)]
result += [outcome(lambda: socket.getaddrinfo("api.example.com", 443, socket.AF_INET6))]
result += [sorted({each[4][0] for each in socket.getaddrinfo("api.example.com", 443)})]
"""
        )
    assert result[0] == "hello", "inside over IPv4, outside over IPv6"
    assert result[1] in (socket.EAI_NONAME, -5), "no data, or no name: the C libraries differ"
    assert result[2] == ["198.18.1.0"]
    cage.egress.close()


def test_the_ports_cannot_be_taken_over_from_inside() -> None:
    with server(echo) as target:
        cage = Cage(allow_list([("api.example.com", 8443)]), _to("api.example.com", target))
        result = cage.run(
            TALK
            + """
def take(address, port, kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as thief:
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        thief.bind((address, port))
        if kind == socket.SOCK_STREAM:
            thief.listen()
result = [
    outcome(lambda: take("198.18.1.0", 8443)),
    outcome(lambda: take("0.0.0.0", 8443)),
    outcome(lambda: take("127.0.0.1", 53)),
    outcome(lambda: take("127.0.0.1", 53, socket.SOCK_DGRAM)),
    outcome(lambda: take("127.0.0.1", 8443)),
]
"""
        )
    assert result == ["OSError:98"] * 4 + [None], "the payload's own loopback stays its own"
    cage.egress.close()


def test_what_was_sent_before_the_payload_ended_still_arrives() -> None:
    arrived: list[int] = []
    done = threading.Event()

    def reads_slowly(connection: socket.socket) -> None:
        count = 0
        while chunk := connection.recv(1 << 16):
            count += len(chunk)
        arrived.append(count)
        done.set()

    with server(reads_slowly) as target:
        cage = Cage(allow_list([("log.example.com", 80)]), _to("log.example.com", target))
        cage.run(
            """
import socket
connection = socket.create_connection(("log.example.com", 80))
connection.sendall(bytes(1 << 20))
connection.close()
result = None
"""
        )
        report = cage.egress.close()
        assert done.wait(20)
    assert arrived == [1 << 20]
    assert report.traffic[0].sent_bytes == 1 << 20


def test_the_resolver_answers_over_tcp_and_survives_rubbish() -> None:
    cage = Cage(allow_list([("api.example.com", 443)]), EgressSettings(resolve=to()))
    result = cage.run(
        r"""
import os, random, socket, struct
def query(name, kind=1):
    labels = b"".join(bytes([len(each)]) + each.encode() for each in name.split("."))
    return struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)
def framed(data):
    return struct.pack("!H", len(data)) + data
def read(connection):
    size = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))[0]
    return connection.recv(size, socket.MSG_WAITALL)
chance = random.Random(7)
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.connect(("127.0.0.1", 53))
for size in range(300):
    udp.send(chance.randbytes(size))
broken = []
for size in (0, 1, 9, 70):
    connection = socket.create_connection(("127.0.0.1", 53))
    connection.sendall(b"\xff\xff" + bytes(size))
    broken.append(connection)
idle = [socket.create_connection(("127.0.0.1", 53)) for _ in range(100)]
with socket.create_connection(("127.0.0.1", 53), timeout=20) as connection:
    both = framed(query("api.example.com")) + framed(query("no.example.com"))
    for position in range(len(both)):
        connection.sendall(both[position : position + 1])
    yes, no = read(connection), read(connection)
    connection.shutdown(socket.SHUT_WR)
    ended = connection.recv(1)
udp.close()
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
    udp.connect(("127.0.0.1", 53))
    udp.settimeout(20)
    udp.send(query("db.localhost"))
    local = udp.recv(512)
result = [yes[-4:].hex(), yes[3] & 15, no[3] & 15, ended.hex(), local[-4:].hex()]
"""
    )
    assert result == ["c6120100", 0, 3, "", "7f000001"]
    report = cage.egress.close()
    assert report.faults == ()
    assert "no.example.com" in {each.name for each in report.refused_names}
    assert "db.localhost" not in {each.name for each in report.refused_names}
    assert all(each.name.isprintable() and each.name.isascii() for each in report.refused_names)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_needs_no_setting() -> None:
    def responds(connection: socket.socket) -> None:
        request = connection.recv(65536)
        host = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"host:"))
        connection.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(host), host)
        )

    with server(responds) as target:
        cage = Cage(allow_list([("web.example.com", 80)]), _to("web.example.com", target))
        result = cage.run(
            """
import subprocess
def curl(*argv):
    command = ["curl", "-sS", "--noproxy", "*", "--max-time", "20", *argv]
    done = subprocess.run(command, capture_output=True, text=True)
    return [done.returncode, done.stdout]
result = [curl("http://web.example.com/"), curl("-6", "http://web.example.com/")]
result.append(curl("http://other.example.com/"))
"""
        )
    assert result == [[0, "Host: web.example.com"], [0, "Host: web.example.com"], [6, ""]]
    assert [each.name for each in cage.egress.close().refused_names] == ["other.example.com"]


def test_chaos_from_inside_and_outside_leaves_no_fault_and_no_descriptor() -> None:
    """Clients and servers that send, stop, end and reset at random, at the same time."""
    before = open_descriptors()

    def erratic(connection: socket.socket) -> None:
        chance = random.Random(connection.getpeername()[1])
        for _ in range(chance.randrange(4)):
            if chance.random() < 0.5:
                connection.sendall(bytes(chance.randrange(1 << 18)))
            else:
                connection.recv(chance.randrange(1, 1 << 18))
        if chance.random() < 0.3:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif chance.random() < 0.5:
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(1 << 16):
                pass

    with server(erratic) as target:
        cage = Cage(allow_list([("chaos.example.com", 443)]), _to("chaos.example.com", target))
        result = cage.run(
            """
import random, socket, struct, threading
def client(seed):
    chance = random.Random(seed)
    with socket.create_connection(("chaos.example.com", 443), timeout=0.3) as connection:
        try:
            for _ in range(chance.randrange(6)):
                step = chance.randrange(6)
                if step == 0:
                    connection.sendall(b"\\x16\\x03" + chance.randbytes(chance.randrange(1 << 12)))
                elif step == 1:
                    connection.sendall(bytes(chance.randrange(1 << 18)))
                elif step == 2:
                    connection.recv(chance.randrange(1, 1 << 18))
                elif step == 3:
                    connection.shutdown(socket.SHUT_WR)
                elif step == 4:
                    connection.send(b"!", socket.MSG_OOB)
                else:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
def clients(start):
    for seed in range(start, start + 25):
        client(seed)
threads = [threading.Thread(target=clients, args=(start,)) for start in range(0, 400, 25)]
for each in threads:
    each.start()
for each in threads:
    each.join()
result = "survived"
"""
        )
        report = cage.egress.close(drain_seconds=0.2)
    assert result == "survived"
    assert report.faults == ()
    assert report.traffic[0].connections >= 400, "a connect that timed out is tried at the other address"
    assert closes_down_to(before)


def test_connections_that_wait_cost_no_turns_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-closed, stalled, unfinished: none of these may keep the loop busy."""
    turns = [0]
    original = Loop._round

    def counted(self: Loop) -> None:
        turns[0] += 1
        original(self)

    monkeypatch.setattr(Loop, "_round", counted)
    release = threading.Event()

    def stands(connection: socket.socket) -> None:
        kind = connection.recv(1)
        if kind == b"e":
            connection.shutdown(socket.SHUT_WR)
        if kind == b"f":
            connection.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    connection.send(bytes(1 << 20))
        if kind == b"g":
            connection.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    connection.send(bytes(1 << 20))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        release.wait(30)

    with server(stands) as target:
        cage = Cage(allow_list([("api.example.com", 443)]), _to("api.example.com", target))

        def watch() -> None:
            first.append(turns[0])
            cage.go_on()

        first: list[int] = []
        timer = threading.Timer(1.0, watch)
        timer.start()
        result = cage.run(
            """
import socket, time
kept = []
for kind in (b"w", b"e", b"f", b"g", b"h", b"\\x16\\x03\\x01"):
    connection = socket.create_connection(("api.example.com", 443))
    connection.sendall(kind)
    if kind in (b"e", b"h", b"f"):
        connection.shutdown(socket.SHUT_WR)
    kept.append(connection)
flood = socket.create_connection(("api.example.com", 443))
flood.sendall(b"k")
flood.setblocking(False)
try:
    while True:
        flood.send(bytes(1 << 20))
except BlockingIOError:
    pass
wait()
time.sleep(0.3)
result = len(kept)
"""
        )
        last = turns[0]
        release.set()
        cage.egress.close(drain_seconds=0)
    assert result == 6
    assert last - first[0] < 50


def test_closing_while_connections_stand_leaves_nothing() -> None:
    before = open_descriptors()
    threads = set(threading.enumerate())
    release = threading.Event()

    def stands(connection: socket.socket) -> None:
        connection.sendall(b"x")
        release.wait(20)

    with server(stands) as target:
        cage = Cage(allow_list([("api.example.com", 80)]), _to("api.example.com", target))
        cage.run(
            """
import socket
connections = [socket.create_connection(("api.example.com", 80)) for _ in range(5)]
result = [connection.recv(1) for connection in connections] and None
"""
        )
        first = cage.egress.close(drain_seconds=0.0)
        assert cage.egress.close() == first
        release.set()
    assert first.traffic[0].connections == 5
    assert closes_down_to(before)
    assert not [each for each in set(threading.enumerate()) - threads if each.name == "egress"]


def test_nobody_is_waited_for_on_behalf_of_a_client_that_said_nothing() -> None:
    """A host that never answers, a client that is gone: closing comes back though it may drain for hours."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        waiting = [socket.socket() for _ in range(4)]  # They fill the backlog.
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(silent.getsockname())
        cage = Cage(allow_list([("silent.example.com", 80)]), _to("silent.example.com", silent.getsockname()))
        cage.run("import socket; socket.create_connection(('silent.example.com', 80)).close(); result = None")
        report = cage.egress.close(drain_seconds=3600)
        for each in waiting:
            each.close()
    assert report.traffic[0].connections == 1
    assert report.unreachable == ()


def test_few_descriptors_make_connections_wait_and_break_nothing() -> None:
    """The process may open a handful more: the rest of the clients are served when the first have ended."""
    count = 40
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with subprocess.Popen(
        [sys.executable, "-c", ECHO_ELSEWHERE], stdout=subprocess.PIPE, text=True
    ) as elsewhere:
        assert elsewhere.stdout is not None
        target = ("127.0.0.1", int(elsewhere.stdout.readline()))
        cage = Cage(allow_list([("api.example.com", 443)]), _to("api.example.com", target))

        def restrict() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (open_descriptors() + 24, hard))
            cage.go_on()

        timer = threading.Timer(0.5, restrict)
        timer.start()
        try:
            result = cage.run(
                TALK
                + """
import threading
wait()
result = []
def one():
    result.append(outcome(lambda: talk("198.18.1.0", 443)))
threads = [threading.Thread(target=one) for _ in range(arguments["count"])]
for each in threads:
    each.start()
for each in threads:
    each.join()
""",
                count=count,
            )
        finally:
            timer.join()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            elsewhere.kill()
    assert len(result) == count
    assert set(result) <= {"hello", *RESETS}
    report = cage.egress.close()
    assert report.faults == ()
    assert report.traffic[0].connections == count


def _to(name: str, target: tuple[str, int]) -> EgressSettings:
    return EgressSettings(resolve=to((name, target)), networks=LOOPBACK)


def _client_hello(name: str | None) -> bytes:
    """The bytes that OpenSSL greets with."""
    context = ssl.create_default_context()
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def _resident_kib() -> int:
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123 - one file of the kernel's
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:"))
