"""An attacker who edits the lock: careless ones break its seal, careful ones its signature."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from pypm.cli.app import main
from pypm.codec.lockfile import dump_lock, load_lock
from pypm.digest import Sha256
from pypm.model.lock import Lock, LockedPackage
from tests.support.index_server import IndexServer, make_wheel

PROJECT = """\
[project]
name = "p"
version = "1"
requires-python = ">=3.10"
dependencies = ["alpha==1.0", "beta; sys_platform == 'never'"]

[tool.pypm]
package = false
"""
SIGNED = '[tool.pypm.signing]\nrequired = true\nallowed-signers = "signers"\n'
OLD, NEW = make_wheel("alpha", "1.0"), make_wheel("alpha", "1.1")
BETA = make_wheel("beta", "1.0")
EVIL = make_wheel("evil", "6.6")


def package(lock: Lock, name: str) -> LockedPackage:
    return next(one for one in lock.packages if one.name == name)


def exchanged(lock: Lock, changed: LockedPackage) -> Lock:
    return replace(
        lock, packages=tuple(changed if one.name == changed.name else one for one in lock.packages)
    )


def wheel_changed(lock: Lock, **changes: object) -> Lock:
    alpha = package(lock, "alpha")
    wheels = tuple(replace(wheel, **changes) for wheel in alpha.wheels)  # type: ignore[arg-type]
    return exchanged(lock, replace(alpha, wheels=wheels))


def other_address(lock: Lock) -> Lock:
    return wheel_changed(lock, path="../../elsewhere/" + OLD.filename)


def other_hash(lock: Lock) -> Lock:
    return wheel_changed(lock, sha256=Sha256("66" * 32))


def other_size(lock: Lock) -> Lock:
    return wheel_changed(lock, size_bytes=len(OLD.content) + 1)


def other_marker(lock: Lock) -> Lock:
    return exchanged(lock, replace(package(lock, "beta"), marker=None))


def added_package(lock: Lock) -> Lock:
    beta = package(lock, "beta")
    evil = replace(
        beta,
        name="evil",  # type: ignore[arg-type]
        wheels=tuple(
            replace(wheel, filename=EVIL.filename, sha256=Sha256(EVIL.sha256)) for wheel in beta.wheels
        ),
        marker=None,
    )
    return replace(lock, packages=(*lock.packages, evil))


def swapped_version(lock: Lock) -> Lock:
    """The file of 1.1 under the name of 1.0."""
    return wheel_changed(lock, sha256=Sha256(NEW.sha256), size_bytes=len(NEW.content))


TAMPERINGS: tuple[Callable[[Lock], Lock], ...] = (
    other_address,
    other_hash,
    other_size,
    other_marker,
    added_package,
    swapped_version,
)
EVERY = pytest.mark.parametrize("tamper", TAMPERINGS, ids=lambda one: one.__name__)


class Line:
    """The command line in a locked project."""

    def __init__(self, root: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.lock = root / "pypm.lock"
        self.root = root
        self.capture = capture

    def __call__(self, *words: str, code: int = 0) -> str:
        self.capture.readouterr()
        got = main(words)
        told = self.capture.readouterr()
        assert got == code, (got, told.out, told.err)
        return told.out + told.err

    def tamper(self, change: Callable[[Lock], Lock]) -> None:
        """Write what a careful attacker would: with the lock-hash made anew."""
        before = self.lock.read_bytes()
        self.lock.write_bytes(dump_lock(change(load_lock(before))))
        assert self.lock.read_bytes() != before

    def break_seal(self) -> None:
        """Put the old lock-hash back, as a careless attacker leaves it."""
        self.lock.write_text(self.lock.read_text().replace(self.seal(), self._seal))

    def remember_seal(self) -> None:
        self._seal = self.seal()

    def seal(self) -> str:
        (line,) = [one for one in self.lock.read_text().splitlines() if one.startswith("lock-hash")]
        return line


@pytest.fixture
def pypm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Line]:
    with IndexServer() as server:
        server.add("alpha", OLD, NEW)
        server.add("beta", BETA)
        root = tmp_path / "p"
        root.mkdir()
        (root / "pyproject.toml").write_text(PROJECT)
        monkeypatch.chdir(root)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("PYPM_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setenv("PYPM_DEFAULT_INDEX", server.url)
        line = Line(root, capfd)
        line("lock")
        line.remember_seal()
        yield line


@EVERY
@pytest.mark.parametrize(
    "command", [("sync", "--frozen"), ("run", "true"), ("verify",)], ids=lambda one: one[0]
)
def test_a_careless_one_breaks_the_seal(
    pypm: Line, tamper: Callable[[Lock], Lock], command: tuple[str, ...]
) -> None:
    pypm.tamper(tamper)
    pypm.break_seal()
    assert "edited or badly merged" in pypm(*command, code=3)
    assert not (pypm.root / ".venv").exists()


@pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="this machine has no ssh-keygen (OpenSSH's client)"
)
@EVERY
def test_a_careful_one_breaks_the_signature(
    pypm: Line, tamper: Callable[[Lock], Lock], tmp_path: Path
) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    (pypm.root / "signers").write_text(f"ada@example.org {key.with_suffix('.pub').read_text()}")
    (pypm.root / "pyproject.toml").write_text(PROJECT + SIGNED)
    pypm("lock", "--sign", "--key", str(key))
    pypm.tamper(tamper)
    for command in (("sync", "--frozen"), ("run", "true"), ("verify",)):
        assert "signature" in pypm(*command, code=3)
    assert not (pypm.root / ".venv").exists()


@pytest.mark.parametrize(
    ("tamper", "finding"),
    [
        (other_hash, ("changed", OLD.filename)),
        (other_size, ("changed", OLD.filename)),
        (swapped_version, ("changed", OLD.filename)),
        (added_package, ("vanished", EVIL.filename)),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_the_index_does_not_vouch_for_what_a_careful_one_wrote(
    pypm: Line, tamper: Callable[[Lock], Lock], finding: tuple[str, str]
) -> None:
    pypm.tamper(tamper)
    code = 3 if finding[0] == "changed" else 1
    pypm.capture.readouterr()
    assert main(["audit", "--lock", "--json"]) == code
    findings = json.loads(pypm.capture.readouterr().out)["findings"]
    assert [(one["what"], one["filename"]) for one in findings] == [finding]


def test_the_file_of_another_version_is_not_installed(pypm: Line) -> None:
    """Even without signature and audit: the locked name and version must be the wheel's own."""
    pypm.tamper(swapped_version)
    pypm("sync", "--frozen", code=3)
    assert not (pypm.root / ".venv").exists()
