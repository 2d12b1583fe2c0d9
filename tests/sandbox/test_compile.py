"""Compiling: the order of operations, placeholders, refusals; pure, and storable by marshal."""

from __future__ import annotations

import marshal
from typing import Any

import pytest

from sandbox import (
    Isolation,
    Limits,
    Mount,
    Network,
    Policy,
    PolicyError,
    Terminal,
    UnsupportedError,
    choose_backend,
)
from sandbox.linux import constants as c
from sandbox.linux.compile import compile_policy
from sandbox.linux.execute import PERFORM
from sandbox.policy import Guarantee

MACHINES = ("x86_64", "aarch64")


def _names(operations: Any) -> list[str]:
    return [operation[0] for operation in operations]


@pytest.mark.parametrize("machine", MACHINES)
def test_a_plan_is_marshal_data_of_known_operations(machine: str) -> None:
    policy = Policy(
        mounts=(
            Mount.bind("/src", writable=True),
            Mount.protect("/src/a"),
            Mount.overlay("/src/v", ("/l/1", "/l/2")),
            Mount.tmpfs("/x"),
            Mount.file("/y", b"z"),
            Mount.symlink("/s", "y"),
            Mount.device("/dev/fuse"),
        ),
        limits=Limits(open_files=64),
        home="/h",
    )
    plan = compile_policy(policy, machine)
    assert marshal.loads(marshal.dumps(plan)) == plan
    assert set(_names(plan["init"] + plan["beside"] + plan["payload"])) <= set(PERFORM)


def test_the_order_of_the_restrictions() -> None:
    plan = compile_policy(Policy(), "x86_64")
    init, payload = _names(plan["init"]), _names(plan["payload"])
    assert init[:4] == ["map_ids", "keyring", "hostname", "root"]
    assert _names(plan["beside"]) == ["scrub", "loopback"]
    assert init[-2:] == ["proc", "pivot"]
    assert payload == ["session", "limits", "confine", "drop_privileges", "landlock", "enter", "seccomp"]


def test_the_hosts_network_is_the_only_namespace_that_is_left_out() -> None:
    isolated = compile_policy(Policy(), "x86_64")
    shared = compile_policy(Policy(network=Network.HOST), "x86_64")
    assert isolated["namespaces"] == c.ANY_NAMESPACE
    assert shared["namespaces"] == c.ANY_NAMESPACE & ~c.CLONE_NEWNET
    assert _names(shared["beside"]) == ["scrub"]
    assert any(operation[1:2] == ("/etc/resolv.conf",) for operation in shared["init"])
    assert not any(operation[1:2] == ("/etc/resolv.conf",) for operation in isolated["init"])


def test_placeholders_are_needed_inside_writable_binds_only() -> None:
    policy = Policy(
        mounts=(
            Mount.bind("/host/project", "/project", writable=True),
            Mount.overlay("/project/.venv", ("/l",)),
            Mount.protect("/project/.git/hooks", directory=True),
            Mount.bind("/host/read-only", "/ro"),
            Mount.protect("/ro/thing"),
            Mount.tmpfs("/scratch"),
            Mount.tmpfs("/scratch/below"),
        )
    )
    plan = compile_policy(policy, "x86_64")
    assert plan["placeholders"] == (
        ("/host/project", (".venv",), True, True),
        ("/host/project", (".git", "hooks"), True, False),
    )
    assert [o for o in plan["init"] if o[0] == "protect"] == [("protect", "/project", (".git", "hooks"))]


def test_protecting_what_no_bind_shows_is_refused() -> None:
    with pytest.raises(PolicyError, match=r"mounts\[0\]\.target"):
        compile_policy(Policy(mounts=(Mount.protect("/nowhere"),)), "x86_64")


def test_what_cannot_be_enforced_is_refused() -> None:
    with pytest.raises(PolicyError, match="allow-list") as caught:
        compile_policy(Policy(network=Network.hosts(("example.com/path", 443))), "x86_64")
    assert "`example.com/path`" in caught.value.details[0]
    with pytest.raises(UnsupportedError, match="riscv64"):
        compile_policy(Policy(), "riscv64")


def test_a_list_of_hosts_is_served_from_outside_and_shown_by_a_resolver() -> None:
    listed = Network.hosts(("example.com", 443), networks=("10.0.0.0/8",))
    plan = compile_policy(Policy(network=listed), "x86_64")
    assert plan["namespaces"] & c.CLONE_NEWNET
    assert plan["outside"] == {"network": {"allowed": (("example.com", 443),), "networks": ("10.0.0.0/8",)}}
    assert _names(plan["beside"]) == ["scrub", "egress"]
    files = {operation[1]: operation[2] for operation in plan["init"] if operation[0] == "file"}
    assert files["/etc/resolv.conf"].startswith(b"nameserver 127.0.0.1")
    assert compile_policy(Policy(), "x86_64")["outside"] == {}
    assert marshal.loads(marshal.dumps(plan)) == plan


def test_a_host_name_with_a_dot_would_make_programs_search_a_domain() -> None:
    with pytest.raises(PolicyError, match="hostname"):
        Policy(network=Network.hosts(("example.com", 443)), hostname="a.b")


def test_weaker_isolation_only_by_name_and_never_against_a_requirement() -> None:
    assert choose_backend(Policy()).isolation is Isolation.NAMESPACES
    assert choose_backend(Policy(isolation=Isolation.NONE)).isolation is Isolation.NONE
    with pytest.raises(UnsupportedError, match="filesystem, network"):
        required = frozenset({Guarantee.NETWORK, Guarantee.FILESYSTEM, Guarantee.ENVIRONMENT})
        choose_backend(Policy(isolation=Isolation.NONE, require=required))


def test_a_pty_changes_how_the_payload_starts() -> None:
    plan = compile_policy(Policy(terminal=Terminal.PTY), "x86_64")
    assert plan["terminal"] and _names(plan["payload"])[0] == "pty"
