"""`[tool.pypm.sandbox]` and the sandbox flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypm.errors import ConfigurationError, UsageError
from pypm.isolation import Boundary, HostPort, RunOptions, grants, merge, parse_flags, parse_settings
from pypm.isolation.limits import network
from pypm.isolation.values import MalformedError, parse_duration, parse_host, parse_size
from sandbox import Guarantee, Isolation, Network


@pytest.fixture
def boundary(tmp_path: Path) -> Boundary:
    home = tmp_path / "home"
    root = home / "project"
    cache = home / ".cache" / "pypm"
    for folder in (root / ".venv", root / "data", root / ".git" / "hooks", cache, home / "datasets"):
        folder.mkdir(parents=True)
    return Boundary(root=root, home=home, cache=cache)


def problems(table: dict[str, Any], boundary: Boundary) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        parse_settings(table, boundary)
    return caught.value.details


def test_every_key_is_read(boundary: Boundary) -> None:
    table = {
        "require": ["network", "filesystem"],
        "run": {
            "allow-net": ["API.example.com", "example.org:8443"],
            "allow-read": ["~/datasets", "data"],
            "allow-write": ["data"],
            "allow-env": ["TOKEN", "AWS_*"],
            "allow-device": ["gpu", "/dev/fuse"],
            "memory": "1.5G",
            "cpus": 2,
            "pids": 64,
            "timeout": "5m",
            "read-only": True,
        },
    }
    options = parse_settings(table, boundary).profile("run")
    assert boundary.root is not None
    assert options == RunOptions(
        require=(Guarantee.NETWORK, Guarantee.FILESYSTEM),
        allow_net=(HostPort(host="api.example.com"), HostPort(host="example.org", port=8443)),
        allow_read=(boundary.home / "datasets", boundary.root / "data"),
        allow_write=(boundary.root / "data",),
        allow_env=("TOKEN", "AWS_*"),
        allow_device=("gpu", "/dev/fuse"),
        memory_bytes=3 << 29,
        cpus=2.0,
        pids=64,
        timeout_seconds=300.0,
        read_only=True,
    )


@pytest.mark.parametrize("table", [{"isolation": "none"}, {"build": {"isolation": "none"}}])
def test_a_project_does_not_take_the_sandbox_away_but_its_user_can(
    boundary: Boundary, tmp_path: Path, table: dict[str, object]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_settings(table, boundary)
    assert "a project does not take the sandbox away" in caught.value.details[0]
    options = parse_flags({"isolation": "none"}, boundary, working_directory=tmp_path)
    assert options.isolation is Isolation.NONE


def test_the_built_in_profiles_exist_and_named_ones_are_added(boundary: Boundary) -> None:
    settings = parse_settings({"isolation": "landlock", "training": {"pids": 9}}, boundary)
    assert settings.profile("shell") == RunOptions(isolation=Isolation.LANDLOCK)
    assert settings.profile("training") == RunOptions(isolation=Isolation.LANDLOCK, pids=9)
    with pytest.raises(UsageError) as caught:
        settings.profile("trainig")
    assert caught.value.hint == "did you mean `training`?"


def test_all_problems_are_told_at_once_by_the_path_of_their_key(boundary: Boundary) -> None:
    found = problems(
        {
            "alow-net": True,
            "memory": "1G",
            "run": {"allow-nett": [], "memory": "much", "allow-net": "example.com", "cpus": True, "pids": 0},
            "hook": {"timeout": "-3s", "require": ["nothing"], "isolation": "docker", "read-only": "yes"},
        },
        boundary,
    )
    text = "\n".join(found)
    assert len(found) == 11
    assert "`tool.pypm.sandbox.alow-net` is not known; did you mean `tool.pypm.sandbox.allow-net`?" in found
    assert "`tool.pypm.sandbox.memory` belongs into a profile, such as `[tool.pypm.sandbox.run]`" in found
    assert (
        "`tool.pypm.sandbox.run.allow-nett` is not known; did you mean `tool.pypm.sandbox.run.allow-net`?"
        in found
    )
    for key in ("run.memory", "run.allow-net", "run.cpus", "run.pids", "hook.timeout", "hook.require"):
        assert f"`tool.pypm.sandbox.{key}` " in text


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("~", "whole home folder"),
        ("..", "whole home folder"),
        ("/", "root of the file system"),
        ("~/.cache", "store"),
        ("~/.cache/pypm", "store"),
        (".venv", "`.venv`"),
        ("/proc/self", "which the sandbox makes itself"),
        ("/dev", "which the sandbox makes itself"),
        ("missing", "does not exist"),
        ("link-to-home", "whole home folder"),
        ("data/../.venv", "`.venv`"),
        ("~root", "another user's home"),
        ("", "must be a path"),
    ],
)
def test_dangerous_writes_are_refused(path: str, reason: str, boundary: Boundary) -> None:
    assert boundary.root is not None
    (boundary.root / "link-to-home").symlink_to(boundary.home)
    (found,) = problems({"run": {"allow-write": [path]}}, boundary)
    assert found.startswith("`tool.pypm.sandbox.run.allow-write` ")
    assert reason in found


@pytest.mark.parametrize("name", ["pyproject.toml", "pypm.lock", ".git/hooks", ".git/config"])
def test_what_decides_over_later_runs_is_never_granted(name: str, boundary: Boundary) -> None:
    assert boundary.root is not None
    path = boundary.root / name
    if not path.exists():
        path.touch()
    (found,) = problems({"run": {"allow-write": [name]}}, boundary)
    assert f"`{path}`" in found


def test_the_home_may_be_read_if_the_project_says_so(boundary: Boundary) -> None:
    options = parse_settings({"run": {"allow-read": ["~"]}}, boundary).profile("run")
    assert options.allow_read == (boundary.home,)
    assert grants(options) == (f"reading `{boundary.home}`",)


def test_flags_are_read_like_the_table_and_start_at_the_working_directory(boundary: Boundary) -> None:
    flags = {
        "allow-net": ("example.com",),
        "allow-read": ("datasets",),
        "allow-write": (),
        "memory": "64M",
        "timeout": None,
        "isolation": "none",
    }
    options = parse_flags(flags, boundary, working_directory=boundary.home)
    assert options == RunOptions(
        allow_net=(HostPort(host="example.com"),),
        allow_read=(boundary.home / "datasets",),
        memory_bytes=64 << 20,
        isolation=Isolation.NONE,
    )
    assert parse_flags({"allow-net": True}, boundary, working_directory=boundary.home).allow_all_net is True


def test_a_malformed_flag_is_a_usage_error(boundary: Boundary) -> None:
    with pytest.raises(UsageError, match="`--memory` must be a size"):
        parse_flags({"memory": "lots"}, boundary, working_directory=boundary.home)


def test_flags_add_to_lists_and_replace_scalars() -> None:
    profile = RunOptions(allow_env=("A", "B"), memory_bytes=1, read_only=True, pids=5)
    flags = RunOptions(allow_env=("B", "C"), memory_bytes=2)
    assert merge(profile, flags) == RunOptions(
        allow_env=("A", "B", "C"), memory_bytes=2, read_only=True, pids=5
    )


@pytest.mark.parametrize(
    "host",
    [
        *(
            "http://x",
            "a b",
            "x:0",
            "x:65536",
            "x:",
            "-x.org",
            "a..b",
            "*",
            "",
            "*.org:x",
            "a.*.org",
            "1.2.3",
        ),
        *("10.0.0.1/8", "10.0.0.0/8:80", "0.0.0.0/0", "[::1", "[::1]80", "::1:80x", "1.2.3.4:0", "224.0.0.1"),
        "0.0.0.0",
    ],
)
def test_what_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(MalformedError):
        parse_host(host)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("API.example.com", "api.example.com", None),
        ("*.example.com:8443", "*.example.com", 8443),
        ("localhost:80", "localhost", 80),
        ("10.1.2.3:443", "10.1.2.3", 443),
        ("10.1.2.3", "10.1.2.3", None),
        ("::1", "::1", None),
        ("[FD00::1]:8443", "fd00::1", 8443),
        ("10.0.0.0/8", "10.0.0.0/8", None),
        ("fd00::/8", "fd00::/8", None),
    ],
)
def test_hosts_are_names_addresses_and_private_networks(text: str, host: str, port: int | None) -> None:
    assert parse_host(text) == HostPort(host=host, port=port)


def test_a_private_network_opens_itself_to_the_names_and_not_to_every_program() -> None:
    options = RunOptions(allow_net=(parse_host("index.corp.test:443"), parse_host("10.0.0.0/8")))
    assert network(options) == Network.hosts(("index.corp.test", 443), networks=("10.0.0.0/8",))


@given(st.text(max_size=20))
def test_values_are_read_or_refused_never_anything_else(text: str) -> None:
    for parse in (parse_size, parse_duration, parse_host):
        try:
            value = parse(text)
        except MalformedError:
            continue
        assert isinstance(value, HostPort) or value > 0


@given(st.integers(1, 1 << 20), st.sampled_from(["K", "M", "G"]))
def test_sizes_are_powers_of_1024(number: int, unit: str) -> None:
    factor = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[unit]
    assert parse_size(f"{number}{unit}") == parse_size(f"{number}{unit.lower()}iB") == number * factor
