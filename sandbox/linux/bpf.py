"""A tiny assembler for the classic BPF that seccomp runs: rules in, bytes out, pure.

Source: linux/filter.h (`struct sock_filter`), linux/bpf_common.h, linux/seccomp.h (`struct seccomp_data`).
"""

from __future__ import annotations

from typing import NamedTuple

LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
JUMP_EQUAL = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
JUMP_GREATER = 0x25  # BPF_JMP | BPF_JGT | BPF_K
JUMP_SET = 0x45  # BPF_JMP | BPF_JSET | BPF_K
RETURN = 0x06  # BPF_RET | BPF_K

NUMBER_OFFSET = 0
ARCHITECTURE_OFFSET = 4
ARGUMENTS_OFFSET = 16

ALLOW = 0x7FFF0000  # SECCOMP_RET_ALLOW
KILL_PROCESS = 0x80000000  # SECCOMP_RET_KILL_PROCESS
ERRNO = 0x00050000  # SECCOMP_RET_ERRNO


class HasBits(NamedTuple):
    """True where the low 32 bits of an argument have any bit of `mask`."""

    argument: int
    mask: int


class IsOneOf(NamedTuple):
    """True where the low 32 bits of an argument equal one of `values`."""

    argument: int
    values: tuple[int, ...]


class IsNoneOf(NamedTuple):
    """True where the low 32 bits of an argument equal none of `values`."""

    argument: int
    values: tuple[int, ...]


class IsGiven(NamedTuple):
    """True where an argument, a pointer, is not NULL; of this all 64 bits count."""

    argument: int


Test = HasBits | IsOneOf | IsNoneOf | IsGiven


class Rule(NamedTuple):
    """Answer `errno` to system call `number` where every test holds; no tests means always.

    0 answers as if it had been done.
    """

    number: int
    errno: int
    tests: tuple[Test, ...] = ()


def assemble(architecture: int, last_known: int, unknown_errno: int, rules: tuple[Rule, ...]) -> bytes:
    """A program that kills foreign architectures, refuses unknown numbers, applies `rules`, allows the rest.

    Numbers above `last_known` include the whole x32 table (bit 30), which therefore needs no rule of its own.
    Only the low half of a number is compared: the kernel truncates these arguments to 32 bits before it
    looks at them, so a comparison of all 64 would be walked around with a high bit.
    """
    program = [
        _instruction(LOAD_WORD, ARCHITECTURE_OFFSET),
        _instruction(JUMP_EQUAL, architecture, 1, 0),
        _instruction(RETURN, KILL_PROCESS),
        _instruction(LOAD_WORD, NUMBER_OFFSET),
        _instruction(JUMP_GREATER, last_known, 0, 1),
        _instruction(RETURN, ERRNO | unknown_errno),
    ]
    for rule in rules:
        program += _block(rule)
    program.append(_instruction(RETURN, ALLOW))
    return b"".join(program)


def _block(rule: Rule) -> list[bytes]:
    """One rule; the accumulator holds the system call's number before it and after it."""
    verdict = _instruction(RETURN, ERRNO | rule.errno)
    if not rule.tests:
        return [_instruction(JUMP_EQUAL, rule.number, 0, 1), verdict]
    # A test that fails jumps to the reload that stands behind the verdict, so build from the end.
    body = [verdict]
    for test in reversed(rule.tests):
        body = _test(test, len(body)) + body
    body.append(_instruction(LOAD_WORD, NUMBER_OFFSET))
    return [_instruction(JUMP_EQUAL, rule.number, 0, len(body)), *body]


def _test(test: Test, rest: int) -> list[bytes]:
    """Fall through into the `rest` instructions that follow if the test holds, else jump over them."""
    load = _instruction(LOAD_WORD, ARGUMENTS_OFFSET + 8 * test.argument)
    if isinstance(test, HasBits):
        return [load, _instruction(JUMP_SET, test.mask, 0, rest)]
    if isinstance(test, IsGiven):
        high = _instruction(LOAD_WORD, ARGUMENTS_OFFSET + 8 * test.argument + 4)
        any_bit = 0xFFFFFFFF
        return [load, _instruction(JUMP_SET, any_bit, 2, 0), high, _instruction(JUMP_SET, any_bit, 0, rest)]
    count = len(test.values)
    jumps = []
    for index, value in enumerate(test.values):
        remaining = count - 1 - index
        if isinstance(test, IsOneOf):
            jumps.append(_instruction(JUMP_EQUAL, value, remaining, 0 if remaining else rest))
        else:
            jumps.append(_instruction(JUMP_EQUAL, value, remaining + rest, 0))
    return [load, *jumps]


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """`struct sock_filter`: u16 code, u8 jt, u8 jf, u32 k, little endian on both architectures."""
    return code.to_bytes(2, "little") + bytes((if_true, if_false)) + value.to_bytes(4, "little")
