"""The system call filter, run by a small interpreter of classic BPF: every verdict without a kernel."""

from __future__ import annotations

import errno
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.linux import bpf, seccomp
from sandbox.linux import constants as c
from sandbox.linux.numbers import LAST_KNOWN, TABLES

MACHINES = tuple(seccomp.ARCHITECTURES)


def verdict(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """Run `program` as the kernel would on one system call."""
    padded = [argument & (2**64 - 1) for argument in (*arguments, *[0] * 6)][:6]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, architecture, 0, *padded)
    code = list(struct.iter_unpack("<HBBI", program))
    position = accumulator = 0
    while True:
        operation, if_true, if_false, value = code[position]
        position += 1
        if operation == bpf.RETURN:
            return value
        if operation == bpf.LOAD_WORD:
            accumulator = int.from_bytes(data[value : value + 4], "little")
            continue
        holds = {
            bpf.JUMP_EQUAL: accumulator == value,
            bpf.JUMP_GREATER: accumulator > value,
            bpf.JUMP_SET: bool(accumulator & value),
        }[operation]
        position += if_true if holds else if_false


def call(machine: str, name: str, *arguments: int) -> int:
    """The errno that a call gets, 0 if it is allowed."""
    result = verdict(
        seccomp.program(machine), seccomp.ARCHITECTURES[machine], TABLES[machine][name], *arguments
    )
    if result == bpf.ALLOW:
        return 0
    assert result & 0xFFFF0000 == bpf.ERRNO
    return result & 0xFFFF


@pytest.mark.parametrize("machine", MACHINES)
def test_listed_calls_are_denied(machine: str) -> None:
    for name in set(seccomp.DENIED) & set(TABLES[machine]):
        assert call(machine, name) == errno.EPERM, name
    for name in seccomp.ABSENT:
        assert call(machine, name) == errno.ENOSYS, name


@pytest.mark.parametrize("machine", MACHINES)
def test_every_listed_name_is_a_call_of_some_architecture(machine: str) -> None:
    known = set().union(*TABLES.values())
    assert set(seccomp.DENIED) | set(seccomp.ABSENT) | {name for name, _, _ in seccomp.CONDITIONAL} <= known


@pytest.mark.parametrize("machine", MACHINES)
def test_conditions(machine: str) -> None:
    assert call(machine, "clone", 0x3D0F00) == 0  # What pthread_create asks for.
    assert call(machine, "clone", c.CLONE_NEWUSER | 17) == errno.EPERM
    assert call(machine, "unshare", 0x400) == 0  # CLONE_FILES.
    assert call(machine, "unshare", c.CLONE_NEWNET) == errno.EPERM
    assert call(machine, "unshare", c.CLONE_NEWTIME) == errno.EPERM
    assert call(machine, "ioctl", 0, 0x5401) == 0  # TCGETS.
    for high in (0, 1 << 32, 0xFFFFFFFF << 32):
        assert call(machine, "ioctl", 0, high | c.TIOCSTI) == errno.EPERM
        assert call(machine, "ioctl", 0, high | c.TIOCLINUX) == errno.EPERM
        assert call(machine, "ioctl", 0, high | c.TIOCSETD) == errno.EPERM
        assert call(machine, "fcntl", 0, high | c.F_SETLEASE) == errno.EPERM
        assert call(machine, "fcntl", 0, high | c.F_SETDELEG) == errno.EPERM
    assert call(machine, "fcntl", 0, c.F_GETFL) == 0
    assert call(machine, "fcntl", 0, 37) == 0  # F_OFD_SETLK.
    assert call(machine, "fchmod", 3, 0o755) == 0
    assert call(machine, "fchmod", 3, 0o4755) == errno.EPERM
    assert call(machine, "openat", 0, 0, 0, 0o4755) == 0  # Without O_CREAT the mode is noise.
    assert call(machine, "openat", 0, 0, 0o101, 0o4755) == errno.EPERM
    assert call(machine, "openat", 0, 0, 0o101, 0o644) == 0
    assert call(machine, "personality", 0xFFFFFFFF) == 0
    assert call(machine, "personality", 0x0400000) == errno.EPERM  # READ_IMPLIES_EXEC.


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("family", range(48))
def test_socket_families(machine: str, family: int) -> None:
    allowed = family in (1, 2, 10, 16)
    assert call(machine, "socket", family, 1, 0) == (0 if allowed else errno.EAFNOSUPPORT)


@pytest.mark.parametrize("machine", MACHINES)
def test_pairs_are_of_unix_sockets_alone(machine: str) -> None:
    assert call(machine, "socketpair", 1, 1, 0) == 0
    for family in (2, 10, 16, 30, 1 << 32 | 30):
        assert call(machine, "socketpair", family, 1, 0) == errno.EAFNOSUPPORT


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("family", [2, 10])
def test_protocols_over_ip_are_those_in_use(machine: str, family: int) -> None:
    for protocol in (0, 6, 17, 262):
        assert call(machine, "socket", family, 1, protocol) == 0
    for protocol in (33, 115, 132, 136, 256, 1 << 32 | 132):  # DCCP, L2TP, SCTP, UDP-Lite, SMC.
        assert call(machine, "socket", family, 1, protocol) == errno.EPROTONOSUPPORT
    assert call(machine, "setsockopt", 3, 6, 31) == errno.ENOPROTOOPT
    assert call(machine, "setsockopt", 3, 6, 1) == call(machine, "setsockopt", 3, 1, 31) == 0


@pytest.mark.parametrize("machine", MACHINES)
def test_the_limit_of_core_dumps_is_read_and_seems_to_be_set(machine: str) -> None:
    program, architecture = seccomp.program(machine), seccomp.ARCHITECTURES[machine]
    numbers = TABLES[machine]
    for pointer in (0x7FFF0000_1000, 0x1_0000_0000, 0x1000):
        for core in (4, 1 << 32 | 4):
            assert verdict(program, architecture, numbers["prlimit64"], 0, core, pointer, 0) == bpf.ERRNO
            assert verdict(program, architecture, numbers["setrlimit"], core, pointer) == bpf.ERRNO
        assert verdict(program, architecture, numbers["prlimit64"], 0, 7, pointer, 0) == bpf.ALLOW
        assert verdict(program, architecture, numbers["setrlimit"], 7, pointer) == bpf.ALLOW
    assert verdict(program, architecture, numbers["prlimit64"], 0, 4, 0, 0x1000) == bpf.ALLOW


@pytest.mark.parametrize("machine", MACHINES)
def test_netlink_reads_routes_and_nothing_else(machine: str) -> None:
    assert call(machine, "socket", 16, 3, 0) == 0
    for protocol in range(1, 23):
        assert call(machine, "socket", 16, 3, protocol) == errno.EPROTONOSUPPORT


@given(st.sampled_from(MACHINES), st.integers(0, 2**32 - 1))
def test_foreign_architectures_are_killed(machine: str, architecture: int) -> None:
    own = seccomp.ARCHITECTURES[machine]
    result = verdict(seccomp.program(machine), architecture, 1)
    assert result == (bpf.ALLOW if architecture == own else bpf.KILL_PROCESS)


@given(st.sampled_from(MACHINES), st.integers(LAST_KNOWN + 1, 2**32 - 1))
def test_unknown_numbers_and_the_whole_x32_table_do_not_exist(machine: str, number: int) -> None:
    result = verdict(seccomp.program(machine), seccomp.ARCHITECTURES[machine], number)
    assert result == bpf.ERRNO | errno.ENOSYS


@given(st.sampled_from(MACHINES), st.integers(0, LAST_KNOWN), st.lists(st.integers(0, 2**64 - 1), max_size=6))
def test_every_program_ends_with_a_verdict(machine: str, number: int, arguments: list[int]) -> None:
    result = verdict(seccomp.program(machine), seccomp.ARCHITECTURES[machine], number, *arguments)
    assert result == bpf.ALLOW or result & 0xFFFF0000 == bpf.ERRNO
