"""The rules of the Landlock rung: what is readable, writable and closed."""

from __future__ import annotations

import pytest

from sandbox import Mount, Network, Policy, UnsupportedError
from sandbox.linux import reach


def of(policy: Policy, kind: str) -> dict[str, tuple[str, ...]]:
    """Paths of one kind with what is closed below them."""
    return {path: closed for found, path, closed in reach.rules(policy) if found == kind}


def test_a_writable_bind_without_anything_closed_is_one_rule() -> None:
    policy = Policy(mounts=(Mount.bind("/a", writable=True), Mount.bind("/b")), system=False)
    assert of(policy, reach.WRITE) == {"/a": ()}
    assert {"/a", "/b"} <= set(of(policy, reach.READ))


def test_what_is_protected_or_read_only_inside_is_closed() -> None:
    policy = Policy(
        mounts=(
            Mount.bind("/a", writable=True),
            Mount.bind("/a/library"),
            Mount.protect("/a/deep/down"),
            Mount.protect("/b"),
        )
    )
    assert of(policy, reach.WRITE) == {"/a": ("/a/deep/down", "/a/library")}


def test_a_later_grant_opens_what_was_closed_before_and_a_later_protection_closes_it() -> None:
    opened = (Mount.bind("/a"), Mount.bind("/a/b", writable=True))
    assert of(Policy(mounts=opened), reach.WRITE) == {"/a/b": ()}
    assert of(Policy(mounts=(*opened, Mount.protect("/a/b"))), reach.WRITE) == {}
    assert of(Policy(mounts=(*opened, Mount.bind("/a"))), reach.WRITE) == {}


def test_a_name_is_no_prefix_of_another() -> None:
    policy = Policy(mounts=(Mount.bind("/a", writable=True), Mount.protect("/ab")))
    assert of(policy, reach.WRITE) == {"/a": ()}


@pytest.mark.parametrize(
    ("mount", "what"),
    [
        (Mount.bind("/a", "/b"), "shown under another name"),
        (Mount.overlay("/a", ("/b", "/c")), "laid over each other"),
        (Mount.tmpfs("/a"), "made in memory"),
        (Mount.file("/a", b"x"), "made in memory"),
    ],
)
def test_what_needs_a_mount_namespace_is_refused_by_name(mount: Mount, what: str) -> None:
    with pytest.raises(UnsupportedError, match=what) as caught:
        reach.rules(Policy(mounts=(mount,)))
    assert caught.value.message.startswith(f"mounts[0].target: `{mount.target}`")


def test_links_below_the_home_are_made_and_others_are_the_hosts_own() -> None:
    mounts = (Mount.symlink("/home/x/.netrc", "/secret/netrc"), Mount.symlink("/usr2", "/usr"))
    assert reach.links(Policy(mounts=mounts, home="/home/x")) == ((".netrc", "/secret/netrc"),)
    assert reach.links(Policy(mounts=mounts)) == ()


def test_the_resolver_is_shown_with_the_network_only() -> None:
    assert "/etc/resolv.conf" not in of(Policy(), reach.SYSTEM)
    assert "/etc/resolv.conf" in of(Policy(network=Network.HOST), reach.SYSTEM)


def test_no_folder_of_processes_or_devices_is_opened_as_a_whole() -> None:
    paths = {path for _, path, _ in reach.rules(Policy(network=Network.HOST))}
    assert not paths & {"/", "/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/tmp", "/run", "/var", "/etc"}
