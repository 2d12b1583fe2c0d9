"""Scripts with inline metadata (PEP 723): resolved without a lock file, run in their own environment."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import sandbox
from pypm.cli.app import main
from pypm.codec.script import parse_script
from pypm.errors import ConfigurationError
from tests.support.index_server import IndexServer, make_wheel

_host = sandbox.probe()
needs_sandbox = pytest.mark.skipif(not _host.namespaces, reason=f"no sandbox on this machine: {_host.cause}")

SCRIPT = """\
#!/usr/bin/env python
# /// script
# requires-python = ">=3.10"
# dependencies = [
#     "demo<3",
# ]
#
# [tool.pypm]
# prerelease = "allow"
# ///
import os, sys, demo
beside = os.listdir(os.path.dirname(__file__))
print(demo.VERSION, sys.argv[1:], sorted(name for name in beside if name.endswith(".py")))
"""


def parsed(text: str) -> object:
    return parse_script(text.encode(), path=Path("/x/My script.py"))


def test_the_block_is_read() -> None:
    for text in (SCRIPT, SCRIPT.replace("\n", "\r\n"), "\ufeff" + SCRIPT):
        project = parse_script(text.encode(), path=Path("/x/My script.py"))
        assert (project.name, project.root) == ("my-script", Path("/x"))
        assert [str(one) for one in project.dependencies] == ["demo<3"]
        assert str(project.requires_python) == ">=3.10"
        assert project.settings.prerelease == "allow"
        assert not project.is_package


def test_other_blocks_are_left_alone_and_the_last_line_needs_no_end() -> None:
    text = "# /// other\n# x = 1\n# ///\n\n# /// script\n# dependencies = []\n# ///"
    assert parse_script(text.encode(), path=Path("/x/a.py")).dependencies == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("# /// script\n# dependencies = []\n", "a block that does not end"),
        ("# /// script\n# x = 1\n# ///\n\n# /// script\n# x = 1\n# ///\n", "2 blocks"),
        ("# /// script\n# dependencies = [\n# ///\n", "TOML"),
        ("# /// script\n# dependancies = []\n# ///\n", "dependancies"),
        ("# /// script\n# dependencies = ['a b']\n# ///\n", "dependencies[0]"),
        ("# /// script\n# [tool.pypm.sandbox]\n# allow-net = true\n# ///\n", "grants itself nothing"),
    ],
)
def test_a_malformed_block_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parsed(text)
    assert says in "\n".join((caught.value.message, *caught.value.details))


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[IndexServer]:
    with IndexServer() as server:
        for version in ("1.0", "2.0", "3.0"):
            files = {"demo/__init__.py": f"VERSION = {version!r}\n".encode()}
            server.add("demo", make_wheel("demo", version, files=files))
        (tmp_path / "here").mkdir()
        (tmp_path / "home").mkdir()
        monkeypatch.chdir(tmp_path / "here")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        monkeypatch.setenv("PYPM_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setenv("PYPM_DEFAULT_INDEX", server.url)
        yield server


@needs_sandbox
def test_a_script_runs_outside_of_any_project(
    server: IndexServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "some scripts" / "x.py"
    place.parent.mkdir()
    place.write_text(SCRIPT)
    (place.parent / "beside.py").touch()
    assert main(["run", "../some scripts/x.py", "a", "-b"]) == 0
    told = capfd.readouterr()
    assert told.out.startswith("2.0 ['a', '-b'] ['x.py']")
    assert sorted(path.name for path in place.parent.iterdir()) == ["beside.py", "x.py"]
    asked = len(server.requests)
    assert main(["--offline", "run", "../some scripts/x.py"]) == 0
    assert len(server.requests) == asked


@needs_sandbox
def test_a_script_in_the_home_sees_itself_alone(
    server: IndexServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "home" / "x.py"
    place.write_text(SCRIPT)
    (place.parent / "secret.py").touch()
    assert main(["run", str(place)]) == 0
    assert capfd.readouterr().out == "2.0 [] ['x.py']\n"


_REACH = """\
# /// script
# dependencies = ["demo"]
# ///
import os
here = os.path.dirname(os.path.abspath(__file__))
for place in ("other/.git/hooks/post-checkout", "pyproject.toml", "beside.txt"):
    try:
        with open(f"{here}/{place}", "a") as stream:
            stream.write("planted")
        print("wrote", place)
    except OSError as error:
        print(type(error).__name__, place)
print(os.getcwd())
"""


@needs_sandbox
def test_a_script_reaches_nothing_beside_itself_unless_it_is_granted(
    server: IndexServer, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "work"
    (place / "other" / ".git" / "hooks").mkdir(parents=True)
    (place / "x.py").write_text(_REACH)
    monkeypatch.chdir(place)
    assert main(["run", "x.py"]) == 0
    # The sandbox's own `/tmp`, in which this test lies, may be written.
    assert capfd.readouterr().out.endswith("/home/user\n")
    assert sorted(path.name for path in place.rglob("*")) == [".git", "hooks", "other", "x.py"]
    assert main(["run", "--allow-read", ".", "x.py"]) == 0
    assert (told := capfd.readouterr().out).endswith(f"{place}\n")
    assert "wrote" not in told
    assert main(["run", "--allow-write", "other", "x.py"]) == 0
    assert (place / "other" / ".git" / "hooks" / "post-checkout").read_text() == "planted"
    assert not (place / "pyproject.toml").exists()


@needs_sandbox
def test_a_script_of_a_project_sees_it_as_the_projects_own_runs_do(
    server: IndexServer, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "project"
    (place / "tools").mkdir(parents=True)
    (place / "pyproject.toml").write_text('[project]\nname = "p"\nversion = "1"\n')
    (place / "tools" / "x.py").write_text(
        _REACH.replace("abspath(__file__)", "dirname(os.path.abspath(__file__))")
    )
    monkeypatch.chdir(place / "tools")
    assert main(["run", "x.py"]) == 0
    told = capfd.readouterr().out
    assert "wrote beside.txt" in told
    assert "OSError pyproject.toml" in told
    assert told.endswith(f"{place}/tools\n")


def test_a_script_has_no_lock(server: IndexServer, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("x.py").write_text(SCRIPT)
    assert main(["run", "--frozen", "x.py"]) == 2
    assert "has no lock" in capfd.readouterr().err


def test_where_the_user_wants_signatures_a_script_does_not_run(
    server: IndexServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("x.py").write_text(SCRIPT)
    monkeypatch.setenv("PYPM_ALLOWED_SIGNERS", "signers")
    assert main(["run", "x.py"]) == 3
    assert "no lock that somebody could have signed" in capfd.readouterr().err
    assert not server.requests
