"""The seatbelt profile of macOS as text, and what the backend says of itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Guarantee, Mount, Network, Policy, PolicyError, Terminal, UnsupportedError
from sandbox.command import Command
from sandbox.macos.backend import Seatbelt, environment, resolve, working_directory
from sandbox.macos.seatbelt import profile, quote

PRIVATE = "/private/var/folders/sandbox-1"


def lines(*mounts: Mount, **fields: object) -> list[str]:
    return profile(Policy(mounts=mounts, **fields), private=PRIVATE).splitlines()  # type: ignore[arg-type]


def decides(text: list[str], operation: str, path: str) -> str:
    """What the last rule that matches says, as the kernel reads a profile."""
    verdict = "deny"
    for line in text:
        head = re.match(r"\((allow|deny) ([^(]*)", line)
        if head is None:
            continue
        names = head[2].split()
        if not any(
            name == operation or (name.endswith("*") and operation.startswith(name[:-1])) for name in names
        ):
            continue
        for kind, quoted in re.findall(r'\((literal|subpath) "((?:[^"\\]|\\.)*)"\)', line):
            place = re.sub(r"\\(.)", r"\1", quoted)
            if path == place or (kind == "subpath" and path.startswith(place.rstrip("/") + "/")):
                verdict = head[1]
    return verdict


def test_everything_is_denied_first() -> None:
    assert lines()[:2] == ["(version 1)", "(deny default)"]
    assert not any("(allow default)" in line for line in lines())


def test_reading_and_writing_follow_the_policy() -> None:
    text = lines(Mount.bind("/work", writable=True), Mount.bind("/data"))
    assert decides(text, "file-read-data", "/work/a") == "allow"
    assert decides(text, "file-write-data", "/work/a") == "allow"
    assert decides(text, "file-read-data", "/data/a") == "allow"
    assert decides(text, "file-write-data", "/data/a") == "deny"
    assert decides(text, "file-read-data", "/Users/me/.ssh/id") == "deny"
    assert decides(text, "file-write-data", "/usr/lib/libc.dylib") == "deny"
    assert decides(text, "file-write-create", f"{PRIVATE}/home/x") == "allow"
    assert decides(text, "file-read-metadata", "/Users/me/.ssh/id") == "deny"


def test_what_is_protected_comes_after_the_broader_allowance() -> None:
    text = lines(Mount.bind("/work", writable=True), Mount.protect("/work/deep/.git"))
    assert decides(text, "file-write-data", "/work/deep/.git/config") == "deny"
    assert decides(text, "file-write-mode", "/work/deep/.git") == "deny"
    assert decides(text, "file-write-unlink", "/work/deep") == "deny", (
        "nor is it renamed away with its folder"
    )
    assert decides(text, "file-write-data", "/work/deep/other") == "allow"
    assert decides(text, "file-read-data", "/work/deep/.git/config") == "allow"


def test_a_read_only_bind_inside_a_writable_one_stays_read_only_and_the_other_way_round() -> None:
    text = lines(Mount.bind("/work", writable=True), Mount.bind("/work/library"))
    assert decides(text, "file-write-data", "/work/library/a") == "deny"
    text = lines(Mount.bind("/work"), Mount.bind("/work/out", writable=True))
    assert decides(text, "file-write-data", "/work/out/a") == "allow"


def test_the_network_is_all_or_nothing() -> None:
    assert not any("network" in line for line in lines())
    assert any(line.startswith("(allow network*") for line in lines(network=Network.HOST))
    with pytest.raises(UnsupportedError, match="no list of hosts"):
        lines(network=Network.hosts(("example.com", 443)))


@pytest.mark.parametrize(
    "mount", [Mount.overlay("/a", ("/b",)), Mount.tmpfs("/a"), Mount.file("/a", b""), Mount.bind("/a", "/b")]
)
def test_what_cannot_be_mounted_is_refused(mount: Mount) -> None:
    with pytest.raises(UnsupportedError, match=r"mounts\[0\]"):
        lines(mount)


def test_the_backslash_is_quoted_before_the_quote() -> None:
    assert quote('a\\"b') == '"a\\\\\\"b"'
    with pytest.raises(PolicyError, match="control character"):
        quote("/a\n(allow default)")


@given(st.text(st.characters(min_codepoint=32, blacklist_characters="\x7f", blacklist_categories=("Cs",))))
def test_a_quoted_string_reads_back_as_itself_and_ends_where_it_should(text: str) -> None:
    quoted = quote(text)
    match = re.fullmatch(r'"((?:[^"\\]|\\.)*)"', quoted, re.DOTALL)
    assert match is not None
    assert re.sub(r"\\(.)", r"\1", match[1], flags=re.DOTALL) == text


def test_links_are_resolved_before_the_profile_is_made(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    mounts = (Mount.bind(f"{tmp_path}/link", writable=True), Mount.protect(f"{tmp_path}/link/missing"))
    resolved = resolve(Policy(mounts=mounts))
    assert [mount.target for mount in resolved.mounts] == [f"{tmp_path}/real", f"{tmp_path}/real/missing"]


def test_home_and_temporary_folder_are_private() -> None:
    policy = Policy(environment=(("TMPDIR", "/tmp"),), home="/home/user")
    assert environment(policy, PRIVATE) == {"TMPDIR": f"{PRIVATE}/temporary", "HOME": f"{PRIVATE}/home"}
    assert working_directory(policy, "/home/user/x", PRIVATE) == f"{PRIVATE}/home/x"
    assert working_directory(policy, "/home/username", PRIVATE) == "/home/username"


def test_it_claims_no_more_than_a_profile_gives() -> None:
    missing = Seatbelt().coverage().missing(frozenset(Guarantee))
    assert missing == (Guarantee.PROCESSES, Guarantee.SYSCALLS, Guarantee.TERMINAL)
    with pytest.raises(UnsupportedError, match="pseudo-terminal"):
        Seatbelt().spawn(Policy(terminal=Terminal.PTY), Command(argv=("true",)))
