"""`pypm verify`: every file that differs is named, with its package, and a repair makes all of them right."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

import sandbox
from pypm.cli.app import main
from pypm.codec.manifest import dump_manifest, load_entries, load_header
from pypm.digest import sha256_hex
from tests.support.index_server import IndexServer, make_wheel

_host = sandbox.probe()
pytestmark = pytest.mark.skipif(not _host.namespaces, reason=f"no sandbox on this machine: {_host.cause}")

PROJECT = """\
[project]
name = "p"
version = "1"
requires-python = ">=3.10"
dependencies = ["alpha", "beta"]

[tool.pypm]
package = false
"""
ENTRY_POINTS = b"[console_scripts]\nalpha-tool = alpha:main\n"


class Line:
    """The command line in a synced project."""

    def __init__(self, root: Path, cache: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.cache = cache
        self.capture = capture

    def __call__(self, *words: str, code: int = 0) -> tuple[str, str]:
        self.capture.readouterr()
        got = main(words)
        told = self.capture.readouterr()
        assert got == code, (got, told.out, told.err)
        return told.out, told.err

    def verify(self, *flags: str, code: int = 3) -> list[tuple[str, str | None, str]]:
        answer = json.loads(self("verify", "--json", *flags, code=code)[0])
        return [(one["what"], one["package"], one["path"]) for one in answer["differences"]]

    @property
    def site_packages(self) -> Path:
        (found,) = (self.root / ".venv/lib").glob("python*/site-packages")
        return found

    def tree(self, name: str) -> Path:
        (found,) = self.cache.glob(f"store-v1/??/*/prefix/lib/*/site-packages/{name}")
        return found.parents[4]


@pytest.fixture
def pypm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Line]:
    with IndexServer() as server:
        files = {
            "alpha/__init__.py": b"def main():\n    print('alpha')\n",
            "alpha/more.py": b"VALUE = 1\n",
            "alpha-1.0.dist-info/entry_points.txt": ENTRY_POINTS,
            "alpha-1.0.data/scripts/alpha-script": b"#!python\nprint(1)\n",
        }
        server.add("alpha", make_wheel("alpha", "1.0", files=files))
        server.add("beta", make_wheel("beta", "1.0", files={"beta/__init__.py": b"VALUE = 2\n"}))
        root = tmp_path / "p"
        root.mkdir()
        (root / "pyproject.toml").write_text(PROJECT)
        monkeypatch.chdir(root)
        monkeypatch.setenv("PYPM_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setenv("PYPM_DEFAULT_INDEX", server.url)
        line = Line(root, tmp_path / "cache", capsys)
        line("sync")
        yield line


def rewrite(path: Path, content: bytes) -> None:
    """Replace a file by one of the same mode and time: only its content tells."""
    status = path.stat()
    path.unlink()
    path.write_bytes(content)
    path.chmod(status.st_mode & 0o7777)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def write_through(path: Path, content: bytes) -> None:
    """Write into a file that others link, and hide it: same size, mode and time."""
    status = path.stat()
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(status.st_mode & 0o7777)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_fresh_environment_is_sound(pypm: Line) -> None:
    out, told = pypm("verify")
    assert out == ""
    assert "Verified 2 packages" in told
    answer = json.loads(pypm("verify", "--json")[0])
    assert answer["sound"] is True
    assert answer["witnesses"] == {"archive": 2}
    assert "sha256:" + answer["digest"].removeprefix("sha256:") == pypm("sync")[0].strip()


def test_an_environment_without_packages_is_sound(pypm: Line) -> None:
    project = pypm.root / "pyproject.toml"
    project.write_text(project.read_text().replace('["alpha", "beta"]', "[]"))
    pypm("sync")
    assert pypm.verify(code=0) == []


def test_one_changed_byte_of_the_environment_is_named(pypm: Line) -> None:
    rewrite(pypm.site_packages / "beta/__init__.py", b"VALUE = 3\n")
    path = f".venv/{(pypm.site_packages / 'beta/__init__.py').relative_to(pypm.root / '.venv')}"
    assert pypm.verify() == [("changed", "beta", path)]
    out, told = pypm("verify", code=3)
    assert out.split() == ["changed", "beta", path]
    assert "--repair" in told


def test_a_write_through_a_hard_link_is_found_in_both_places(pypm: Line) -> None:
    write_through(pypm.site_packages / "alpha/more.py", b"VALUE = 9\n")
    found = pypm.verify()
    assert [(what, package) for what, package, _ in found] == [("changed", "alpha")] * 2
    assert found[0][2] == str(pypm.tree("alpha") / "prefix" / found[1][2].removeprefix(".venv/"))


def test_a_sync_makes_anew_what_was_written_through_a_hard_link(pypm: Line) -> None:
    module = pypm.site_packages / "alpha/more.py"
    good = module.read_bytes()
    for name in ("alpha/more.py", "beta/__init__.py"):
        path = pypm.site_packages / name
        path.chmod(0o644)
        path.write_bytes(path.read_bytes() + b"EVIL = True\n")
    shutil.rmtree(pypm.root / ".venv")
    _, told = pypm("sync")
    assert told.count("since it was unpacked: it is made anew") == 2
    assert module.read_bytes() == good
    assert pypm.verify(code=0) == []


Damage = Callable[[Line], Path]


def added_module(pypm: Line) -> Path:
    path = pypm.site_packages / "alpha/evil.py"
    path.write_text("")
    return path


def added_startup(pypm: Line) -> Path:
    path = pypm.site_packages / "evil.pth"
    path.write_text("import os\n")
    return path


def added_bytecode(pypm: Line) -> Path:
    path = pypm.site_packages / "beta/__pycache__/other.cpython-311.pyc"
    path.write_text("")
    return path


def added_link(pypm: Line) -> Path:
    path = pypm.site_packages / "linked"
    path.symlink_to("/usr")
    return path


def added_folder(pypm: Line) -> Path:
    path = pypm.site_packages / "namespace"
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("damage", "package"),
    [
        (added_module, "alpha"),
        (added_startup, None),
        (added_bytecode, "beta"),
        (added_link, None),
        (added_folder, None),
    ],
)
def test_what_was_added_by_hand_is_named(pypm: Line, damage: Damage, package: str | None) -> None:
    path = damage(pypm)
    slash = "/" if path.is_dir() and not path.is_symlink() else ""
    assert pypm.verify() == [("added", package, f"{path.relative_to(pypm.root)}{slash}")]
    assert pypm.verify("--repair", code=0) != []
    assert pypm.verify(code=0) == []
    assert not os.path.lexists(path)


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("bin/alpha-tool", "alpha"),
        ("bin/alpha-script", "alpha"),
        ("bin/activate", None),
        ("pyvenv.cfg", None),
        ("pypm-state", None),
    ],
)
def test_generated_files_are_checked_too(pypm: Line, name: str, package: str | None) -> None:
    path = pypm.root / ".venv" / name
    rewrite(path, path.read_bytes()[:-1] + b"#")
    if name != "pypm-state":
        assert pypm.verify() == [("changed", package, f".venv/{name}")]
    path.write_bytes(b"other")
    assert pypm.verify() == [("changed", package, f".venv/{name}")]
    path.unlink()
    assert pypm.verify() == [("missing", package, f".venv/{name}")]
    pypm.verify("--repair", code=0)
    assert pypm.verify(code=0) == []


def test_a_folder_that_nothing_says_is_an_environment_is_not_repaired(pypm: Line) -> None:
    """It may be somebody's work."""
    for name in ("pyvenv.cfg", "pypm-state"):
        (pypm.root / ".venv" / name).unlink()
    _, told = pypm("verify", "--repair", code=1)
    assert "no virtual environment" in told


def test_the_interpreter_link_is_checked(pypm: Line) -> None:
    (pypm.root / ".venv/bin/python").unlink()
    (pypm.root / ".venv/bin/python").symlink_to("/bin/true")
    assert pypm.verify() == [("changed", None, ".venv/bin/python")]


def test_the_generated_layer_that_run_mounts_is_checked(pypm: Line) -> None:
    (script,) = pypm.cache.glob("environments-v1/*/bin/alpha-tool")
    rewrite(script, script.read_bytes() + b"# more\n")
    assert pypm.verify() == [("changed", "alpha", str(script))]
    pypm.verify("--repair", code=0)
    assert b"# more" not in script.read_bytes()


def test_a_file_that_was_added_to_the_store_is_named(pypm: Line) -> None:
    folder = pypm.tree("beta") / "prefix"
    folder.chmod(0o755)
    (folder / "sitecustomize.py").write_text("")
    assert pypm.verify() == [("added", "beta", str(folder / "sitecustomize.py"))]
    pypm.verify("--repair", code=0)
    assert not (folder / "sitecustomize.py").exists()


def test_a_manifest_that_was_rewritten_to_fit_is_found_by_the_archive(pypm: Line) -> None:
    """The careful attacker: file and manifest are changed together, checksums and all."""
    tree = pypm.tree("beta")
    content = (tree / "manifest").read_bytes()
    header = load_header(content, tree=tree)
    entries = list(load_entries(content, header))
    (number,) = [n for n, entry in enumerate(entries) if entry.archive_path == "beta/__init__.py"]
    evil = b"VALUE = 7\n"
    write_through(tree / "prefix" / entries[number].path, evil)
    entries[number] = replace(entries[number], sha256=sha256_hex(evil))
    forged = dump_manifest(
        header.wheel, entries, site_packages=header.site_packages, mtime_ns=header.mtime_ns
    )
    tree.chmod(0o755)
    rewrite(tree / "manifest", forged)
    found = pypm.verify()
    assert ("changed", "beta", f"{tree}/beta/__init__.py") in found
    pypm.verify("--repair", code=0)
    assert (pypm.site_packages / "beta/__init__.py").read_bytes() == b"VALUE = 2\n"


def test_a_damaged_manifest_is_named_and_repaired(pypm: Line) -> None:
    tree = pypm.tree("alpha")
    tree.chmod(0o755)
    rewrite(tree / "manifest", (tree / "manifest").read_bytes()[:-5])
    assert pypm.verify() == [("changed", "alpha", f"{tree}/manifest")]
    pypm.verify("--repair", code=0)
    assert pypm.verify(code=0) == []


def test_a_repair_downloads_what_the_cache_has_lost(pypm: Line) -> None:
    shutil.rmtree(pypm.cache / "wheels")
    assert json.loads(pypm("verify", "--json")[0])["witnesses"] == {"manifest": 2}
    write_through(pypm.site_packages / "alpha/more.py", b"VALUE = 9\n")
    assert len(pypm.verify("--repair", code=0)) == 2
    assert (pypm.site_packages / "alpha/more.py").read_bytes() == b"VALUE = 1\n"
    assert pypm.verify(code=0) == []


def test_an_edited_lock_is_refused_before_anything_is_looked_at(pypm: Line) -> None:
    lock = pypm.root / "pypm.lock"
    lock.write_text(lock.read_text().replace('version = "1.0"', 'version = "1.1"', 1))
    _, told = pypm("verify", code=3)
    assert "lock-hash" in told
    assert "Verified" not in told


def test_a_stale_lock_is_for_the_user_to_mend(pypm: Line) -> None:
    project = pypm.root / "pyproject.toml"
    project.write_text(project.read_text().replace('"beta"', '"beta>=1"'))
    _, told = pypm("verify", code=1)
    assert "stale" in told
    pypm("verify", "--frozen")


def test_without_an_environment_on_disk_that_is_what_is_missing(pypm: Line) -> None:
    shutil.rmtree(pypm.root / ".venv")
    assert pypm.verify() == [("missing", None, ".venv")]
    pypm.verify("--repair", code=0)
    assert (pypm.site_packages / "alpha").is_dir()


def test_packages_that_the_store_lost_are_named(pypm: Line) -> None:
    pypm("cache", "clean")
    assert {(what, package) for what, package, _ in pypm.verify()} == {
        ("missing", "alpha"),
        ("missing", "beta"),
    }
    pypm.verify("--repair", code=0)
    assert pypm.verify(code=0) == []
