"""The structures of the Windows backend: sizes and offsets of 64-bit Windows, and the quoting of words."""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Guarantee, Limits, Mount, Network, Policy, Terminal, UnsupportedError
from sandbox.windows import job
from sandbox.windows.backend import JobObject, environment


@pytest.mark.parametrize(
    ("structure", "size", "offsets"),
    [
        (
            job.BasicLimits,
            64,
            {
                "flags": 16,
                "minimum_working_set_bytes": 24,
                "active_processes": 40,
                "affinity": 48,
                "scheduling_class": 60,
            },
        ),
        (job.Counters, 48, {"write_bytes": 32}),
        (
            job.ExtendedLimits,
            144,
            {
                "counters": 64,
                "process_memory_bytes": 112,
                "job_memory_bytes": 120,
                "peak_job_memory_bytes": 136,
            },
        ),
        (
            job.StartupInformation,
            112,
            {
                "desktop": 16,
                "flags": 60,
                "show": 64,
                "reserved_bytes": 72,
                "standard_input": 80,
                "attributes": 104,
            },
        ),
        (job.ProcessInformation, 24, {"thread": 8, "process_id": 16, "thread_id": 20}),
    ],
)
def test_layouts(structure: type[ctypes.Structure], size: int, offsets: dict[str, int]) -> None:
    assert ctypes.sizeof(structure) == size
    assert {name: getattr(structure, name).offset for name in offsets} == offsets


def test_a_job_ends_with_its_last_handle_and_nothing_breaks_away() -> None:
    plain = job.extended_limits(Limits())
    assert plain.basic.flags == 0x2400
    assert not plain.basic.flags & (0x800 | 0x1000), "JOB_OBJECT_LIMIT_BREAKAWAY_OK and SILENT_BREAKAWAY_OK"
    assert job.UI_RESTRICTIONS == 0xFF


def test_limits_reach_their_fields() -> None:
    limits = job.extended_limits(Limits(memory_bytes=1 << 33, processes=7, cpu_seconds=3))
    assert limits.basic.flags == 0x2400 | 0x100 | 0x8 | 0x2
    assert (limits.process_memory_bytes, limits.basic.active_processes) == (1 << 33, 7)
    assert limits.basic.per_process_user_time == 30_000_000


def command_line_to_argv(line: str) -> list[str]:
    """CommandLineToArgvW, written down from its documentation, for the words behind the program."""
    words: list[str] = []
    position = 0
    while position < len(line):
        while position < len(line) and line[position] in " \t":
            position += 1
        if position == len(line):
            break
        word, quoted = "", False
        while position < len(line) and (quoted or line[position] not in " \t"):
            slashes = 0
            while position < len(line) and line[position] == "\\":
                slashes, position = slashes + 1, position + 1
            if position < len(line) and line[position] == '"':
                word += "\\" * (slashes // 2)
                if slashes % 2:
                    word += '"'
                elif quoted and line[position + 1 : position + 2] == '"':
                    word, position = word + '"', position + 1
                else:
                    quoted = not quoted
                position += 1
            else:
                word += "\\" * slashes
                if position < len(line) and (quoted or line[position] not in " \t"):
                    word, position = word + line[position], position + 1
        words.append(word)
    return words


@given(st.lists(st.text(st.sampled_from("ab \t\"\\'%^&")), max_size=5))
def test_words_come_apart_as_they_went_in(words: list[str]) -> None:
    line = job.command_line(("program", *words))
    assert command_line_to_argv(line) == ["program", *words]


def test_what_cannot_be_a_command_line_is_refused() -> None:
    with pytest.raises(ValueError, match="quote"):
        job.command_line(('a"b', "c"))
    with pytest.raises(ValueError, match="characters"):
        job.command_line(("a", "x" * 40_000))


def test_the_environment_block_is_sorted_and_ends_twice() -> None:
    assert job.environment_block({"b": "2", "A": "1"}) == "A=1\0b=2\0\0"
    assert job.environment_block({}) == "\0"
    with pytest.raises(ValueError, match="variable"):
        job.environment_block({"A=B": "1"})


def test_the_variables_that_windows_needs_and_private_folders() -> None:
    host = {"SYSTEMROOT": r"C:\Windows", "SECRET": "x", "TEMP": r"C:\Users\me\Temp"}
    policy = Policy(environment=(("TOKEN", "1"),), home="/home/user")
    made = environment(policy, r"C:\s", host)
    assert made["SYSTEMROOT"] == r"C:\Windows" and made["TOKEN"] == "1"
    assert "SECRET" not in made and made["TEMP"] == r"C:\s\temporary" and made["USERPROFILE"] == r"C:\s\home"


def test_what_a_job_cannot_keep_is_refused_all_at_once() -> None:
    policy = Policy(mounts=(Mount.tmpfs("/a"),), terminal=Terminal.PTY, limits=Limits(open_files=3))
    with pytest.raises(UnsupportedError) as caught:
        job.check(policy)
    assert [detail.split(":")[0] for detail in caught.value.details] == [
        "mounts[0].target",
        "network",
        "terminal",
        "limits",
    ]
    job.check(Policy(mounts=(Mount.bind("/a"),), network=Network.HOST))


def test_it_never_claims_to_be_hermetic() -> None:
    assert JobObject().coverage().guarantees == {Guarantee.ENVIRONMENT}
