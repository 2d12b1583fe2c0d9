"""Protected paths, and the placeholders that stand in for those that do not exist."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import Command, Mount, SetupError, spawn
from sandbox.linux import placeholders
from tests.sandbox.conftest import Ended, names, policy, python, run_spawned, shell

Launch = Callable[..., Ended]


def _writable(project: Path, *more: Mount) -> tuple[Mount, ...]:
    return (Mount.bind(str(project), writable=True), *more)


def test_existing_files_and_directories_become_read_only(launch: Launch, project: Path) -> None:
    (project / "pyproject.toml").write_text("kept")
    (project / ".git" / "hooks").mkdir(parents=True)
    mounts = _writable(
        project, Mount.protect(f"{project}/pyproject.toml"), Mount.protect(f"{project}/.git/hooks")
    )
    script = (
        "echo x >pyproject.toml; rm -f pyproject.toml; mv pyproject.toml other; "
        "echo x >.git/hooks/pre-commit; ln pyproject.toml other; "
        "mv .git moved; rm -rf .git; touch .git/index allowed; cat pyproject.toml"
    )
    ended = launch(policy(*mounts), shell(script), str(project))
    assert ended.stdout == "kept"
    assert (project / "pyproject.toml").read_text() == "kept"
    assert names(project) == [".git", "allowed", "pyproject.toml"]
    assert names(project / ".git") == ["hooks", "index"]
    assert names(project / ".git" / "hooks") == []


def test_fifos_and_sockets_of_a_protected_folder_are_covered(launch: Launch, project: Path) -> None:
    """A read-only mount lets both be written to, and what obeys them is on the host."""
    folder = project / ".git"
    folder.mkdir()
    readers = []
    for fifo in (folder / "control", project / ".envrc"):
        os.mkfifo(fifo)
        fifo.chmod(0o666)
        readers.append(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))
    (folder / "HEAD").write_text("kept")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "daemon.ipc"))
        (folder / "daemon.ipc").chmod(0o777)
        server.listen()
        mounts = _writable(project, Mount.protect(str(folder)), Mount.protect(f"{project}/.envrc"))
        script = (
            "import os, socket\n"
            "for name in ('.git/control', '.envrc'):\n"
            "    try: os.open(name, os.O_WRONLY | os.O_NONBLOCK)\n"
            "    except OSError as error: print(error.strerror)\n"
            "try: socket.socket(socket.AF_UNIX).connect('.git/daemon.ipc')\n"
            "except OSError as error: print(error.strerror)\n"
            "print(sorted(os.listdir('.git')), open('.git/HEAD').read())"
        )
        ended = launch(policy(*mounts), python(script), str(project))
    for descriptor in readers:
        os.close(descriptor)
    assert ended.stdout == "Permission denied\n" * 3 + "['HEAD', 'control', 'daemon.ipc'] kept\n", (
        ended.stderr
    )
    assert stat.S_ISFIFO((folder / "control").lstat().st_mode)


def test_missing_paths_cannot_be_created_and_leave_nothing(launch: Launch, project: Path) -> None:
    mounts = _writable(
        project,
        Mount.protect(f"{project}/pypm.lock"),
        Mount.protect(f"{project}/.git/hooks", directory=True),
        Mount.protect(f"{project}/.git/config"),
        Mount.overlay(f"{project}/deep/.venv", ("/usr/bin", "/usr/lib")),
    )
    script = (
        "echo x >pypm.lock; mkdir -p .git/hooks; mv .git away; rm -rf pypm.lock .git deep; ln -s /tmp .git; "
        "test -e deep/.venv/env && echo overlay; touch allowed"
    )
    ended = launch(policy(*mounts), shell(script), str(project))
    assert ended.stdout == "overlay\n"
    assert names(project) == ["allowed"]


def test_a_link_in_the_project_leads_the_setup_nowhere(launch: Launch, project: Path) -> None:
    (project / "inside").mkdir()
    (project / "outside").mkdir()
    (project / "inside" / ".venv").symlink_to(project / "outside")
    (project / "inside" / "dir").symlink_to("/")
    for mount in (
        Mount.tmpfs(f"{project}/inside/.venv/x"),
        Mount.protect(f"{project}/inside/.venv"),
        Mount.file(f"{project}/inside/dir/planted", b"x"),
        Mount.symlink(f"{project}/inside/dir/planted", "x"),
    ):
        configuration = policy(Mount.bind(f"{project}/inside", writable=True), mount)
        if launch is run_spawned:
            with pytest.raises(SetupError):
                launch(configuration, ("true",))
        else:
            assert "SetupError" in launch(configuration, ("true",)).stderr
    assert names(project / "outside") == []
    assert names(project / "inside") == [".venv", "dir"]
    assert not Path("/planted").exists()


def test_sandboxes_that_share_a_placeholder_keep_it_for_each_other(namespaces: None, project: Path) -> None:
    configuration = policy(*_writable(project, Mount.protect(f"{project}/pypm.lock")))
    waiting = Command(
        argv=shell("until test -e go; do sleep 0.02; done; echo x >pypm.lock"), cwd=str(project)
    )
    with spawn(configuration, waiting) as long:
        while not (project / "pypm.lock").exists():
            time.sleep(0.01)
        run_spawned(configuration, ("true",))
        assert placeholders.is_placeholder((project / "pypm.lock").lstat())
        (project / "go").touch()
        assert long.wait().returncode != 0
    assert names(project) == ["go"]


def test_a_placeholder_that_a_crash_left_is_taken_over(launch: Launch, project: Path) -> None:
    os.close(os.open(project / "pypm.lock", os.O_CREAT | os.O_RDONLY, 0o1400))
    (project / "pypm.lock").chmod(0o1400)
    ended = launch(policy(*_writable(project, Mount.protect(f"{project}/pypm.lock"))), shell("true"))
    assert ended.returncode == 0
    assert names(project) == []


def test_what_the_host_puts_in_the_place_is_never_removed(project: Path) -> None:
    held = placeholders.acquire(((str(project), ("a", "b"), True, True),))
    assert (project / "a" / "b").is_dir()
    (project / "a" / "users").write_text("data")
    placeholders.release(held)
    assert names(project / "a") == ["users"]
    assert not placeholders.is_placeholder((project / "a").stat())


def test_empty_files_and_directories_of_a_user_are_not_placeholders(project: Path) -> None:
    (project / "file").touch(0o400)
    (project / "dir").mkdir(0o500)
    entries = ((str(project), ("file",), False, False), (str(project), ("dir",), True, False))
    assert not placeholders.missing(entries)
    assert placeholders.acquire(entries) == []


def test_a_lock_outlives_neither_process(project: Path) -> None:
    entry = (str(project), ("x",), False, False)
    first, second = placeholders.acquire((entry,)), placeholders.acquire((entry,))
    placeholders.release(first)
    assert (project / "x").exists()
    placeholders.release(second)
    assert not (project / "x").exists()
    assert subprocess.run(["ls", "-A", project], capture_output=True, check=True).stdout == b""


def test_a_folder_can_be_bound_onto_what_is_missing(launch: Launch, project: Path) -> None:
    mounts = _writable(
        project,
        Mount.bind("/usr/share", f"{project}/deep/folder"),
        Mount.bind("/etc/hostname", f"{project}/deep/file"),
    )
    ended = launch(
        policy(*mounts), shell("test -d deep/folder/doc && test -f deep/file && echo both"), str(project)
    )
    assert ended.stdout == "both\n", ended.stderr
    assert names(project) == []


def test_a_read_only_folder_holds_mounts_on_what_is_missing(launch: Launch, project: Path) -> None:
    mounts = (
        Mount.bind(str(project)),
        Mount.protect(f"{project}/.git", directory=True),
        Mount.overlay(f"{project}/.venv", ("/usr/bin", "/usr/lib")),
    )
    script = "test -e .venv/env && echo overlay; test -e .git || echo none; touch x || echo closed"
    ended = launch(policy(*mounts), shell(script), str(project))
    assert ended.stdout == "overlay\nnone\nclosed\n", ended.stderr
    assert names(project) == []


def test_what_mounts_stand_on_and_cannot_be_made_is_told(launch: Launch, project: Path) -> None:
    (project / "file").write_text("")
    mounts = _writable(project, Mount.overlay(f"{project}/file/.venv", ("/usr/bin", "/usr/lib")))
    if launch is run_spawned:
        with pytest.raises(SetupError) as caught:
            launch(policy(*mounts), ("true",))
        assert caught.value.stage == "placeholders"
    else:
        assert "(at `placeholders`)" in launch(policy(*mounts), ("true",)).stderr
    assert names(project) == ["file"]
