"""Which shell is opened, and that its prompt tells that one is inside."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

import sandbox
from pypm.workflow.shells import command_line, is_usable

CHECKOUT = Path(__file__).resolve().parent.parent
_host = sandbox.probe()
needs_sandbox = pytest.mark.skipif(not _host.namespaces, reason=f"no sandbox on this machine: {_host.cause}")
SHELLS = [Path(f"/bin/{name}") for name in ("bash", "zsh", "fish", "dash", "ksh", "sh")]


@pytest.mark.parametrize("path", ["", "bash", "/opt/odd/bash", "/bin/false", "/usr/bin/missing/bash"])
def test_what_the_sandbox_does_not_show_or_nobody_knows_is_not_usable(path: str) -> None:
    assert not is_usable(Path(path))


def test_a_link_out_of_the_system_is_not_usable(tmp_path: Path) -> None:
    shell = tmp_path / "bash"
    shell.symlink_to("/bin/sh")
    assert not is_usable(shell)
    assert is_usable(Path("/bin/sh"))


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell.name)
def test_each_kind_is_told_the_name(shell: Path) -> None:
    words = command_line(shell, canonicalize_name("hello"))
    assert str(shell) in words
    assert any("(hello) sandbox:" in word for word in words)


@needs_sandbox
@pytest.mark.parametrize("shell", [*SHELLS, Path("/opt/nowhere/nu")], ids=lambda shell: shell.name)
def test_the_prompt_is_shown_and_the_home_is_left_alone(tmp_path: Path, shell: Path) -> None:
    if shell in SHELLS and not shell.exists():
        pytest.skip(f"there is no `{shell}` on this machine")
    home, root = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    root.mkdir()
    (root / "pyproject.toml").write_text('[project]\nname = "hello"\nversion = "1"\n')
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(CHECKOUT),
        "PYPM_CACHE_DIR": str(tmp_path / "cache"),
        "HOME": str(home),
        "SHELL": str(shell),
        "TERM": "xterm",
    }
    subprocess.run([sys.executable, "-m", "pypm", "-q", "lock"], cwd=root, env=environ, check=True)
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(root)
        os.execve(sys.executable, [sys.executable, "-m", "pypm", "shell"], environ)
    said, asked, deadline = b"", False, time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([terminal], [], [], 0.2)[0]:
            continue
        try:
            said += os.read(terminal, 4096)
        except OSError:
            break
        if not asked and b"(hello) sandbox:" in said:
            asked = True
            os.write(terminal, b"exit 7\n")
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7, said
    assert (b"is no shell that the sandbox shows" in said) is (shell not in SHELLS)
    assert list(home.iterdir()) == []
