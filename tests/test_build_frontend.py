"""Builds in the sandbox, with a backend that lies in the source tree itself."""

from __future__ import annotations

import dataclasses
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from msgspec.structs import replace

from pypm.build.frontend import Workbench, build_metadata, build_requires, build_wheel
from pypm.build.project import project_tree
from pypm.build.tree import SourceTree
from pypm.errors import BuildError
from pypm.isolation import BUILD_ENVIRONMENT, RunOptions
from tests.support.builds import empty_environment, sample_tree

SECRET = "do-not-read-this"


@dataclass(frozen=True, kw_only=True)
class Site:
    """A folder for a test with everything that a build needs."""

    folder: Path
    bench: Workbench

    def tree(self, behaviour: str = "", *, editable: bool = False) -> SourceTree:
        root = sample_tree(self.folder / "tree", behaviour=behaviour, editable=editable)
        return project_tree(root, name="sample", editable=editable)

    def build(self, behaviour: str = "") -> Path:
        return build_wheel(self.tree(behaviour), self.bench, self.folder / "dist")

    def failure(self, behaviour: str) -> BuildError:
        with pytest.raises(BuildError) as caught:
            self.build(behaviour)
        assert list((self.folder / "scratch").iterdir()) == []
        return caught.value


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    home = tmp_path / "home"
    home.mkdir()
    (home / "secret").write_text(SECRET)
    monkeypatch.setenv("BUILD_SECRET", SECRET)
    (tmp_path / "scratch").mkdir()
    bench = Workbench(
        home=home,
        environment=empty_environment(BUILD_ENVIRONMENT, tmp_path / "base"),
        scratch=tmp_path / "scratch",
        variables=os.environ,
    )
    return Site(folder=tmp_path, bench=bench)


def test_a_wheel_is_built_and_nothing_else_changes(site: Site) -> None:
    source = site.tree()
    before = sorted((path, path.lstat().st_mtime_ns) for path in source.root.rglob("*"))
    wheel = build_wheel(source, site.bench, site.folder / "dist")
    assert wheel == site.folder / "dist" / "sample-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("sample/__init__.py") == b"VALUE = 1\n"
    assert sorted((path, path.lstat().st_mtime_ns) for path in source.root.rglob("*")) == before
    assert list((site.folder / "scratch").iterdir()) == []


def test_building_twice_gives_the_same_bytes_wherever_the_tree_lies(site: Site) -> None:
    first = build_wheel(site.tree(), site.bench, site.folder / "one").read_bytes()
    moved = site.folder / "elsewhere" / "deeper"
    moved.parent.mkdir()
    (site.folder / "tree").rename(moved)
    source = project_tree(moved, name="sample", editable=False)
    assert build_wheel(source, site.bench, site.folder / "two").read_bytes() == first


def test_a_build_sees_no_secret_no_home_and_no_network(site: Site) -> None:
    home = str(site.bench.home)
    behaviour = f"""
import os, pathlib, socket
assert "BUILD_SECRET" not in os.environ, "variable"
assert not pathlib.Path({home!r}).exists(), "home"
assert list(pathlib.Path.home().iterdir()) == [], "own home"
try:
    assert b"BUILD_SECRET" not in pathlib.Path("/proc/1/environ").read_bytes(), "init"
except PermissionError:
    pass
assert os.getcwd() == "/build/source", os.getcwd()
try:
    socket.create_connection(("192.0.2.1", 80), timeout=5)
except TimeoutError:
    raise SystemExit("there is a route")
except OSError:
    pass
for place in ("/build/env/x", "/usr/x", "/build/request.json"):
    try:
        open(place, "w")
    except OSError:
        continue
    raise SystemExit("wrote " + place)
"""
    assert site.build(behaviour).is_file()


def test_a_build_has_the_variables_that_make_it_repeat(site: Site) -> None:
    behaviour = """
import os
assert os.environ["SOURCE_DATE_EPOCH"] == "315532800"
assert os.environ["PYTHONHASHSEED"] == "0" and hash("a") == hash("a")
assert os.environ["TZ"] == "UTC" and os.environ["LC_ALL"] == "C.UTF-8"
assert os.environ["PATH"].startswith("/build/env/bin:")
mask = os.umask(0); assert mask == 0o022, oct(mask)
"""
    assert site.build(behaviour).is_file()


def test_a_profile_can_hand_a_variable_in(site: Site) -> None:
    bench = dataclasses.replace(site.bench, options=RunOptions(allow_env=("BUILD_SECRET",)))
    behaviour = f"import os; assert os.environ['BUILD_SECRET'] == {SECRET!r}"
    assert build_wheel(site.tree(behaviour), bench, site.folder / "dist").is_file()


def test_a_failed_build_shows_the_end_of_its_log_and_the_mend(site: Site) -> None:
    seen: list[str] = []
    site = dataclasses.replace(site, bench=dataclasses.replace(site.bench, on_line=seen.append))
    error = site.failure("print('compiling'); import numpy_that_is_not_there")
    assert error.reference == "build-failed"
    assert "`sample` could not be built: `build_wheel` of `sample_backend` failed" in error.message
    assert "compiling" in error.details and "compiling" in seen
    assert any("ModuleNotFoundError" in line for line in error.details)
    assert error.hint is not None and "`numpy_that_is_not_there`" in error.hint


def test_a_build_that_wants_the_network_is_told_so(site: Site) -> None:
    error = site.failure("import socket; socket.getaddrinfo('example.com', 443)")
    assert error.hint is not None and "`allow-net`" in error.hint


def test_a_build_that_takes_too_long_is_ended(site: Site) -> None:
    bench = dataclasses.replace(site.bench, options=RunOptions(timeout_seconds=1.0))
    error = dataclasses.replace(site, bench=bench).failure("import time; time.sleep(600)")
    assert "took longer than its `timeout` allows" in error.message


def test_a_build_ended_by_a_signal_says_which(site: Site) -> None:
    error = site.failure("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert error.reference == "build-failed"


def test_a_process_left_behind_does_not_hold_the_build(site: Site) -> None:
    assert site.build(
        "import subprocess; subprocess.Popen(['sleep', '600'], start_new_session=True)"
    ).is_file()


@pytest.mark.parametrize(
    "behaviour",
    [
        # The wheel is a link to something that only exists outside; following it would hand it out.
        "import os; os.symlink('/etc/hostname', '/build/output/sample-1.0-py3-none-any.whl'); "
        "import sys; sys.modules['sample_backend']._write = lambda f, name, files: name",
        "import sys; sys.modules['sample_backend']._write = lambda f, name, files: '../../x.whl'",
        "import sys; sys.modules['sample_backend']._write = lambda f, name, files: 'missing.whl'",
        "import sys; sys.modules['sample_backend']._write = lambda f, name, files: {'a': 1}",
        "import sys; sys.modules['sample_backend']._write = lambda f, name, files: 'x.exe'",
    ],
)
def test_a_backend_that_lies_about_its_wheel_is_refused(site: Site, behaviour: str) -> None:
    assert site.failure(behaviour).reference == "build-protocol"
    assert list((site.folder / "dist").glob("*")) == []


def test_an_answer_written_by_hostile_code_is_only_data(site: Site) -> None:
    behaviour = """
import os, atexit
def lie():
    for name in ("/build/answer/answer.json",):
        os.symlink("/etc/passwd", name)
lie()
"""
    with pytest.raises(BuildError):
        site.build(behaviour)


def test_requirements_of_the_hook_are_read(site: Site) -> None:
    source = site.tree()
    assert [str(item) for item in build_requires(source, site.bench)] == ["wheel>=0.40"]
    found = build_requires(source, site.bench, config_settings={"extra": "cmake ninja>=1.11"})
    assert [str(item) for item in found] == ["wheel>=0.40", "cmake", "ninja>=1.11"]
    assert build_requires(source, site.bench, kind="editable") == ()
    with pytest.raises(BuildError) as caught:
        build_requires(source, site.bench, config_settings={"extra": "not;a;requirement"})
    assert caught.value.reference == "build-protocol"


def test_metadata_of_a_backend_without_the_hook_comes_from_a_wheel(site: Site) -> None:
    metadata = build_metadata(site.tree(), site.bench)
    assert b"Name: sample\nVersion: 1.0\n" in metadata


def test_an_editable_wheel_points_at_the_real_tree(site: Site) -> None:
    source = site.tree("open('written-by-the-backend', 'w').close()", editable=True)
    wheel = build_wheel(source, site.bench, site.folder / "dist", editable=True)
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("sample.pth").decode().strip() == str(source.root)
    assert not (source.root / "written-by-the-backend").exists()


def test_compiled_modules_of_an_editable_build_are_brought_home_and_nothing_else(site: Site) -> None:
    outside = site.folder / "outside"
    outside.mkdir()
    behaviour = """
from pathlib import Path
for place in ("sample/fast.so", "build/lib/fast.so", "linked/evil.so", "sample/new.py", "sample/taken.so"):
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    Path(place).write_text("compiled")
Path("sample/link.so").symlink_to("/etc/passwd")
"""
    source = site.tree(behaviour, editable=True)
    (source.root / "sample" / "taken.so").mkdir()
    (source.root / "linked").symlink_to(outside)
    behaviour_file = source.root / "behaviour.py"
    behaviour_file.write_text("import os; os.unlink('linked'); os.rmdir('sample/taken.so')\n" + behaviour)
    before = {path.relative_to(source.root).as_posix() for path in source.root.rglob("*")}
    build_wheel(source, site.bench, site.folder / "dist", editable=True)
    after = {path.relative_to(source.root).as_posix() for path in source.root.rglob("*")}
    assert after - before == {"sample/fast.so"}
    assert (source.root / "sample" / "fast.so").read_text() == "compiled"
    assert list(outside.iterdir()) == []


def test_a_backend_without_editable_builds_is_told_apart(site: Site) -> None:
    with pytest.raises(BuildError) as caught:
        build_wheel(site.tree(), site.bench, site.folder / "dist", editable=True)
    assert caught.value.reference == "no-editable-build"
    assert caught.value.hint is not None


def test_a_backend_that_cannot_be_imported_is_told_apart(site: Site) -> None:
    source = site.tree()
    system = replace(source.system, backend="no_such_backend", backend_path=())
    with pytest.raises(BuildError) as caught:
        build_wheel(dataclasses.replace(source, system=system), site.bench, site.folder / "dist")
    assert caught.value.reference == "backend-unavailable"
    assert caught.value.hint is not None and "build-system.requires" in caught.value.hint


def test_the_trees_git_folder_is_seen_and_not_written(site: Site) -> None:
    source = site.tree(
        "import pathlib; assert pathlib.Path('.git/HEAD').read_text() == 'ref: x'\n"
        "try:\n    open('.git/HEAD', 'w')\nexcept OSError:\n    pass\nelse:\n    raise SystemExit('wrote')"
    )
    (source.root / ".git").mkdir()
    (source.root / ".git" / "HEAD").write_text("ref: x")
    assert build_wheel(source, site.bench, site.folder / "dist").is_file()
