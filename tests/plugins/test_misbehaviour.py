"""Each way to misbehave is one friendly error with plugin, stage and cause, and nothing else happens."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pypm.digest import sha256_hex
from pypm.errors import PluginError
from pypm.plugins.inside.context import Stage
from pypm.plugins.offers import Offer
from tests.plugins.bench import Scene, build, needs_compiler, needs_sandbox

pytestmark = [needs_sandbox, needs_compiler]

IN_A_HOOK = [
    ("segv", "crashed", "crashed with SIGSEGV"),
    ("abort", "crashed", "crashed with SIGABRT"),
    ("trap", "crashed", "crashed with SIGILL"),
    ("divide", "crashed", "crashed with SIGFPE"),
    ("smash", "crashed", "crashed with SIG"),
    ("recurse", "crashed", "crashed with SIGSEGV"),
    ("kill", "killed", "was killed"),
    ("exit", "exited", "ended its host by itself, with exit status 0"),
    ("_exit", "exited", "ended its host by itself, with exit status 3"),
    ("exec", "exited", "ended its host by itself, with exit status 0"),
    ("close", "exited", "ended its host by itself"),
    ("log", "flood", "logs without end"),
    ("print", "flood", "prints without end"),
    ("garbage", "garbage", "sent what no host sends: `\ufffd[2J not JSON`"),
    ("nested", "garbage", "sent what no host sends"),
    ("line", "garbage", "a line without end"),
    ("numbers", "garbage", "sent what no host sends"),
    ("disguised", "flood", "logs without end"),
    ("fork", "left-process", "left a process behind"),
    ("daemon", "left-process", "left a process behind"),
    ("silent", "stopped", "returned -7 and did not say why"),
]


@pytest.mark.parametrize(("how", "reference", "cause"), IN_A_HOOK, ids=[row[0] for row in IN_A_HOOK])
def test_in_a_hook(scene: Scene, how: str, reference: str, cause: str) -> None:
    before = sorted(path.name for path in scene.root.iterdir())
    with pytest.raises(PluginError) as caught:
        scene.misbehave(how)
    assert caught.value.reference == f"plugin-{reference}"
    assert caught.value.message.startswith("the plugin `misbehaving` failed at `pre-run`: it ")
    assert cause in caught.value.message
    assert sorted(path.name for path in scene.root.iterdir()) == before
    assert not list(scene.scratch.iterdir())


@pytest.mark.parametrize("how", ["hang", "spin", "deaf", "progress"])
def test_a_hook_that_does_not_return(scene: Scene, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypm.plugins.link._GRACE_SECONDS", 0.2)
    with pytest.raises(PluginError) as caught:
        scene.misbehave(how, timeout_seconds=0.2)
    assert caught.value.reference == "plugin-timeout"
    assert "took longer than 0.2 seconds" in caught.value.message
    assert len(scene.heard.progressed) < 100, "progress is thinned out"


def test_a_hook_that_stops_when_it_is_asked_has_not_failed(scene: Scene) -> None:
    scene.misbehave("obedient", timeout_seconds=0.1)


def test_a_memory_bomb(scene: Scene) -> None:
    with pytest.raises(PluginError, match=r"crashed with SIGSEGV|was killed, perhaps because memory"):
        scene.misbehave("memory", memory_bytes=192 << 20)


@pytest.mark.parametrize("how", ["outside", "dots", "missing", "link", "linked-folder", "fifo"])
def test_an_offer_that_is_not_its_own_file(scene: Scene, how: str) -> None:
    with pytest.raises(PluginError) as caught:
        scene.misbehave(f"offer-{how}", Stage.PRE_FETCH)
    assert caught.value.reference == "plugin-bad-offer"
    assert "which is not a file in its own folder" in caught.value.message


def test_an_offer_at_another_stage(scene: Scene) -> None:
    with pytest.raises(PluginError, match="only `pre-fetch` takes offers"):
        scene.misbehave("offer-missing", Stage.POST_FETCH)


def test_a_message_of_a_hook_that_stops_cannot_steer_the_terminal(scene: Scene) -> None:
    with pytest.raises(PluginError) as caught:
        scene.misbehave("latin")
    assert (
        caught.value.message == "the plugin `misbehaving` stopped at `pre-run`: caf\ufffd \ufffd[31m\ufffd!"
    )
    assert caught.value.hint == "\ufffd"


def test_a_huge_message_is_cut(scene: Scene) -> None:
    scene.misbehave("huge")
    ((_, line),) = scene.heard.lines
    assert len(line) == 8192


def test_what_it_printed_before_a_crash_is_told(scene: Scene) -> None:
    with pytest.raises(PluginError) as caught:
        scene.misbehave("printing")
    assert caught.value.details == ("\ufffd]0;title\ufffdplain", "more")


def test_a_forged_answer_gains_nothing(scene: Scene) -> None:
    options = {"how": "forged"}
    with scene.session("misbehaving", options=options, timeout_seconds=0.2) as session:
        assert session.call(scene.context(Stage.PRE_FETCH)) == ()
        with pytest.raises(PluginError) as caught:
            session.call(scene.context(Stage.PRE_FETCH))
    assert caught.value.reference in ("plugin-garbage", "plugin-bad-offer", "plugin-timeout")


def test_a_forged_finding_steers_no_terminal(scene: Scene) -> None:
    with pytest.raises(PluginError) as caught:
        scene.misbehave("unicode")
    assert caught.value.message.endswith("`sample`: \ufffd\ufffd\ufffd")
    assert caught.value.hint == "\ufffd"


def test_an_offered_path_that_is_no_text(scene: Scene) -> None:
    with pytest.raises(PluginError) as caught:
        scene.misbehave("surrogate", Stage.PRE_FETCH)
    assert caught.value.reference == "plugin-bad-offer"
    assert "offered `\ufffd`" in caught.value.message


def test_an_offer_costs_no_more_than_the_artifact(scene: Scene, tmp_path: Path) -> None:
    """A sparse file of eight gigabytes costs its plugin nothing; of it no more is read than the lock says."""
    content = b"wheel" * 1000
    huge = scene.scratch / "huge"
    with huge.open("wb") as stream:
        stream.write(content)
        stream.truncate(8 << 30)
    told: dict[str, Any] = {"plugin": "x", "package": 0, "scratch": scene.scratch, "parts": ("huge",)}
    sha256 = sha256_hex(content)
    assert not Offer(sha256=sha256, size_bytes=len(content), **told).take(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    os.truncate(huge, len(content))
    for size_bytes in (0, len(content)):
        assert Offer(sha256=sha256, size_bytes=size_bytes, **told).take(tmp_path / f"copy-{size_bytes}")
    assert not Offer(sha256=sha256, size_bytes=len(content) - 1, **told).take(tmp_path / "short")


def test_no_descriptor_of_ours_is_lost(scene: Scene) -> None:
    before = list(Path("/proc/self/fd").iterdir())
    for how in ("segv", "garbage", "silent"):
        with pytest.raises(PluginError):
            scene.misbehave(how)
    assert len(list(Path("/proc/self/fd").iterdir())) == len(before)


HEAD = '#include "pypm_plugin.h"\n#include <stdlib.h>\n'
HOOK = "int pypm_hook(const pypm_context *c) { (void)c; return 0; }\n"


def descriptor(
    name: str = '"x"', head: str = "PYPM_DESCRIPTOR_HEAD", permissions: str = "NULL", stages: str = "1u"
) -> str:
    values = f'{head}, {name}, "1", NULL, {permissions}, {stages}, 0'
    return f"const pypm_descriptor pypm_plugin = {{{values}}};\n"


SIZES = "(unsigned)sizeof(pypm_descriptor), (unsigned)sizeof(pypm_context)"
LIST = "static const char *const wanted[] = {%s, NULL};\n"
AT_LOAD = {
    "no-descriptor": (HOOK, "missing-symbol", "`?.*pypm_plugin"),
    "no-hook": (descriptor(), "missing-symbol", "pypm_hook"),
    "zero": (HOOK + descriptor(head=f"0, 1, {SIZES}"), "not-a-plugin", "its magic is wrong"),
    "newer": (
        HOOK + descriptor(head=f"PYPM_MAGIC, 2, {SIZES}"),
        "newer-abi",
        "version 2 of the plugin interface",
    ),
    "wider": (
        HOOK + descriptor(head="PYPM_MAGIC, 1, (unsigned)sizeof(pypm_descriptor), 9999"),
        "newer-abi",
        "a context of 9999 bytes",
    ),
    "short": (
        HOOK + descriptor(head="PYPM_MAGIC, 1, 8, 8"),
        "malformed-descriptor",
        "smaller than version 1's",
    ),
    "null-name": (HOOK + descriptor(name="NULL"), "malformed-descriptor", "`name` is NULL"),
    "empty-name": (HOOK + descriptor(name='""'), "malformed-descriptor", "not 1 to 64 bytes"),
    "long-name": (HOOK + descriptor(name=f'"{"x" * 300}"'), "malformed-descriptor", "not 1 to 64 bytes"),
    "latin-name": (HOOK + descriptor(name='"\\xe9"'), "malformed-descriptor", "not UTF-8"),
    "other-name": (HOOK + descriptor(name='"y\\x1b[2J"'), "wrong-name", "calls itself `y\ufffd.2J`"),
    "wild-name": (
        HOOK + descriptor(name="(const char *)8"),
        "crashed",
        "crashed with SIGSEGV .* while it was loaded",
    ),
    "stages": (HOOK + descriptor(stages="0x10000u"), "unknown-stage", "0x10000"),
    "greedy": (
        HOOK + LIST % '"net:host.test", "env:HOME", "read:project"' + descriptor(permissions="wanted"),
        "not-granted",
        "wants more than it is granted: `net:host.test`, `env:HOME`, `read:project`",
    ),
    "unknown": (
        HOOK + LIST % '"root:everything"' + descriptor(permissions="wanted"),
        "unknown-permission",
        "`root:everything`, which is not known",
    ),
    "many": (
        HOOK + LIST % ", ".join(['"net"'] * 70) + descriptor(permissions="wanted"),
        "malformed-descriptor",
        "more than 64 permissions",
    ),
    "undefined": (
        HOOK + descriptor() + "int nowhere(void); int here(void); int here(void) { return nowhere(); }\n",
        "unloadable",
        "undefined symbol: nowhere",
    ),
    "constructor": (
        HOOK + descriptor() + "__attribute__((constructor)) static void crash(void) { abort(); }\n",
        "crashed",
        "crashed with SIGABRT .* while it was loaded",
    ),
    "exits": (
        HOOK + descriptor() + "__attribute__((constructor)) static void leave(void) { exit(7); }\n",
        "exited",
        "exit status 7 while it was loaded",
    ),
}


@pytest.mark.parametrize("how", AT_LOAD)
def test_when_it_is_loaded(workshop: Scene, tmp_path: Path, how: str) -> None:
    code, reference, cause = AT_LOAD[how]
    source = tmp_path / "x.c"
    source.write_text(HEAD + code)
    build(source, workshop.folder / "pypm_x.so")
    with pytest.raises(PluginError, match=cause) as caught:
        workshop.session("x")
    assert caught.value.reference == f"plugin-{reference}"
    assert caught.value.message.startswith("the plugin `x` ")


def test_a_hang_when_it_is_loaded(workshop: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pypm.plugins.descriptor.LOAD_SECONDS", 0.2)
    source = tmp_path / "x.c"
    source.write_text(
        HEAD
        + HOOK
        + descriptor()
        + "__attribute__((constructor)) static void f(void) { for (;;) continue; }\n"
    )
    build(source, workshop.folder / "pypm_x.so")
    with pytest.raises(PluginError, match="took longer than"):
        workshop.session("x")


FOREIGN = {
    "text": (b"#!/bin/sh\nrm -rf /\n", "does not begin as an ELF file does"),
    "empty": (b"", "does not begin as an ELF file does"),
    "mac": (b"\xcf\xfa\xed\xfe" + bytes(100), "for macOS"),
    "windows": (b"MZ" + bytes(100), "for Windows"),
    "sparc": (
        b"\x7fELF\x02\x02\x01" + bytes(9) + b"\x00\x03\x00\x2b" + bytes(100),
        "is built for machine 43",
    ),
    "program": (b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x3e\x00" + bytes(100), "not a shared library"),
}


@pytest.mark.parametrize("how", FOREIGN)
def test_a_file_that_is_no_library_of_this_machine(workshop: Scene, how: str) -> None:
    content, cause = FOREIGN[how]
    (workshop.folder / "pypm_x.so").write_bytes(content)
    with pytest.raises(PluginError, match=cause) as caught:
        workshop.session("x")
    assert caught.value.reference == "plugin-wrong-image"


def test_a_library_that_is_cut_short(workshop: Scene, library: Path) -> None:
    content = (library / "pypm_polite.so").read_bytes()
    (workshop.folder / "pypm_polite.so").write_bytes(content[:3000])
    with pytest.raises(PluginError) as caught:
        workshop.session("polite")
    assert caught.value.reference in ("plugin-unloadable", "plugin-crashed")
