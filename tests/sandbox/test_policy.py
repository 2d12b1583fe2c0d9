"""Policies: what is refused, with which words, and the round trip through plain data."""

from __future__ import annotations

import contextlib
import json
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from sandbox import (
    Guarantee,
    Isolation,
    Limits,
    Mount,
    Network,
    Policy,
    PolicyError,
    Terminal,
    UnsupportedError,
)
from sandbox.linux.compile import compile_policy


@pytest.mark.parametrize(
    ("mount", "problem"),
    [
        (Mount.bind("/", "/x", writable=True), "must not be writable as a whole"),
        (Mount.bind("/etc", writable=True), "must not be writable as a whole"),
        (Mount.bind("relative"), "not an absolute path"),
        (Mount.bind("/a/../b"), "not a normal path"),
        (Mount.bind("//a"), "not a normal path"),
        (Mount.bind("/a/"), "not a normal path"),
        (Mount.bind("/a\0b"), "NUL"),
        (Mount.bind("/a", "/"), "own root"),
        (Mount.bind("/a", "/proc/1"), "belongs to the sandbox"),
        (Mount.bind("/a", "/dev"), "belongs to the sandbox"),
        (Mount.bind("/proc/1/root", "/x"), "own view of itself"),
        (Mount.device("/etc/passwd"), "not a device"),
        (Mount.overlay("/x", ()), "1 to 500 layers"),
        (Mount.overlay("/x", ("/l",) * 501), "1 to 500 layers"),
        (Mount.overlay("/x", ("l",)), "not an absolute path"),
        (Mount.symlink("/x", ""), "must lead somewhere"),
        (Mount.tmpfs("/x", size_bytes=0), "more than zero"),
        (Mount.file("/x", b"", 0o4755), "bits beyond"),
    ],
)
def test_dangerous_mounts_are_refused_by_path(mount: Mount, problem: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy(mounts=(Mount.tmpfs("/fine"), mount))
    assert any(problem in detail for detail in caught.value.details)
    assert all(detail.startswith("mounts[1].") for detail in caught.value.details)


@pytest.mark.parametrize(
    "mount",
    [
        Mount.bind("/work/.git", writable=True),
        Mount.bind("/work/.git/hooks", writable=True),
        Mount.bind("/elsewhere", "/work", writable=True),
        Mount.tmpfs("/work"),
    ],
)
def test_a_mount_that_opens_again_what_was_protected_is_refused(mount: Mount) -> None:
    before = (Mount.bind("/work", writable=True), Mount.protect("/work/.git"))
    with pytest.raises(PolicyError, match=r"opens the protected `/work/.git` again") as caught:
        Policy(mounts=(*before, mount))
    assert caught.value.details[0].startswith("mounts[2].target: ")
    assert Policy(mounts=(mount, *before)).mounts[0] == mount, "what comes before is protected itself"
    assert Policy(mounts=(*before, Mount.bind("/work/.github", writable=True)))


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(PolicyError) as caught:
        Policy(
            mounts=(Mount.bind("a"),),
            environment=(("A=B", "c"),),
            limits=Limits(processes=0),
            hostname="",
            home="/",
            network=Network.hosts(("example.com", 0)),
        )
    places = {detail.split(":")[0] for detail in caught.value.details}
    assert {"environment[0]", "limits.processes", "hostname", "home", "network.allowed[0]"} <= places


def test_an_unknown_key_is_refused_by_name() -> None:
    with pytest.raises(PolicyError, match="netwerk: no such key"):
        Policy.from_plain({"netwerk": {}})


_PATHS = st.lists(st.text("abc.-_é", min_size=1).filter(lambda p: p not in (".", "..")), min_size=1).map(
    lambda parts: "/srv/" + "/".join(parts)
)
_MOUNTS = st.one_of(
    st.builds(Mount.bind, _PATHS, _PATHS, writable=st.booleans(), optional=st.booleans()),
    st.builds(Mount.overlay, _PATHS, st.lists(_PATHS, min_size=1, max_size=4)),
    st.builds(Mount.tmpfs, _PATHS, size_bytes=st.none() | st.integers(1, 1 << 40)),
    st.builds(Mount.file, _PATHS, st.binary(max_size=64), st.integers(0, 0o777)),
    st.builds(Mount.symlink, _PATHS, st.text("ab/", min_size=1)),
    st.builds(Mount.protect, _PATHS, directory=st.booleans()),
)


def _acceptable(**values: Any) -> Policy:
    """Two mounts drawn apart from each other may contradict each other."""
    try:
        return Policy(**values)
    except PolicyError:
        reject()


_POLICIES = st.builds(
    _acceptable,
    mounts=st.lists(_MOUNTS, max_size=5).map(tuple),
    network=st.sampled_from([Network.NONE, Network.HOST, Network.hosts(("example.com", 443))]),
    environment=st.lists(st.tuples(st.text("AB", min_size=1), st.text("xy="))).map(tuple),
    limits=st.builds(
        Limits, wall_clock_seconds=st.none() | st.floats(0.1, 1e6), processes=st.none() | st.just(9)
    ),
    terminal=st.sampled_from(Terminal),
    home=st.none() | _PATHS,
    require=st.frozensets(st.sampled_from(Guarantee)),
    isolation=st.none() | st.sampled_from(Isolation),
)


@given(_POLICIES)
def test_plain_data_round_trips_through_json(policy: Policy) -> None:
    assert Policy.from_plain(json.loads(json.dumps(policy.to_plain()))) == policy


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_PLAIN = st.builds(lambda policy: policy.to_plain(), _POLICIES)


@given(st.dictionaries(st.sampled_from([item.name for item in fields(Policy)]), _JSON))
def test_any_plain_data_is_a_policy_or_a_policy_error(plain: dict[str, Any]) -> None:
    with contextlib.suppress(PolicyError):
        assert Policy.from_plain(plain).to_plain()


@given(_PLAIN, st.data())
def test_a_damaged_policy_is_a_policy_or_a_policy_error(plain: dict[str, Any], data: st.DataObject) -> None:
    """One value somewhere inside is replaced by another one."""
    here: Any = plain
    for _ in range(4):
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(here[key], dict | list) or not here[key] or data.draw(st.booleans()):
            break
        here = here[key]
    here[key] = data.draw(_JSON)
    try:
        policy = Policy.from_plain(plain)
    except PolicyError as error:
        assert str(error)
    else:
        assert Policy.from_plain(policy.to_plain()) == policy
        with contextlib.suppress(PolicyError, UnsupportedError):
            compile_policy(policy, "x86_64")


@pytest.mark.parametrize(
    ("plain", "where"),
    [
        ({"hostname": 5}, "hostname"),
        ({"system": "yes"}, "system"),
        ({"limits": {"processes": True}}, "limits.processes"),
        ({"limits": {"wall_clock_seconds": float("nan")}}, "limits.wall_clock_seconds"),
        ({"mounts": [{"kind": "tmpfs", "target": 7}]}, "mounts[0].target"),
        ({"mounts": [{"kind": "tmpfs", "target": "/a\ud800"}]}, "mounts[0].target"),
        ({"environment": [["A", "\ud800"]]}, "environment[0]"),
    ],
)
def test_what_is_wrong_is_named_by_its_path(plain: dict[str, Any], where: str) -> None:
    with pytest.raises(PolicyError) as caught:
        Policy.from_plain(plain)
    assert any(problem.startswith(where) for problem in caught.value.details)
