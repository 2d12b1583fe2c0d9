"""The allow-list's smaller parts: names and addresses, reach, report, dialling, plan, files."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.errors import PolicyError, SetupError
from sandbox.linux.egress import Egress, EgressSettings, namespace_plan, receive_sockets
from sandbox.linux.egress_dial import Answer, Dial, Lookups
from sandbox.linux.egress_dns import AAAA, A, Question
from sandbox.linux.egress_files import hosts, nsswitch_conf, resolv_conf, resolver_files
from sandbox.linux.egress_loop import READ, Loop
from sandbox.linux.egress_names import (
    IPV4_RANGE,
    IPV6_RANGE,
    MAX_ENDPOINTS,
    MAX_NAMES,
    Directory,
    allow_list,
    canonical_host,
)
from sandbox.linux.egress_reach import Reach
from sandbox.linux.egress_report import MAX_ENTRIES, Tally

CHECKOUT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("API.Example.com.", "api.example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("*.Example.com", "*.example.com"),
        ("_dmarc.example.com", "_dmarc.example.com"),
        ("localhost", "localhost"),
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:DB8:0::1]", "2001:db8::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("", None),
        ("*", None),
        ("*.com", None),
        ("a..b", None),
        ("-a.example", None),
        ("a b.example", None),
        ("a/b", None),
        ("*.*.example.com", None),
        ("x.*.example.com", None),
        ("a" * 64 + ".example", None),
        ("1.2.3", None),
        ("0.0.0.0", None),
        ("::", None),
        ("224.0.0.1", None),
        ("255.255.255.255", None),
        ("198.18.0.1", None),
        ("0.1.2.3", None),
        ("240.0.0.1", None),
        ("fe80::1", None),
        ("fe80::1%eth0", None),
    ],
)
def test_hosts_are_written_one_way(text: str, expected: str | None) -> None:
    assert canonical_host(text) == expected


def test_every_problem_of_the_policy_is_told_at_once() -> None:
    with pytest.raises(PolicyError) as caught:
        allow_list(
            [("a b", 1), ("a.example", 0), ("a.example", 70000), ("*.example.com", 53), ("localhost", 53)]
        )
    assert len(caught.value.details) == 5


def test_each_host_has_its_own_addresses_and_listeners() -> None:
    allowed = allow_list([("b.example", 443), ("a.example", 443), ("a.example", 80), ("B.example.", 443)])
    assert [(each.name, sorted(each.ports)) for each in allowed.hosts] == [
        ("a.example", [80, 443]),
        ("b.example", [443]),
    ]
    assert set(allowed.endpoints) == {
        (str(address), port)
        for host in allowed.hosts
        for port in host.ports
        for address in (host.ipv4, host.ipv6)
    }
    for host in allowed.hosts:
        assert host.ipv4 in IPV4_RANGE
        assert host.ipv6 in IPV6_RANGE


def test_ports_of_wildcards_are_served_everywhere() -> None:
    allowed = allow_list([("*.example.com", 443), ("a.example.com", 22), ("other.example", 443)])
    addresses = {str(each) for host in allowed.hosts if 22 in host.ports for each in (host.ipv4, host.ipv6)}
    assert set(allowed.endpoints) == {("0.0.0.0", 443), ("::", 443), *((each, 22) for each in addresses)}
    directory = Directory(allowed)
    assert directory.allows("a.example.com", 443), "an exact name gets its wildcard's ports too"
    assert not directory.allows("other.example", 22)


def test_many_hosts_share_listeners_and_too_many_are_refused() -> None:
    allowed = allow_list((f"h{number}.example", 443) for number in range(1000))
    assert allowed.endpoints == (("0.0.0.0", 443), ("::", 443))
    with pytest.raises(PolicyError):
        allow_list((f"h{number}.example", 443) for number in range(MAX_NAMES + 1))
    with pytest.raises(PolicyError):
        allow_list(("a.example", port) for port in range(1000, 1000 + MAX_ENDPOINTS))


def test_the_directory_knows_names_by_their_addresses() -> None:
    directory = Directory(
        allow_list([("a.example", 80), ("*.b.example", 443), ("127.0.0.1", 81), ("localhost", 82)])
    )
    first = directory.find("x.b.example")
    assert first is not None
    assert directory.find("x.b.example") is first
    assert directory.at(str(first.ipv4), 443) == directory.at(str(first.ipv6), 443)
    assert directory.at(str(first.ipv4), 80) is None
    assert directory.find("b.example") is None
    assert directory.find("x\\046y.b.example") is None
    assert directory.at("127.0.0.1", 81) is not None
    assert directory.at("127.0.0.1", 82) is not None
    assert directory.at("::1", 81) is None


def test_wildcards_cannot_take_addresses_without_end() -> None:
    directory = Directory(allow_list([("*.example.com", 443)]))
    taken = [directory.find(f"n{number}.example.com") for number in range(MAX_NAMES + 50)]
    assert sum(each is not None for each in taken) == MAX_NAMES
    assert len({each.ipv4 for each in taken if each is not None}) == MAX_NAMES


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.9.9.9", "0.0.0.0", "10.0.0.1", "172.31.0.1", "192.168.0.1", "100.64.0.1"),
        *("169.254.169.254", "224.0.0.1", "255.255.255.255", "192.0.0.192"),
        *("::", "::1", "fe80::1", "fe80::1%1", "fd00:ec2::254", "ff02::1", "fec0::1"),
        *("::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "2002:7f00:1::1"),
        *("168.63.129.16", "::ffff:168.63.129.16", "64:ff9b:1::a00:1", "::ffff:0:127.0.0.1"),
        *("2001:db8::5efe:10.0.0.1", "2001:db8::200:5efe:169.254.169.254", "2001:0:4136:e378::1"),
    ],
)
def test_addresses_that_no_name_may_point_at(address: str) -> None:
    assert Reach().refusal(address, 443) is not None


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "172.32.0.1",
        "2606:4700::1111",
        "64:ff9b::808:808",
        "2002:808:808::1",
        "64:ff9b:1::c612:100",
    ],
)
def test_addresses_that_names_may_point_at(address: str) -> None:
    assert Reach().refusal(address, 443) is None


def test_listed_addresses_and_networks_may_be_dialled() -> None:
    reach = Reach(addresses=[(ip_address("10.0.0.5"), 443)], networks=("192.168.0.0/16", "fd00::/8"))
    assert reach.refusal("10.0.0.5", 443) is None
    assert reach.refusal("10.0.0.5", 80) is not None
    assert reach.refusal("192.168.7.7", 80) is None
    assert reach.refusal("::ffff:192.168.7.7", 80) is None
    assert Reach(networks=("::/0",)).refusal("::ffff:127.0.0.1", 80) is not None
    assert reach.refusal("fd12::1", 80) is None
    assert reach.refusal("172.16.0.1", 80) is not None


def test_a_network_that_is_none_is_a_policy_error() -> None:
    with pytest.raises(PolicyError):
        Egress(allow_list([]), EgressSettings(networks=("10.0.0.0/99",)))


@settings(deadline=None)
@given(st.ip_addresses())
def test_reach_judges_every_address(address: IPv4Address | IPv6Address) -> None:
    refusal = Reach().refusal(str(address), 1)
    if address.is_loopback or address.is_link_local or address.is_multicast or address.is_unspecified:
        assert refusal is not None
    assert Reach(networks=("0.0.0.0/0", "::/0")).refusal(str(address), 1) is None


def test_the_report_counts_look_ups_and_names_the_option() -> None:
    tally = Tally()
    for _ in range(2):
        tally.refused_name(Question("t.example", A))
        tally.refused_name(Question("t.example", AAAA))
    tally.refused_name(Question("4.3.2.1.in-addr.arpa", 12))
    tally.refused_server("a.example", 443, "b.example")
    tally.refused_server("a.example", 443, None)
    tally.unreachable("a.example", 443, "connection refused")
    tally.fault("KeyError: 1")
    assert tally.report().lines("--allow-net") == (
        "network: `t.example` refused twice; allow it with --allow-net t.example",
        "network: TLS server name `b.example` at `a.example:443` refused once; "
        "allow it with --allow-net b.example:443",
        "network: unreadable TLS to `a.example:443` refused once",
        "network: `a.example:443` could not be reached once: connection refused",
        "network: relay fault: KeyError: 1",
    )


def test_the_report_is_bounded() -> None:
    tally = Tally()
    for number in range(MAX_ENTRIES + 7):
        tally.refused_name(Question(f"n{number}.example", A))
        tally.refused_server("a.example", 443, f"n{number}.example")
    report = tally.report()
    assert len(report.refused_names) == len(report.refused_servers) == MAX_ENTRIES
    assert report.uncounted == 14
    assert report.lines()[-1] == "network: 14 more refusals"


def test_the_resolver_files_lead_to_the_sandbox_only() -> None:
    assert resolv_conf().splitlines()[0] == "nameserver 127.0.0.1"
    assert "search" not in resolv_conf()
    assert "hosts:      files dns\n" in nsswitch_conf()
    assert "nis" not in nsswitch_conf()
    assert hosts("box").splitlines()[0] == "127.0.0.1 localhost box"
    assert hosts("localhost").splitlines()[0] == "127.0.0.1 localhost"
    assert set(resolver_files("box")) == {
        "/etc/resolv.conf",
        "/etc/nsswitch.conf",
        "/etc/hosts",
        "/etc/host.conf",
    }


def test_the_plan_is_plain_data_and_does_not_spoil_pyroute2() -> None:
    plan = namespace_plan(
        allow_list([("a.example", 443), ("192.0.2.1", 80), ("2001:db8::1", 80), ("127.0.0.1", 80)])
    )
    assert (len(plan.required), len(plan.optional)) == (4, 3)
    assert IPv4Address("192.0.2.1").packed in plan.required[3]
    script = (
        "import sys; from sandbox.linux.egress import allow_list, namespace_plan; "
        "narrow = namespace_plan(allow_list([('a.example', 443)])); assert 'pyroute2' not in sys.modules; "
        "assert 'pyroute2.ndb' not in sys.modules; import pyroute2; assert pyroute2.IPRoute; "
        "assert namespace_plan(allow_list([('a.example', 443)])) == narrow"
    )
    subprocess.run([sys.executable, "-c", script], cwd=CHECKOUT, check=True)


def test_the_inside_part_imports_next_to_nothing() -> None:
    script = (
        "import json, os, sys; before = set(sys.modules); import sandbox.linux.egress_namespace; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", script], cwd=CHECKOUT, check=True, capture_output=True)
    loaded = set(json.loads(done.stdout))
    own = {"sandbox", "sandbox.linux", "sandbox.linux.egress_namespace"}
    assert loaded - own <= {"__future__", "_socket", "_struct", "errno", "struct"}


def test_sockets_that_are_not_those_of_the_policy_are_refused() -> None:
    allowed = allow_list([("a.example", 8443)])
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, socket.create_server(("127.0.0.1", 0)) as foreign:
        socket.send_fds(theirs, [b"\0\1"], [foreign.fileno()])
        with pytest.raises(SetupError):
            receive_sockets(ours, allowed)
        theirs.close()
        with pytest.raises(SetupError):
            receive_sockets(ours, allowed)


class Spun:
    """A loop in a thread, for tests of what runs on it."""

    def __init__(self) -> None:
        self.faults: list[Exception] = []
        self.loop = Loop(self.faults.append)
        self.thread = threading.Thread(target=self.loop.run)
        self.thread.start()

    def __enter__(self) -> Spun:
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon(self.loop.stop)
        self.thread.join()
        self.loop.call_soon(self.loop.stop)

    def dial(self, addresses: Answer, *, timeout_seconds: float = 20) -> socket.socket | str:
        outcome: list[socket.socket | str] = []
        done = threading.Event()

        def finish(result: socket.socket | str) -> None:
            outcome.append(result)
            done.set()

        def begin() -> None:
            Dial(self.loop, timeout_seconds=timeout_seconds, done=finish).start(addresses, None)

        self.loop.call_soon(begin)
        assert done.wait(20)
        return outcome[0]


def test_dialling_goes_on_to_the_address_that_answers() -> None:
    with (
        Spun() as spun,
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_server(("127.0.0.1", 0)) as gone,
    ):
        closed = gone.getsockname()
        gone.close()
        reached = spun.dial((closed, ("::1", closed[1]), listener.getsockname()))
        assert isinstance(reached, socket.socket)
        assert reached.getpeername() == listener.getsockname()
        reached.close()
        assert spun.dial((closed,)) == "connection refused"
        assert spun.dial(OSError("Name or service not known")) == "Name or service not known"
        assert spun.dial(()) == "no address"
    assert spun.faults == []


def test_an_address_that_never_answers_does_not_hold_up_the_next() -> None:
    with Spun() as spun, socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        waiting = [
            socket.socket() for _ in range(4)
        ]  # They fill the backlog: whoever comes next hears nothing.
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(silent.getsockname())
        reached = spun.dial((silent.getsockname(), listener.getsockname()))
        assert isinstance(reached, socket.socket)
        assert reached.getpeername() == listener.getsockname()
        reached.close()
        assert spun.dial((silent.getsockname(),), timeout_seconds=0.05) == "timed out"
        for each in waiting:
            each.close()


def test_a_name_is_looked_up_once_for_all_who_ask_at_the_same_time() -> None:
    asked: list[str] = []
    answered: list[Answer] = []
    go, done = threading.Event(), threading.Event()

    def resolve(name: str, port: int) -> Sequence[tuple[str, int]]:
        asked.append(name)
        go.wait(20)
        if name == "broken.example":
            raise ValueError("not an OSError")
        return [("192.0.2.1", port)]

    def note(answer: Answer) -> None:
        answered.append(answer)
        if len(answered) == 12:
            done.set()

    with Spun() as spun:
        lookups = Lookups(spun.loop, resolve)

        def begin() -> None:
            for _ in range(10):
                lookups.find("a.example", 443, note)
            lookups.find("broken.example", 443, note)
            go.set()

        spun.loop.call_soon(begin)
        while len(answered) < 11:
            assert go.wait(20)
        spun.loop.call_soon(lambda: lookups.find("a.example", 443, note))
        assert done.wait(20)
        lookups.close()
    assert sorted(asked) == ["a.example", "broken.example"]
    failures = [each for each in answered if isinstance(each, OSError)]
    assert len(failures) == 1
    assert "not an OSError" in str(failures[0])


def test_a_failing_callback_ends_its_own_and_not_the_loop() -> None:
    class Bad:
        def __init__(self) -> None:
            self.aborted = threading.Event()

        def ready(self, descriptor: int, events: int) -> None:
            raise KeyError("bug")

        def abort(self) -> None:
            self.aborted.set()
            raise RuntimeError("another")

    order: list[int] = []
    last = threading.Event()
    ours, theirs = socket.socketpair()
    with Spun() as spun, ours, theirs:
        bad = Bad()

        def begin() -> None:
            spun.loop.watch(ours.fileno(), READ, bad)
            for delay, number in ((0.02, 2), (0.01, 1), (0.015, 9)):
                timer = spun.loop.after(delay, _append(order, number))
                if number == 9:
                    timer.cancel()
            for _ in range(1000):
                spun.loop.after(60, last.set).cancel()
            spun.loop.after(0.03, last.set)

        spun.loop.call_soon(begin)
        theirs.send(b"x")
        assert bad.aborted.wait(20)
        assert last.wait(20)
    assert order == [1, 2]
    assert [type(each) for each in spun.faults] == [KeyError, RuntimeError]


def test_an_event_is_not_taken_for_that_of_the_numbers_next_owner() -> None:
    """Two are ready in one round; who is told first closes the other, whose number is used again at once."""
    told: list[str] = []
    done = threading.Event()
    pairs = {name: socket.socketpair() for name in ("a", "b", "successor")}

    class Owner:
        def __init__(self, name: str) -> None:
            self.name = name

        def ready(self, descriptor: int, events: int) -> None:
            told.append(self.name)
            other = "b" if self.name == "a" else "a"
            number = pairs[other][0].fileno()
            spun.loop.forget(descriptor)
            spun.loop.forget(number)
            os.dup2(pairs["successor"][0].fileno(), number)  # Closes the other, and takes its number.
            spun.loop.watch(number, READ, successor)
            spun.loop.after(0.05, done.set)

        def abort(self) -> None:
            pass

    successor = Owner("successor")
    with Spun() as spun:

        def begin() -> None:
            for name in ("a", "b"):
                pairs[name][1].send(b"x")
                spun.loop.watch(pairs[name][0].fileno(), READ, Owner(name))

        spun.loop.call_soon(begin)
        assert done.wait(20)
    for each in (side for pair in pairs.values() for side in pair):
        each.close()
    assert len(told) == 1
    assert told[0] in ("a", "b")
    assert spun.faults == []


def _append(order: list[int], number: int) -> Callable[[], None]:
    return lambda: order.append(number)
