"""What is made in the staging folder is spread over the disk, where the file system knows how."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from pypm.environment.spreading import spread


def flags(folder: Path) -> str:
    done = subprocess.run(["lsattr", "-d", folder], capture_output=True, text=True, check=True)
    return done.stdout.split()[0]


def test_the_flag_is_set_beside_those_that_are_there(tmp_path: Path) -> None:
    if shutil.which("chattr") is None or shutil.which("lsattr") is None:
        pytest.skip("no `chattr` on this machine")
    peer, folder = tmp_path / "peer", tmp_path / "folder"
    peer.mkdir()
    folder.mkdir()
    if subprocess.run(["chattr", "+Td", peer], check=False, capture_output=True).returncode:
        pytest.skip("this file system has no such flags")
    subprocess.run(["chattr", "+d", folder], check=True)
    for _ in range(2):
        spread(folder)
        assert flags(folder) == flags(peer)


def test_nothing_is_followed_and_no_refusal_is_an_error(tmp_path: Path) -> None:
    folder, link = tmp_path / "folder", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    file = tmp_path / "file"
    file.touch()
    for path in (link, file, tmp_path / "missing", Path("/proc")):
        spread(path)
    if (
        shutil.which("lsattr") is not None
        and not subprocess.run(["lsattr", "-d", folder], check=False, capture_output=True).returncode
    ):
        assert "T" not in flags(folder)
