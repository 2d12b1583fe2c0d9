"""Which build system a source tree has, and when a tree must be built again."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from msgspec.structs import replace

from pypm.build.project import editable_key, project_tree, sdist_key, tree_key, watched_files
from pypm.build.system import LEGACY_BACKEND, read_build_system, read_regular_file
from pypm.build.tree import copied_files, copy_tree
from pypm.digest import sha256_hex
from pypm.errors import BuildError
from pypm.isolation import BUILD_ENVIRONMENT, BUILD_SOURCE
from tests.support.builds import empty_environment, sample_tree


def system_of(tmp_path: Path, text: str) -> str:
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    system = read_build_system(tmp_path, name="x")
    return f"{system.backend} {' '.join(map(str, system.requires))} {' '.join(system.backend_path)}".strip()


def test_the_table_is_read(tmp_path: Path) -> None:
    text = '[build-system]\nrequires = ["a>=1", "b"]\nbuild-backend = "m.n:o"\nbackend-path = ["tools"]\n'
    assert system_of(tmp_path, text) == "m.n:o a>=1 b tools"


@pytest.mark.parametrize("text", ["", "[project]\nname = 'x'\n", "[tool.other]\n"])
def test_a_tree_without_the_table_means_setuptools(tmp_path: Path, text: str) -> None:
    assert system_of(tmp_path, text) == f"{LEGACY_BACKEND} setuptools>=40.8.0"


def test_a_setup_py_alone_means_setuptools(tmp_path: Path) -> None:
    (tmp_path / "setup.py").touch()
    assert read_build_system(tmp_path, name="x").backend == LEGACY_BACKEND


def test_a_folder_without_either_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError) as caught:
        read_build_system(tmp_path, name="x")
    assert caught.value.reference == "no-build-system"


@pytest.mark.parametrize(
    "text",
    [
        "build-system = 1",
        "[build-system]",
        "[build-system]\nrequires = 'a'",
        "[build-system]\nrequires = [1]",
        "[build-system]\nrequires = ['a b c']",
        "[build-system]\nrequires = []\nbuild-backend = 'a; import os'",
        "[build-system]\nrequires = []\nbackend-path = ['../x']",
        "[build-system]\nrequires = []\nbackend-path = ['/x']",
        "[build-system",
    ],
)
def test_malformed_tables_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BuildError) as caught:
        system_of(tmp_path, text)
    assert caught.value.reference == "malformed-build-system"
    assert "`x" in caught.value.message


def test_foreign_files_are_looked_at_with_distrust(tmp_path: Path) -> None:
    import os

    secret = tmp_path / "secret"
    secret.write_text("x" * 50)
    (tmp_path / "link").symlink_to(secret)
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(BuildError):
            read_regular_file(tmp_path / name)
    with pytest.raises(BuildError):
        read_regular_file(secret, largest_bytes=49)
    assert read_regular_file(secret, largest_bytes=50) == b"x" * 50
    assert read_regular_file(tmp_path / "missing") is None


def test_a_copy_has_what_a_build_needs_and_no_more(tmp_path: Path) -> None:
    import os

    tree = sample_tree(tmp_path / "tree")
    for folder in (".venv/lib", "sample/__pycache__", ".git/objects", "env", "cache"):
        (tree / folder).mkdir(parents=True)
        (tree / folder / "file").touch()
    (tree / "env" / "pyvenv.cfg").touch()
    (tree / "cache" / "CACHEDIR.TAG").touch()
    (tree / "link").symlink_to("/etc/passwd")
    os.mkfifo(tree / "pipe")
    os.utime(tree / "sample" / "__init__.py", (5, 5))
    copy_tree(tree, tmp_path / "copy")
    found = sorted(path.relative_to(tmp_path / "copy").as_posix() for path in (tmp_path / "copy").rglob("*"))
    assert found == [
        "backend",
        "backend/sample_backend.py",
        "link",
        "pyproject.toml",
        "sample",
        "sample/__init__.py",
    ]
    assert (tmp_path / "copy" / "link").is_symlink()
    assert (tmp_path / "copy" / "sample" / "__init__.py").stat().st_mtime == 5
    assert set(copied_files(tree)) == {"backend/sample_backend.py", "pyproject.toml", "sample/__init__.py"}


def test_an_editable_tree_appears_at_its_real_place_and_any_other_at_a_fixed_one(tmp_path: Path) -> None:
    tree = sample_tree(tmp_path / "tree")
    assert project_tree(tree, name="x", editable=True).location == tree.resolve()
    assert project_tree(tree, name="x", editable=False).location == BUILD_SOURCE


def test_keys_change_with_what_a_build_depends_on(tmp_path: Path) -> None:
    environment = empty_environment(BUILD_ENVIRONMENT, tmp_path / "base")
    other = dataclasses.replace(environment, interpreter=replace(environment.interpreter, identity="another"))
    sdist = sha256_hex(b"sdist")
    keys = {
        sdist_key(sdist, environment),
        sdist_key(sha256_hex(b"other"), environment),
        sdist_key(sdist, other),
        sdist_key(sdist, dataclasses.replace(environment, digest=sha256_hex(b"requirements"))),
        sdist_key(sdist, environment, {"a": "b"}),
    }
    assert len(keys) == 5
    assert sdist_key(sdist, environment) == sdist_key(sdist, environment, {})


def test_an_editable_is_built_again_when_what_describes_it_changes_and_not_when_code_does(
    tmp_path: Path,
) -> None:
    environment = empty_environment(BUILD_ENVIRONMENT, tmp_path / "base")
    tree = sample_tree(tmp_path / "tree")
    (tree / "src" / "pkg").mkdir(parents=True)
    (tree / "src" / "pkg" / "__init__.py").write_text("__version__ = '1'\n")
    (tree / "src" / "pkg" / "code.py").touch()

    def key() -> str:
        return editable_key(project_tree(tree, name="x", editable=True), environment)

    before = key()
    (tree / "src" / "pkg" / "code.py").write_text("x = 1\n")
    (tree / "src" / "pkg" / "new_module.py").touch()
    assert key() == before
    seen = {before}
    (tree / "src" / "pkg" / "__init__.py").write_text("__version__ = '2'\n")
    seen.add(key())
    (tree / "src" / "second").mkdir()
    (tree / "src" / "second" / "__init__.py").touch()
    seen.add(key())
    (tree / "README.md").write_text("text")
    seen.add(key())
    with (tree / "pyproject.toml").open("a") as stream:
        stream.write("\n# changed\n")
    seen.add(key())
    assert len(seen) == 5
    watched = {path.relative_to(tree).as_posix() for path in watched_files(tree)}
    read = {
        "pyproject.toml",
        "README.md",
        "src/pkg/__init__.py",
        "src/second/__init__.py",
        "sample/__init__.py",
    }
    assert read <= watched
    assert "setup.cfg" in watched, "a file that does not exist may come"
    assert "src/pkg/code.py" not in watched


@pytest.mark.parametrize(
    ("backend", "files"),
    [
        ("backend", ("backend.py",)),
        ("making.wheels:hooks", ("making/__init__.py", "making/wheels.py", "making/deep/er.py")),
    ],
)
@pytest.mark.parametrize("folder", [".", "build_tools"])
def test_an_editable_is_built_again_when_its_own_backend_changes(
    tmp_path: Path, folder: str, backend: str, files: tuple[str, ...]
) -> None:
    environment = empty_environment(BUILD_ENVIRONMENT, tmp_path / "base")
    tree = sample_tree(tmp_path / "tree")
    (tree / "pyproject.toml").write_text(
        f'[build-system]\nrequires = []\nbuild-backend = "{backend}"\nbackend-path = ["{folder}"]\n'
        '[project]\nname = "x"\nversion = "0"\n'
    )
    paths = [tree / folder / name for name in (*files, "beside.py")]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def key() -> str:
        return editable_key(project_tree(tree, name="x", editable=True), environment)

    seen = {key()}
    for path in paths[:-1]:
        path.write_text("changed = True\n")
        seen.add(key())
    assert len(seen) == 1 + len(files)
    paths[-1].write_text("changed = True\n")
    assert key() in seen, "a module beside the backend's package is the project's own"
    assert set(paths[:-1]) <= set(watched_files(tree))


def test_a_path_dependency_is_built_again_when_any_file_changes(tmp_path: Path) -> None:
    environment = empty_environment(BUILD_ENVIRONMENT, tmp_path / "base")
    tree = sample_tree(tmp_path / "tree")
    source = project_tree(tree, name="x", editable=False)
    before = tree_key(source, environment)
    assert tree_key(source, environment) == before
    (tree / "sample" / "__init__.py").write_text("VALUE = 2\n")
    assert tree_key(source, environment) != before
