"""Whatever ends a command but itself is told in one sentence, on the first call and with a ready plan."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import sandbox
from pypm.workflow.endings import untold_end

CHECKOUT = Path(__file__).resolve().parent.parent
_host = sandbox.probe()
needs_sandbox = pytest.mark.skipif(not _host.namespaces, reason=f"no sandbox on this machine: {_host.cause}")


@pytest.mark.parametrize(
    "status",
    [
        sandbox.ExitStatus(code=0),
        sandbox.ExitStatus(code=124),
        sandbox.ExitStatus(code=126),
        sandbox.ExitStatus(signal=signal.SIGINT),
        sandbox.ExitStatus(signal=signal.SIGPIPE),
    ],
)
def test_a_command_that_ended_by_itself_or_on_request_is_not_talked_over(status: sandbox.ExitStatus) -> None:
    assert untold_end(status, "x") is None


@pytest.mark.parametrize(
    ("status", "code", "reference"),
    [
        (sandbox.ExitStatus(code=126, unstarted=errno.EACCES), 126, "not-started"),
        (sandbox.ExitStatus(code=127, unstarted=errno.ENOENT), 127, "not-started"),
        (sandbox.ExitStatus(code=126, unstarted=errno.ELOOP), 126, "not-started"),
        (sandbox.ExitStatus(signal=9, timed_out=True), 124, "timed-out"),
        (sandbox.ExitStatus(signal=11), 139, "killed"),
        (sandbox.ExitStatus(signal=50), 178, "killed"),
    ],
)
def test_what_did_not_end_by_itself_keeps_its_code(
    status: sandbox.ExitStatus, code: int, reference: str
) -> None:
    told = untold_end(status, "x")
    assert told is not None
    assert (told.exit_code, told.reference) == (code, reference)
    assert told.message.startswith("`x` ")


@needs_sandbox
@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("/etc/passwd",), 126, "`/etc/passwd` is not executable"),
        (("--timeout", "0.2s", "sleep", "60"), 124, "`sleep` was ended at its time limit"),
        (("./missing",), 127, "`./missing` does not exist in the sandbox"),
        (("./plain",), 126, "`./plain` is no program"),
        (("sh", "-c", "kill -SEGV $$"), 139, "`sh` was ended by SIGSEGV"),
        (("sh", "-c", "exit 126"), 126, None),
    ],
)
def test_the_program_tells_it_with_and_without_a_plan(
    tmp_path: Path, words: tuple[str, ...], code: int, says: str | None
) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "p"\nversion = "1"\n')
    (tmp_path / "plain").write_text("echo no shebang\n")
    (tmp_path / "plain").chmod(0o755)
    environ = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYPM_CACHE_DIR": str(tmp_path / "cache")}
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-m", "pypm", "-q", "run", *words],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert errors == [] if says is None else errors[0].startswith(f"error: {says}")
        assert len(errors) <= 1
