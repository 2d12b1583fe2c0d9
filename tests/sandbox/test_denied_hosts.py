"""Hosts that deny namespaces, each for a reason of its own: refused with the cause, or less by name."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sandbox
from sandbox import Mount, Policy, SetupError
from sandbox.linux import causes, report
from tests.sandbox.conftest import ROOT, policy, run_spawned

_host = sandbox.probe()
needs_namespaces = pytest.mark.skipif(
    not _host.namespaces, reason=f"no namespaces to take away: {_host.cause}"
)
needs_landlock = pytest.mark.skipif(not _host.landlock, reason=f"no Landlock rung: {_host.landlock_cause}")

CAUSES = {
    "filter": ("a system call filter, probably a container's, denies user namespaces", "seccomp=unconfined"),
    "sysctl": ("`user.max_user_namespaces`", "sysctl -w user.max_user_namespaces"),
}


def denied(kind: str, *words: str) -> subprocess.CompletedProcess[str]:
    """`python -m sandbox` on a host of this kind."""
    command = [sys.executable, "-m", "tests.sandbox.denials", kind, sys.executable, "-m", "sandbox", *words]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


@needs_namespaces
@pytest.mark.parametrize("kind", CAUSES)
def test_it_refuses_with_the_cause_and_the_mend(kind: str) -> None:
    done = denied(kind, "--", "echo", "ran")
    cause, mend = CAUSES[kind]
    assert (done.returncode, done.stdout) == (125, "")
    assert cause in done.stderr and mend in done.stderr
    assert done.stderr.count("\n") == 2, "one sentence and one hint"


@needs_namespaces
@needs_landlock
@pytest.mark.parametrize("kind", CAUSES)
def test_less_by_name_works_and_is_told(kind: str) -> None:
    done = denied(kind, "--isolation", "landlock", "--", "sh", "-c", "echo ran; cat /etc/shadow")
    assert done.stdout == "ran\n", done.stderr
    assert "weaker isolation: `landlock` does not guarantee metadata" in done.stderr
    assert "ermission denied" in done.stderr


@needs_namespaces
def test_a_filter_that_denies_landlock_too() -> None:
    done = denied("landlock", "--isolation", "landlock", "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("sandbox: a system call filter, probably a container's, denies Landlock\n")


@needs_namespaces
def test_a_container_that_masks_proc_gets_a_sandbox_without_one() -> None:
    done = denied("masked", "--", "sh", "-c", "ls /proc; id -u; unshare -U true || echo denied")
    assert (done.returncode, done.stdout) == (0, "1000\ndenied\n"), done.stderr
    probed = denied("masked", "--probe")
    assert "namespaces: True\nprocess view: False\n" in probed.stdout


@needs_namespaces
def test_nested_in_its_own_sandbox() -> None:
    """The inner one finds the filter of the outer one; what is weaker works if it is asked for."""
    shown = [Mount.bind(path) for path in dict.fromkeys((str(ROOT), sys.prefix, sys.base_prefix))]
    inner = (
        "/usr/bin/env",
        f"PYTHONPATH={ROOT}",
        "PYTHONDONTWRITEBYTECODE=1",
        sys.executable,
        "-m",
        "sandbox",
    )
    refused = run_spawned(policy(*shown), (*inner, "--", "echo", "ran"), str(ROOT))
    assert (refused.returncode, refused.stdout) == (125, "")
    assert "a system call filter" in refused.stderr
    if _host.landlock:
        weaker = run_spawned(
            policy(*shown), (*inner, "--isolation", "landlock", "--", "echo", "ran"), str(ROOT)
        )
        assert (weaker.returncode, weaker.stdout) == (0, "ran\n"), weaker.stderr


@pytest.mark.parametrize("stage", ["map_ids", "hostname", "root"])
def test_apparmor_is_told_by_the_stage_and_the_profile_is_printed(stage: str) -> None:
    told = report.as_error((report.FAILED, stage, errno.EACCES, "Permission denied", ""))
    assert isinstance(told, SetupError) and told.hint is not None
    assert "/etc/apparmor.d/sandbox-userns" in told.hint and "userns," in told.hint
    assert os.path.realpath(sys.executable) in told.hint
    assert causes.mend("bind", errno.ENOENT) is None


def test_an_answer_is_kept_for_this_boot(tmp_path: Path) -> None:
    memory = tmp_path / "hosts"
    found = sandbox.probe(memory)
    (kept,) = memory.iterdir()
    document = json.loads(kept.read_text())
    assert document["host"]["boot_id"] == found.boot_id
    document["host"]["cause"] = "kept"
    kept.write_text(json.dumps(document))
    assert sandbox.probe(memory).cause == "kept"
    document["key"][1] = "another boot"
    kept.write_text(json.dumps(document))
    assert sandbox.probe(memory).cause == found.cause
    kept.write_text("{")
    assert sandbox.probe(memory) == found


def test_a_memory_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert sandbox.probe(tmp_path / "file" / "below").kernel == os.uname().release
    assert Policy().isolation is None
