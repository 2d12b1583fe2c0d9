"""Startup code: what carries it is refused until the project allows it by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import sandbox
from pypm.cli.app import main
from pypm.digest import Sha256
from pypm.errors import ConfigurationError
from pypm.model.wheel import StoredWheel
from pypm.workflow.startup import require_allowed
from tests.support.index_server import IndexServer, make_wheel

_host = sandbox.probe()
needs_sandbox = pytest.mark.skipif(not _host.namespaces, reason=f"no sandbox on this machine: {_host.cause}")

PROJECT = """\
[project]
name = "p"
version = "1"
requires-python = ">=3.10"
dependencies = ["carrier"]

[tool.pypm]
package = false
"""


class Line:
    """The command line, in a project that depends on `carrier`."""

    def __init__(self, root: Path, server: IndexServer, capture: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.server = server
        self.capture = capture

    def carrier(self, files: dict[str, bytes]) -> None:
        self.server.add("carrier", make_wheel("carrier", "1.0", files={"carrier/__init__.py": b"", **files}))

    def allow(self, value: str) -> None:
        (self.root / "pyproject.toml").write_text(f"{PROJECT}allow-startup-code = {value}\n")

    def __call__(self, *words: str, code: int = 0) -> tuple[str, str]:
        self.capture.readouterr()
        got = main(words)
        told = self.capture.readouterr()
        assert got == code, (got, told.err)
        return told.out, told.err


@pytest.fixture
def pypm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Line]:
    with IndexServer() as server:
        root = tmp_path / "p"
        root.mkdir()
        (root / "pyproject.toml").write_text(PROJECT)
        monkeypatch.chdir(root)
        monkeypatch.setenv("PYPM_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setenv("PYPM_DEFAULT_INDEX", server.url)
        yield Line(root, server, capfd)


@needs_sandbox
@pytest.mark.parametrize(
    ("files", "path"),
    [
        ({"carrier.pth": b"import os\n"}, "site-packages/carrier.pth"),
        ({"carrier.pth": b"../elsewhere\n"}, "site-packages/carrier.pth"),
        ({"sitecustomize.py": b""}, "site-packages/sitecustomize.py"),
        ({"usercustomize/__init__.py": b""}, "site-packages/usercustomize/__init__.py"),
        ({"carrier-1.0.data/scripts/git": b"#!/bin/sh\n"}, "bin/git"),
        ({"carrier-1.0.dist-info/entry_points.txt": b"[console_scripts]\nsudo = carrier:main\n"}, "bin/sudo"),
    ],
)
def test_carriers_are_refused_by_name_and_allowed_by_name(
    pypm: Line, files: dict[str, bytes], path: str
) -> None:
    pypm.carrier(files)
    _, told = pypm("sync", code=1)
    assert "`carrier` brings code that runs without being asked for" in told
    assert path in told
    assert 'allow-startup-code = ["carrier"]' in told
    assert not (pypm.root / ".venv").exists()
    pypm("run", "true", code=1)
    pypm.allow('["Carrier"]')
    _, told = pypm("sync", "--locked", "-v")
    assert "Allowed: startup code of carrier" in told
    assert (pypm.root / ".venv").is_dir()
    pypm.allow("[]")
    pypm("run", "true", code=1)


@pytest.mark.parametrize(
    ("path", "content"), [("carrier.pth", b"/x\n"), ("carrier-1.0.data/purelib/sitecustomize.py", b"")]
)
def test_carriers_are_named_when_locking_reads_records(pypm: Line, path: str, content: bytes) -> None:
    pypm.carrier({path: content, "carrier/more.pth": b""})
    _, told = pypm("lock", "--merkle")
    assert f"`carrier` brings code that runs without being asked for: `{path}`\n" in told
    pypm.allow('["carrier"]')
    (pypm.root / "pypm.lock").unlink()
    _, told = pypm("lock", "--merkle")
    assert "without being asked" not in told


@needs_sandbox
def test_a_pth_below_a_package_is_only_a_file(pypm: Line) -> None:
    pypm.carrier({"carrier/data.pth": b"import os\n", "carrier/sitecustomize.py": b""})
    pypm("sync")


@needs_sandbox
@pytest.mark.parametrize("value", ['"carrier"', "[1]", '["-"]', "true"])
def test_a_malformed_list_is_an_error(pypm: Line, value: str) -> None:
    pypm.carrier({"carrier.pth": b"import os\n"})
    pypm.allow(value)
    _, told = pypm("sync", code=1)
    assert "allow-startup-code" in told


def wheel(tmp_path: Path, content: bytes) -> StoredWheel:
    (tmp_path / "prefix").mkdir()
    (tmp_path / "prefix/own.pth").write_bytes(content)
    return StoredWheel(
        name="own",  # type: ignore[arg-type]
        version="1",
        sha256=Sha256("0" * 64),
        merkle_root=Sha256("0" * 64),
        tree=tmp_path,
        startup_code=("own.pth",),
        dist_info="own-1.dist-info",
    )


class Allowing:
    """As much of a project as is looked at."""

    def __init__(self, *names: str) -> None:
        self.tool = {"allow-startup-code": list(names)}


@pytest.mark.parametrize(
    ("content", "is_free"),
    [
        (b"/somewhere/src\n", True),
        (b"# a comment\n/somewhere/src\n\xc3\xa9\n", True),
        (b"importlib/src\n", True),
        (b"/somewhere\nimport os\n", False),
        (b"import\tos\n", False),
        (b"\xef\xbb\xbfimport os\n", False),
        (b"/somewhere\x0cimport os\n", False),
        ("/somewhere\u2028import os\n".encode(), False),
        (b"\xff/somewhere\n", False),
    ],
)
def test_an_editable_wheel_may_add_paths_and_nothing_else(
    tmp_path: Path, content: bytes, is_free: bool
) -> None:
    own = wheel(tmp_path, content)
    if is_free:
        assert require_allowed(Allowing(), [], [own]) == ()  # type: ignore[arg-type]
    else:
        with pytest.raises(ConfigurationError, match="`own`"):
            require_allowed(Allowing(), [], [own])  # type: ignore[arg-type]
        assert require_allowed(Allowing("own"), [], [own]) == (own,)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        require_allowed(Allowing(), [own], [])  # type: ignore[arg-type]
