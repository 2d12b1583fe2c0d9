"""`--allow-net` with and without its value."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypm.cli.sandbox_flags import with_network_values


@pytest.mark.parametrize(
    ("words", "joined"),
    [
        (["--allow-net", "pytest", "-x"], ["--allow-net=*", "pytest", "-x"]),
        (["--allow-net", "api.example.com", "pytest"], ["--allow-net=api.example.com", "pytest"]),
        (["--allow-net", "api.example.com:8443", "x"], ["--allow-net=api.example.com:8443", "x"]),
        (["--allow-net", "localhost:80", "x"], ["--allow-net=localhost:80", "x"]),
        (["--allow-net", "*.example.com", "x"], ["--allow-net=*.example.com", "x"]),
        (["--allow-net", "10.1.2.3:443", "x"], ["--allow-net=10.1.2.3:443", "x"]),
        (["--allow-net", "[::1]:80", "x"], ["--allow-net=[::1]:80", "x"]),
        (["--allow-net", "fd00::/8", "x"], ["--allow-net=fd00::/8", "x"]),
        (["--allow-net", "10.0.0.0/8", "x"], ["--allow-net=10.0.0.0/8", "x"]),
        (["--allow-net=one.example", "--allow-net", "x"], ["--allow-net=one.example", "--allow-net=*", "x"]),
        (["--allow-net", "script.py"], ["--allow-net=*", "script.py"]),
        (["--allow-net", "python3.11", "-V"], ["--allow-net=*", "python3.11", "-V"]),
        (["--allow-net", "--", "api.example.com"], ["--allow-net=*", "--", "api.example.com"]),
        (["--", "x", "--allow-net", "y"], ["--", "x", "--allow-net", "y"]),
        (["--allow-net"], ["--allow-net=*"]),
    ],
)
def test_the_value_is_taken_only_when_it_reads_like_a_host(
    words: list[str], joined: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert with_network_values(words) == joined


def test_a_file_of_that_name_is_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.tool").touch()
    assert with_network_values(["--allow-net", "my.tool"]) == ["--allow-net=*", "my.tool"]
