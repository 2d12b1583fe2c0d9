"""What `pypm lock` finds and says for every form of source and every setting, as a user types them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pypm.cli.app import main
from pypm.codec.lockfile import load_lock
from pypm.model.project import IndexSource
from tests.support.index_server import Archive, IndexServer, make_sdist, make_wheel

LINUX, WINDOWS, MACOS = "manylinux_2_28_x86_64", "win_amd64", "macosx_11_0_arm64"
HEAD = '[project]\nname = "p"\nversion = "1"\nrequires-python = ">=3.10"\n'


def dated(archive: Archive, day: str) -> Archive:
    return replace(archive, upload_time=f"{day}T00:00:00.000000Z")


class Locking:
    """A project, two indexes, and `pypm lock` with what it says."""

    def __init__(
        self, root: Path, main_index: IndexServer, second: IndexServer, capture: pytest.CaptureFixture[str]
    ) -> None:
        self.root = root
        self.main_index = main_index
        self.second = second
        self._capture = capture

    def write(self, *requirements: str, settings: str = "", sources: str = "") -> None:
        """Write the project; the second index is there for whom names it."""
        listed = ", ".join(f'"{one}"' for one in requirements)
        index = f'[[tool.pypm.index]]\nname = "second"\nurl = "{self.second.url}"\nexplicit = true\n'
        (self.root / "pyproject.toml").write_text(
            f"{HEAD}dependencies = [{listed}]\n[tool.pypm]\n{settings}\n{index}"
            f"[tool.pypm.sources]\n{sources}\n"
        )

    def __call__(self, *words: str, code: int = 0) -> str:
        self._capture.readouterr()
        got = main(["lock", *words])
        told = self._capture.readouterr().err
        assert got == code, told
        return told

    def pins(self) -> list[tuple[str, str | None, str | None, str | None]]:
        """Return name, version, index and marker of every package."""
        lock = load_lock((self.root / "pypm.lock").read_bytes())
        return [
            (
                package.name,
                package.version,
                package.source.index if isinstance(package.source, IndexSource) else None,
                None if package.marker is None else str(package.marker).replace('"', "'"),
            )
            for package in lock.packages
        ]


@pytest.fixture
def lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Locking]:
    root = tmp_path / "p"
    root.mkdir()
    monkeypatch.chdir(root)
    with IndexServer() as first, IndexServer(page_format="html") as second:
        for version, day in (("1.0", "2024-01-01"), ("2.0", "2025-01-01")):
            first.add("a", dated(make_wheel("a", version, extras=["fast"]), day))
            first.add("a", dated(make_sdist("a", version), day))
        monkeypatch.setenv("PYPM_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setenv("PYPM_DEFAULT_INDEX", first.url)
        yield Locking(root, first, second, capsys)


def add_torch(lock: Locking) -> None:
    """A library with one build for each platform, and on the second index builds without a GPU."""
    for tag in (LINUX, WINDOWS, MACOS):
        lock.main_index.add("torch", make_wheel("torch", "2.0", tag=f"cp312-cp312-{tag}"))
    for tag in (LINUX, WINDOWS):
        lock.second.add("torch", make_wheel("torch", "2.0+cpu", tag=f"cp312-cp312-{tag}"))
    lock.second.add("torch", make_wheel("torch", "2.0", tag=f"cp312-cp312-{MACOS}"))


def test_an_explicit_index_with_a_marker(lock: Locking) -> None:
    add_torch(lock)
    lock.write("torch", sources="torch = { index = 'second', marker = \"sys_platform == 'linux'\" }")
    lock()
    assert lock.pins() == [
        ("torch", "2.0", "default", "sys_platform != 'linux'"),
        ("torch", "2.0+cpu", "second", "sys_platform == 'linux'"),
    ]
    lock("--check")


def test_a_pin_from_another_index_does_not_stay(lock: Locking) -> None:
    """`2.0` of the second index has wheels for macOS alone: kept from the first, Linux would have none."""
    add_torch(lock)
    lock.write("torch")
    lock()
    lock.write("torch", sources="torch = { index = 'second' }")
    told = lock()
    assert "~ torch 2.0 from default -> 2.0 from second, 2.0+cpu from second" in told
    assert lock.pins() == [
        ("torch", "2.0", "second", "sys_platform == 'darwin'"),
        ("torch", "2.0+cpu", "second", "sys_platform != 'darwin'"),
    ]


def test_a_version_that_one_index_lacks_is_told_with_the_index(lock: Locking) -> None:
    add_torch(lock)
    lock.write("torch>=3", sources="torch = { index = 'second' }")
    told = lock(code=1)
    assert "no version of torch on index `second` matches, the newest is 2.0+cpu" in told
    assert "hint: `torch>=3` matches nothing on index `second`; the newest version of torch there is" in told


def test_an_address_is_locked_again_offline(lock: Locking) -> None:
    wheel = make_wheel("a", "1.0")
    lock.write(f"a @ {lock.main_index.file_url(wheel)}")
    lock()
    before = (lock.root / "pypm.lock").read_bytes()
    lock("--offline", "-U")
    assert (lock.root / "pypm.lock").read_bytes() == before


def test_another_strategy_lets_every_pin_move(lock: Locking) -> None:
    lock.write("a")
    lock()
    assert "~ a 2.0 -> 1.0" in lock("--resolution", "lowest")
    lock("--resolution", "lowest", "--check")
    assert "~ a 1.0 -> 2.0" in lock()


def test_allowing_pre_releases_lets_pins_move(lock: Locking) -> None:
    lock.main_index.add("a", make_wheel("a", "3.0rc1"))
    lock.write("a")
    lock()
    assert "~ a 2.0 -> 3.0rc1" in lock("--prerelease", "allow")
    assert "~ a 3.0rc1 -> 2.0" in lock()


def test_a_date_limit_names_the_setting_and_what_lifts_it_for_one_package(lock: Locking) -> None:
    lock.write("a>=2", settings='exclude-newer = "2024-06-01"')
    told = lock(code=1)
    assert "a==2.0 was uploaded after 2024-06-02T00:00:00Z, the limit by `exclude-newer`" in told
    assert "`exclude-newer-package = { a = false }` in `[tool.pypm]` lifts that limit for it" in told
    lock.write("a>=2", settings='exclude-newer = "2024-06-01"\nexclude-newer-package = { a = false }')
    lock()
    assert lock.pins()[0][:2] == ("a", "2.0")


def test_a_date_limit_that_is_none_is_told_what_it_can_be(lock: Locking) -> None:
    lock.write("a")
    assert "`--exclude-newer 7 dys` is neither a date" in lock("--exclude-newer", "7 dys", code=2)
    assert "a duration (`7 days`)" in lock("--exclude-newer", "yesterday", code=2)


def test_names_that_nothing_answers_to(lock: Locking) -> None:
    lock.write("a[fst]")
    assert "hint: did you mean `a`?" in lock("-P", "aa", code=2)
    told = lock()
    assert "a==2.0 has no extra `fst`" in told
    assert "did you mean `fast`?" in told


def test_a_version_to_upgrade_to_that_does_not_exist(lock: Locking) -> None:
    lock.write("a")
    lock()
    told = lock("-P", "a==7", code=1)
    assert "hint: `a==7` matches nothing; the newest version of a is 2.0" in told


def test_a_constraint_is_told_from_a_requirement(lock: Locking) -> None:
    lock.write("a>=2", settings='constraints = ["a<2"]')
    told = lock(code=1)
    assert "hint: loosen `a>=2` in the project's requirements, or the constraint `a<2`" in told


def test_what_is_left_out_twice_is_said_so(lock: Locking) -> None:
    lock.write("a", settings='no-build = true\nno-binary-package = ["a"]')
    assert "a==2.0 has files, and wheels and builds are both off" in lock(code=1)


def test_a_required_environment_is_named(lock: Locking) -> None:
    lock.main_index.add("n", make_wheel("n", "1.0", tag=f"cp312-cp312-{LINUX}"))
    lock.write("n", settings="required-environments = [\"sys_platform == 'win32'\"]")
    told = lock(code=1)
    assert 'n==1.0 has no wheel for the required environment `sys_platform == "win32"`' in told
    assert "hint: n==1.0 is published for other platforms alone: take the environment out of" in told


def test_wheels_for_other_pythons_alone(lock: Locking) -> None:
    lock.main_index.add("old", make_wheel("old", "1.0", tag="cp27-cp27mu-manylinux1_x86_64"))
    lock.write("old")
    told = lock(code=1)
    assert "old==1.0 has wheels for `cp27` alone and no source distribution" in told
    assert "hint: `requires-python` (`>=3.10`) admits no Python that old==1.0 is published for" in told


@pytest.mark.parametrize(
    "page",
    [
        b"<!DOCTYPE html><html><title>Links for e</title><body><h1>Links for e</h1></body></html>",
        b'<!DOCTYPE html><html><body><a href="e-1.0.egg">e-1.0.egg</a></body></html>',
    ],
    ids=["no links", "eggs"],
)
def test_a_page_without_anything_to_install(lock: Locking, page: bytes) -> None:
    lock.main_index.add_raw("/simple/e/", page)
    lock.write("e")
    told = lock(code=1)
    assert "the page of `e` lists no wheel and no source distribution of it" in told
    assert "hint: its files were removed, or are of kinds that nobody installs any more" in told


def test_a_source_that_holds_another_project(lock: Locking) -> None:
    (lock.root / "lib").mkdir()
    (lock.root / "lib" / "pyproject.toml").write_text('[project]\nname = "other"\nversion = "1"\n')
    lock.write("a", sources='a = { path = "lib" }')
    assert "hint: require it as `other`" in lock(code=1)


def test_a_build_whose_requirements_cannot_be_had(lock: Locking) -> None:
    setup = {"setup.py": b"from setuptools import setup\nsetup(name='s', version='1.0')\n"}
    lock.main_index.add("s", make_sdist("s", "1.0", metadata_version="1.0", files=setup))
    lock.write("s")
    told = lock(code=1)
    assert "error: `s-1.0.tar.gz` has to be built, and what its build requires cannot be had" in told
    assert "The build depends on setuptools>=40.8.0 (and no index has a package `setuptools`)" in told


def test_a_folder_of_files_lies_beside_the_file_that_names_it(
    lock: Locking, monkeypatch: pytest.MonkeyPatch
) -> None:
    below = lock.root / "src"
    below.mkdir()
    (lock.root / "links").mkdir()
    wheel = make_wheel("f", "1.0")
    (lock.root / "links" / wheel.filename).write_bytes(wheel.content)
    flat = '[[tool.pypm.index]]\nname = "flat"\nurl = "links"\nformat = "flat"\n'
    (lock.root / "pyproject.toml").write_text(f'{HEAD}dependencies = ["f"]\n{flat}')
    monkeypatch.chdir(below)
    lock()
    assert lock.pins() == [("f", "1.0", "flat", None)]
    (lock.root / "pyproject.toml").write_text(f'{HEAD}dependencies = ["f"]\n')
    lock("--find-links", "../links")
    assert "check its path or address" in lock("--find-links", "links", code=1)


def test_a_device_in_the_place_of_a_flat_page_is_refused(lock: Locking) -> None:
    lock.write("a")
    told = lock("--find-links", "/dev/zero", code=1)
    assert "`/dev/zero` cannot be read: it is not a regular file" in told


@pytest.mark.parametrize(
    ("atom", "joined"),
    [
        ("python_full_version == '3.{minor}.{number}'", " or "),
        ("(sys_platform == 's{number}' and platform_machine == 'm{number}')", " or "),
        ("python_full_version != '3.{minor}.{number}'", " and "),
        ("sys_platform != 's{number}'", " and "),
    ],
)
def test_a_marker_of_a_thousand_terms_is_locked_and_locked_again(
    lock: Locking, atom: str, joined: str
) -> None:
    terms = [atom.format(minor=10 + number % 6, number=number) for number in range(1000)]
    lock.write(f"a; {joined.join(terms)}")
    lock()
    lock("--check")
    assert lock.pins()[0][3] is not None


def test_a_source_that_a_folder_has_for_itself_is_named_by_the_project_too(lock: Locking) -> None:
    """Else the package of that name on an index would be taken, whoever put it there."""
    for name, more in (
        ("outer", 'dependencies = ["a"]\n[tool.pypm.sources]\na = { path = "../a" }'),
        ("a", ""),
    ):
        (lock.root / name).mkdir()
        (lock.root / name / "pyproject.toml").write_text(
            f'[project]\nname = "{name}"\nversion = "7"\n{more}\n'
        )
    lock.write("outer", sources='outer = { path = "outer" }')
    told = lock(code=1)
    assert "error: `outer` takes `a` from a source of its own, and this project names none for it" in told
    assert "hint: say in `[tool.pypm.sources]` where `a` comes from, as the project of `outer` does" in told
    lock.write("outer", sources='outer = { path = "outer" }\na = { path = "a" }')
    lock()
    assert [pin[:2] for pin in lock.pins()] == [("a", "7"), ("outer", "7")]
    lock.write("outer", settings='exclusions = ["a"]', sources='outer = { path = "outer" }')
    lock()
    assert [pin[:2] for pin in lock.pins()] == [("outer", "7")]
