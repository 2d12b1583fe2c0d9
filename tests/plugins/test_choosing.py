"""Which plugins there are, what they are granted, and the policy that comes of it. Nothing is started."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pypm.digest import sha256_hex
from pypm.errors import ConfigurationError, IntegrityError, IsolationError, PluginError
from pypm.isolation import Boundary, HostPort
from pypm.plugins.failures import printable
from pypm.plugins.found import (
    Found,
    NativeFound,
    PythonFound,
    SearchPath,
    SourceFound,
    find,
    find_all,
    search_path,
)
from pypm.plugins.library import NATIVE_PATH, Library
from pypm.plugins.offers import parts_below
from pypm.plugins.permissions import Allowed, Grants, allow, parse_wanted
from pypm.plugins.pins import check_pin, pin, repinned
from pypm.plugins.policy import Surroundings, host_policy
from pypm.plugins.settings import parse_plugins
from sandbox import Network
from tests.support.builds import this_interpreter


def boundary(root: Path) -> Boundary:
    return Boundary(root=root, home=root.parent, cache=root.parent / "cache")


# Settings ------------------------------------------------------------------------------------------------


def test_a_list_of_names_grants_nothing(tmp_path: Path) -> None:
    first, second = parse_plugins(["auditwheel", "s3_cache"], boundary(tmp_path))
    assert (first.name, second.name) == ("auditwheel", "s3-cache")
    assert first.grants == Grants()
    assert first.options == ()
    assert parse_plugins(None, boundary(tmp_path)) == ()


def test_a_table_holds_grants_and_options(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    table = {
        "timeout": "5m",
        "memory": "2G",
        "allow-net": ["Host.test:8443"],
        "allow-read": ["packages", "conf"],
        "allow-env": ["TOKEN", "AWS_*"],
        "strict": True,
        "level": 3,
        "ignore": ["b", "a"],
        "bucket": {"name": "x", "deep": {"er": 1.5}},
    }
    (plugin,) = parse_plugins({"x": table}, boundary(tmp_path))
    assert plugin.timeout_seconds == 300
    assert plugin.memory_bytes == 2 << 30
    assert plugin.grants == Grants(
        hosts=(HostPort(host="host.test", port=8443),),
        paths=(tmp_path / "conf",),
        packages=True,
        variables=("TOKEN", "AWS_*"),
    )
    assert plugin.options == (
        ("bucket.deep.er", "1.5"),
        ("bucket.name", "x"),
        ("ignore", "b"),
        ("ignore", "a"),
        ("level", "3"),
        ("strict", "true"),
    )


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    value = {
        "Bad Name": {},
        "x": {"allow-net": ["https://h"], "allow-read": "all", "timeout": -1, "matrix": [[1]]},
        "y": 7,
        "a-b": {},
        "a_b": {},
    }
    with pytest.raises(ConfigurationError) as caught:
        parse_plugins(value, boundary(tmp_path))
    assert len(caught.value.details) == 7
    assert any(
        detail.startswith("`tool.pypm.plugins.x.allow-net` has no valid host name in `https://h`")
        for detail in caught.value.details
    )
    with pytest.raises(ConfigurationError):
        parse_plugins("auditwheel", boundary(tmp_path))
    with pytest.raises(ConfigurationError):
        parse_plugins([7], boundary(tmp_path))


# Permissions ---------------------------------------------------------------------------------------------


def want(*texts: str) -> tuple[Any, ...]:
    return tuple(parse_wanted("x", text) for text in texts)


@pytest.mark.parametrize(
    "text", ["", "write:/x", "read:", "read:etc", "env:", "env:A B", "net:http://x", "net:1.2.3.400"]
)
def test_permissions_that_are_none(text: str) -> None:
    with pytest.raises(PluginError) as caught:
        parse_wanted("x", text)
    assert caught.value.reference == "plugin-unknown-permission"


def test_what_is_missing_is_told_with_the_lines_that_grant_it() -> None:
    with pytest.raises(PluginError) as caught:
        allow("x", want("net", "read:packages", "env:TOKEN", "env:MAYBE?"), Grants(packages=True), {})
    assert caught.value.message == "the plugin `x` wants more than it is granted: `net`, `env:TOKEN`"
    assert caught.value.hint is not None
    assert 'allow-net = ["HOST"]; allow-env = ["TOKEN"]' in caught.value.hint


@pytest.mark.parametrize(
    ("wanted", "granted", "hosts"),
    [
        ("net", ("a.test", "b.test:99"), {("a.test", 80), ("a.test", 443), ("b.test", 99)}),
        ("net:a.test", ("a.test", "b.test"), {("a.test", 80), ("a.test", 443)}),
        ("net:a.test:443", ("a.test",), {("a.test", 443)}),
        ("net:b.test?", ("a.test",), set()),
        ("env:TOKEN?", ("a.test",), set()),
    ],
)
def test_the_network_is_what_both_say(
    wanted: str, granted: tuple[str, ...], hosts: set[tuple[str, int]]
) -> None:
    pairs = [text.partition(":") for text in granted]
    places = tuple(HostPort(host=host, port=int(port) if port else None) for host, _, port in pairs)
    assert set(allow("x", want(wanted), Grants(hosts=places), {}).hosts) == hosts


def test_another_port_is_another_place() -> None:
    with pytest.raises(PluginError):
        allow("x", want("net:a.test:22"), Grants(hosts=(HostPort(host="a.test"),)), {})


def test_variables_are_those_that_both_name() -> None:
    caller = {"AWS_KEY": "1", "AWS_SECRET": "2", "HOME": "/h", "OTHER": "3"}
    grants = Grants(variables=("AWS_KEY", "O*"))
    assert allow("x", want("env:AWS_*"), grants, caller).variables == (("AWS_KEY", "1"),)
    assert allow("x", want("env:OTHER", "env:OFF?"), grants, caller).variables == (("OTHER", "3"),)
    with pytest.raises(PluginError):
        allow("x", want("env:HOME"), grants, caller)


def test_reading_follows_links_before_it_compares(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "secret").write_text("s")
    (tmp_path / "open" / "link").symlink_to(tmp_path / "secret")
    grants = Grants(paths=(tmp_path / "open",))
    allow("x", want(f"read:{tmp_path}/open/file"), grants, {})
    with pytest.raises(PluginError):
        allow("x", want(f"read:{tmp_path}/open/link"), grants, {})
    with pytest.raises(PluginError):
        allow("x", want(f"read:{tmp_path}/open/../secret"), grants, {})


PERMISSIONS = st.sampled_from(
    [
        "net?",
        "net:a.test?",
        "net:b.test:99?",
        "env:A?",
        "env:B*?",
        "read:project?",
        "read:packages?",
        "read:/etc?",
    ]
)


@given(st.lists(PERMISSIONS), st.sets(st.sampled_from(["h", "p", "v", "P", "k"])))
def test_nobody_gets_more_than_is_granted(texts: list[str], given_kinds: set[str]) -> None:
    grants = Grants(
        hosts=(HostPort(host="a.test"),) if "h" in given_kinds else (),
        paths=(Path("/etc"),) if "p" in given_kinds else (),
        variables=("A", "B1") if "v" in given_kinds else (),
        project="P" in given_kinds,
        packages="k" in given_kinds,
    )
    got = allow("x", want(*texts), grants, {"A": "1", "B1": "2", "B2": "3", "C": "4"})
    assert set(got.hosts) <= ({("a.test", 80), ("a.test", 443)} if grants.hosts else set())
    assert set(got.paths) <= set(grants.paths)
    assert {name for name, _ in got.variables} <= set(grants.variables)
    assert got.project <= grants.project
    assert got.packages <= grants.packages
    assert allow("x", (), grants, {"A": "1"}) == Allowed()


# The policy ----------------------------------------------------------------------------------------------


def test_the_policy_shows_only_what_was_allowed(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("root", "store", "scratch", "extra")}
    for folder in folders.values():
        folder.mkdir()
    surroundings = Surroundings(
        interpreter=this_interpreter(),
        home=tmp_path,
        root=folders["root"],
        packages=(folders["store"], tmp_path / "missing"),
        scratch=folders["scratch"],
    )
    found = NativeFound(name="x", path=Path("/x"), content=b"\x7fELF", sha256=sha256_hex(b"\x7fELF"))

    def shown(allowed: Allowed) -> tuple[set[str], Any]:
        policy = host_policy(
            Library(found, isolation=None, scratch=folders["scratch"]),
            surroundings,
            allowed=allowed,
            scratch=folders["scratch"],
            memory_bytes=1 << 28,
        )
        mine = {m.target for m in policy.mounts if Path(m.target).is_relative_to(tmp_path)}
        assert {m.target for m in policy.mounts if m.writable} == {str(folders["scratch"])}
        assert [m.content for m in policy.mounts if m.target == NATIVE_PATH] == [found.content]
        assert policy.limits.memory_bytes == 1 << 28
        return {Path(target).name for target in mine}, policy

    names, policy = shown(Allowed())
    assert names == {"scratch"}
    (folders["root"] / "data").symlink_to(folders["extra"])
    with pytest.raises(IsolationError, match="outside of it"):
        shown(Allowed(paths=(folders["root"] / "data",)))
    assert policy.network == Network.NONE
    everything = Allowed(
        hosts=(("a.test", 443),),
        paths=(folders["extra"], tmp_path / "gone"),
        project=True,
        packages=True,
        variables=(("TOKEN", "t"), ("PATH", "/evil")),
    )
    names, policy = shown(everything)
    assert names == {"scratch", "root", "store", "extra"}
    assert policy.network == Network.hosts(("a.test", 443))
    assert dict(policy.environment)["TOKEN"] == "t"
    assert dict(policy.environment)["PATH"] != "/evil"


# Discovery -----------------------------------------------------------------------------------------------


def test_the_first_folder_wins_and_spelling_does_not_count(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pypm_s3_cache.so").write_bytes(name.encode())
    (tmp_path / "b" / "pypm_other.dylib").write_bytes(b"o")
    (tmp_path / "b" / "pypm_Not!.so").write_bytes(b"o")
    (tmp_path / "b" / "pypm_folder.so").mkdir()
    where = SearchPath(folders=(tmp_path / "missing", tmp_path / "a", tmp_path / "b"))
    found = find("s3_cache", where)
    assert isinstance(found, NativeFound)
    assert (found.name, found.content, found.sha256) == ("s3-cache", b"a", sha256_hex(b"a"))
    assert find("other", where).path == tmp_path / "b" / "pypm_other.dylib"
    with pytest.raises(PluginError, match="not a regular file"):
        find("folder", where)
    (tmp_path / "b" / "pypm_folder.so").rmdir()
    assert [item.name for item in find_all(where)] == ["other", "s3-cache"]
    with pytest.raises(PluginError) as caught:
        find("nothing", where)
    assert caught.value.reference == "plugin-missing"
    assert str(tmp_path / "a") in caught.value.details
    with pytest.raises(ConfigurationError):
        find("../../etc/x", where)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pypm_x.so")
    with pytest.raises(PluginError, match="not a regular file"):
        find("x", SearchPath(folders=(tmp_path,)))


def test_the_usual_places_in_their_order(tmp_path: Path) -> None:
    variables = {"HOME": "/home/u", "XDG_DATA_HOME": "/data"}
    where = search_path(tmp_path, variables)
    assert [(str(folder), origin) for folder, origin in where.named_folders()] == [
        (f"{tmp_path}/plugins", "project"),
        ("/data/pypm/plugins", "user"),
        ("/usr/local/lib/pypm/plugins", "system"),
        ("/usr/lib/pypm/plugins", "system"),
    ]
    assert isinstance(find("auditwheel", where), SourceFound)


def test_another_plugin_than_the_locked_one_is_refused(tmp_path: Path) -> None:
    def found(content: bytes) -> Found:
        (tmp_path / "pypm_x.so").write_bytes(content)
        return find("x", SearchPath(folders=(tmp_path,)))

    one, other = pin(found(b"1"), "linux-x86_64"), pin(found(b"2"), "linux-aarch64")
    assert (one.filename, one.origin, one.platform) == ("pypm_x.so", "project", "linux-x86_64")
    locked = repinned("x", (one,), other)
    assert locked.builds == (other, one), "several platforms stand side by side"
    assert repinned("x", locked.builds, replace(one, sha256=other.sha256)).builds[0] == other
    check_pin(found(b"1"), locked, "linux-x86_64")
    check_pin(found(b"2"), locked, "linux-aarch64")
    for content, platform, reference in (
        (b"2", "linux-x86_64", "plugin-changed"),
        (b"1", "linux-aarch64", "plugin-changed"),
        (b"1", "linux-x86_64-musl", "plugin-not-pinned"),
    ):
        with pytest.raises(IntegrityError) as caught:
            check_pin(found(content), locked, platform)
        assert caught.value.reference == reference
        assert "`pypm lock`" in (caught.value.hint or "")


def test_the_sources_of_a_plugin_are_pinned_for_every_platform(tmp_path: Path) -> None:
    def sources(folder: str, text: str) -> Found:
        (tmp_path / folder / "my_tool").mkdir(parents=True)
        (tmp_path / folder / "Makefile").write_text("all:\n")
        (tmp_path / folder / "my_tool" / "my_tool.c").write_text(text)
        return find("my-tool", SearchPath(sources=tmp_path / folder))

    one, same, other = sources("a", "1"), sources("b", "1"), sources("c", "2")
    assert one.sha256 == same.sha256 != other.sha256
    assert [item.name for item in find_all(SearchPath(sources=tmp_path / "a"))] == ["my-tool"]
    locked = repinned("my-tool", (), pin(one, "linux-x86_64"))
    check_pin(same, locked, "macosx-14.0-arm64")
    with pytest.raises(IntegrityError):
        check_pin(other, locked, "linux-x86_64")


def test_an_entry_point_is_found_without_an_import(tmp_path: Path) -> None:
    def package(site: Path, digest: str) -> PythonFound:
        info = site / "p-1.dist-info"
        info.mkdir(parents=True)
        points = (
            "[gui_scripts]\np = p:main\n[pypm.plugins]\nour_tool = p.plugin:PLUGIN [extra]\nno name = p\n"
        )
        (info / "entry_points.txt").write_text(points)
        (info / "RECORD").write_text(f"p/plugin.py,sha256={digest},3\n../../bin/p,sha256={'B' * 43},1\n")
        found = find("our-tool", SearchPath(folders=(), site_packages=(site,)))
        assert isinstance(found, PythonFound)
        assert found.reference == "p.plugin:PLUGIN"
        assert found.site_packages == site
        return found

    one, same, other = (package(tmp_path / n, d * 43) for n, d in (("1", "A"), ("2", "A"), ("3", "E")))
    assert one.sha256 == same.sha256 != other.sha256
    (tmp_path / "1" / "p-1.dist-info" / "RECORD").unlink()
    with pytest.raises(PluginError, match="nothing vouches"):
        find("our-tool", SearchPath(folders=(), site_packages=(tmp_path / "1",)))


# Texts ---------------------------------------------------------------------------------------------------


@given(st.text(max_size=300))
def test_printable_text_steers_no_terminal(text: str) -> None:
    shown = printable(text, most_characters=200)
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert "\x9b" not in shown
    assert "\r" not in shown
    assert len(shown) <= 204
    assert printable("plain text") == "plain text"


@given(st.text(alphabet="ab./\0", max_size=12))
def test_an_offered_path_stays_below_its_folder(text: str) -> None:
    parts = parts_below(Path("/scratch/p"), text)
    if parts is not None:
        path = os.path.normpath(os.path.join("/scratch/p", *parts))  # noqa: PTH118
        assert path.startswith("/scratch/p/")
    assert parts_below(Path("/s"), "/s/a/b") == ("a", "b")
    assert parts_below(Path("/s"), "/sx/a") is None
