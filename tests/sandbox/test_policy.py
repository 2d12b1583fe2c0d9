"""Policies: what is refused, with which words, and the round trip through plain data."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import Guarantee, Isolation, Limits, Mount, Network, Policy, PolicyError, Terminal


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
_POLICIES = st.builds(
    Policy,
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
