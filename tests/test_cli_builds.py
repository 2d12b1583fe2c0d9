"""Builds through the command line: the project, path dependencies, sdists; the backend is from an index."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import sandbox
from pypm.cli.app import main
from tests.support.index_server import IndexServer, make_sdist, make_wheel

_host = sandbox.probe()
pytestmark = pytest.mark.skipif(not _host.namespaces, reason=f"no sandbox on this machine: {_host.cause}")

BACKEND = b"""
import base64, hashlib, os, re, zipfile
from pathlib import Path

def _facts():
    text = Path("pyproject.toml").read_text()
    return [re.search(rf'^{key} = "(.*)"$', text, re.M)[1] for key in ("name", "version")]

def _wheel(folder, files):
    name, version = _facts()
    info = f"{name}-{version}.dist-info"
    files = dict(files)
    files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    files[f"{info}/entry_points.txt"] = f"[console_scripts]\\n{name}-cli = {name}:main\\n"
    rows = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(text.encode())}\\n")
    files[f"{info}/RECORD"] = "".join([*rows, f"{info}/RECORD,,\\n"])
    filename = f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(Path(folder) / filename, "w") as archive:
        for path, text in files.items():
            archive.writestr(zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0)), text)
    return filename

def build_wheel(folder, config_settings=None, metadata_directory=None):
    import helper
    if Path("hostile.py").exists():
        exec(Path("hostile.py").read_text())
    name, _ = _facts()
    print("building", name)
    return _wheel(folder, {f"{name}/__init__.py": Path(name, "__init__.py").read_text()})

def build_editable(folder, config_settings=None, metadata_directory=None):
    name, _ = _facts()
    return _wheel(folder, {f"_{name}.pth": os.getcwd() + "\\n"})
"""

BUILD_SYSTEM = """
[build-system]
requires = ["tiny-backend"]
build-backend = "tiny_backend"
"""


def tree(root: Path, name: str, *, more: str = "", version: str = "1.0") -> Path:
    """Write a source tree whose module says where it is from."""
    (root / name).mkdir(parents=True)
    (root / name / "__init__.py").write_text(f"def main():\n    print('{name} from', __file__)\n")
    (root / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "{version}"\nrequires-python = ">=3.10"\n{more}\n'
        f"{BUILD_SYSTEM}"
    )
    return root


class Line:
    """The command line, and the index that it asks."""

    def __init__(self, root: Path, server: IndexServer, capture: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.server = server
        self.capture = capture

    def __call__(self, *words: str, code: int = 0) -> tuple[str, str]:
        self.capture.readouterr()
        got = main(words)
        told = self.capture.readouterr()
        assert got == code, told.err
        return told.out, told.err


@pytest.fixture
def pypm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Line]:
    with IndexServer() as server:
        backend = make_wheel("tiny-backend", "1.0", requires=["helper"], files={"tiny_backend.py": BACKEND})
        server.add("tiny-backend", backend)
        server.add("helper", make_wheel("helper", "1.0", files={"helper.py": b""}))
        root = tmp_path / "project"
        monkeypatch.setenv("PYPM_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setenv("PYPM_DEFAULT_INDEX", server.url)
        root.mkdir()
        monkeypatch.chdir(root)
        yield Line(root, server, capfd)


def sdist(name: str, *, hostile: str | None = None):  # type: ignore[no-untyped-def]
    files = {f"{name}/__init__.py": f"def main():\n    print('{name} built')\n".encode()}
    if hostile is not None:
        files["hostile.py"] = hostile.encode()
    pyproject = f'[project]\nname = "{name}"\nversion = "1.0"\n{BUILD_SYSTEM}'
    return make_sdist(name, "1.0", pyproject=pyproject, files=files)


def test_the_project_is_built_editable_and_only_again_when_it_must(pypm: Line) -> None:
    tree(pypm.root, "demo")
    _, told = pypm("sync")
    assert "Building demo" in told
    out, _ = pypm("run", "demo-cli")
    assert out == f"demo from {pypm.root}/demo/__init__.py\n"
    (pypm.root / "demo" / "__init__.py").write_text("def main():\n    print('edited')\n")
    asked = pypm.server.count()
    out, told = pypm("run", "demo-cli")
    assert out == "edited\n"
    assert "Building" not in told
    assert pypm.server.count() == asked
    text = (pypm.root / "pyproject.toml").read_text()
    (pypm.root / "pyproject.toml").write_text(text.replace('version = "1.0"', 'version = "1.1"'))
    _, told = pypm("sync", "--locked")
    assert "Building demo" in told, "the project's own version is no part of the lock"
    assert "+ demo 1.1" in told


def test_the_digest_does_not_depend_on_the_project_itself(pypm: Line) -> None:
    tree(pypm.root, "demo")
    first, _ = pypm("sync")
    without, _ = pypm("sync", "--no-install-project")
    assert first == without
    assert not (pypm.root / ".venv/bin/demo-cli").exists()


def test_an_sdist_is_built_in_the_sandbox_once(pypm: Line) -> None:
    pypm.server.add("old", sdist("old"))
    tree(pypm.root, "demo", more='dependencies = ["old"]')
    _, told = pypm("sync")
    assert "Building old" in told
    assert pypm("run", "old-cli")[0] == "old built\n"
    digest, told = pypm("sync", "--frozen")
    assert "Nothing to do" in told
    (pypm.root / ".venv" / "pypm-state").unlink()
    again, told = pypm("sync", "--frozen", "--offline")
    assert again == digest
    assert "Building" not in told


def test_building_twice_gives_the_same_bytes(
    pypm: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pypm.server.add("old", sdist("old"))
    tree(pypm.root, "demo", more='dependencies = ["old"]')
    first, _ = pypm("sync")
    monkeypatch.setenv("PYPM_CACHE_DIR", str(tmp_path / "another-cache"))
    (pypm.root / ".venv" / "pypm-state").unlink()
    second, told = pypm("sync", "--frozen")
    assert "Building old" in told
    assert first == second


@pytest.mark.parametrize("editable", [True, False])
def test_path_dependencies(pypm: Line, tmp_path: Path, editable: bool) -> None:
    tree(tmp_path / "near", "near")
    source = f'[tool.pypm.sources]\nnear = {{path = "../near", editable = {str(editable).lower()}}}'
    tree(pypm.root, "demo", more='dependencies = ["near"]')
    with (pypm.root / "pyproject.toml").open("a") as stream:
        stream.write(source + "\n")
    pypm("sync")
    out, _ = pypm("run", "near-cli")
    expected = tmp_path / "near" if editable else pypm.root / ".venv"
    assert out.startswith(f"near from {expected}")
    (tmp_path / "near/near/__init__.py").write_text("def main():\n    print('edited')\n")
    assert pypm("run", "near-cli")[0] == "edited\n"


def test_a_failing_build_shows_its_log(pypm: Line) -> None:
    pypm.server.add("old", sdist("old", hostile="print('about to fail'); raise SystemExit('no compiler')"))
    tree(pypm.root, "demo", more='dependencies = ["old"]')
    _, told = pypm("sync", code=1)
    assert "could not be built" in told
    assert "about to fail" in told
    assert not (pypm.root / ".venv").exists()


def test_a_build_reads_no_secret_and_reaches_no_network(
    pypm: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret")
    monkeypatch.setenv("TOKEN", "s3cret")
    host, port = pypm.server.host.split(":")
    hostile = f"""
import os, socket
assert "TOKEN" not in os.environ
assert not os.path.exists({str(secret)!r})
try:
    socket.create_connection(({host!r}, {port}), timeout=2)
except OSError:
    pass
else:
    raise SystemExit("the network is there")
"""
    pypm.server.add("old", sdist("old", hostile=hostile))
    tree(pypm.root, "demo", more='dependencies = ["old"]')
    pypm("sync")
    assert pypm("run", "old-cli")[0] == "old built\n"


def test_an_sdist_of_another_content_is_refused(pypm: Line) -> None:
    pypm.server.add("old", sdist("old"))
    tree(pypm.root, "demo", more='dependencies = ["old"]')
    pypm("lock")
    pypm.server.remove("old")
    pypm.server.add("old", sdist("old", hostile="print('evil')"))
    digest = hashlib.sha256((pypm.root / "pypm.lock").read_bytes()).hexdigest()
    (Path(str(pypm.root.parent)) / "cache" / "wheels").rename(pypm.root.parent / "gone")
    _, told = pypm("sync", "--frozen", code=3)
    assert "old-1.0.tar.gz" in told
    assert hashlib.sha256((pypm.root / "pypm.lock").read_bytes()).hexdigest() == digest


@pytest.mark.parametrize("editable", [True, False])
def test_what_came_from_no_index_says_where_it_is_from(pypm: Line, tmp_path: Path, editable: bool) -> None:
    tree(tmp_path / "near", "near")
    wheel = make_wheel("whole", "1.0")
    (tmp_path / wheel.filename).write_bytes(wheel.content)
    more = 'dependencies = ["near", "whole", "helper"]\n[tool.pypm.sources]\n'
    more += f'near = {{path = "../near", editable = {str(editable).lower()}}}\n'
    tree(pypm.root, "project", more=f'{more}whole = {{path = "../{wheel.filename}"}}')
    pypm("sync")
    found = {
        path.parent.name.partition("-")[0]: json.loads(path.read_text())
        for path in (pypm.root / ".venv").glob("lib/python*/site-packages/*.dist-info/direct_url.json")
    }
    assert found == {
        "near": {
            "url": (tmp_path / "near").as_uri(),
            "dir_info": {"editable": True} if editable else {},
        },
        "project": {"url": pypm.root.as_uri(), "dir_info": {"editable": True}},
        "whole": {
            "url": (tmp_path / wheel.filename).as_uri(),
            "archive_info": {"hashes": {"sha256": wheel.sha256}},
        },
    }
    pypm("verify")


def test_a_local_wheel_is_the_locked_one_or_refused(pypm: Line, tmp_path: Path) -> None:
    wheel = make_wheel("whole", "1.0")
    place = tmp_path / "a folder" / wheel.filename
    place.parent.mkdir()
    place.write_bytes(wheel.content)
    (pypm.root / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\ndependencies = ["whole"]\n'
        f'[tool.pypm.sources]\nwhole = {{path = "../a folder/{wheel.filename}"}}\n'
    )
    pypm("lock")
    place.write_bytes(make_wheel("whole", "1.0", requires=["other"]).content)
    _, told = pypm("sync", code=3)
    assert "is not the file that was locked" in told
    place.unlink()
    _, told = pypm("sync", "--frozen", code=1)
    assert f"`{place}` does not exist" in told
    place.write_bytes(wheel.content)
    pypm("sync", "--frozen")


def test_a_folder_of_files_serves_as_an_index(
    pypm: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = make_wheel("whole", "1.0")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / wheel.filename).write_bytes(wheel.content)
    (pypm.root / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\ndependencies = ["whole"]\n'
        '[[tool.pypm.index]]\nname = "near"\nurl = "../files"\nformat = "flat"\n'
    )
    (pypm.root / "src").mkdir()
    monkeypatch.chdir(pypm.root / "src")
    pypm("sync")
    pypm("run", "python", "-c", "import whole")
