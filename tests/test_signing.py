"""Signed locks, with real keys: what is not signed as required is refused before it is used."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

import sandbox
from pypm.cli.app import main
from pypm.codec.lockfile import dump_lock, load_lock
from pypm.digest import Sha256
from pypm.errors import ConfigurationError
from pypm.signing import Signing, verify_signature
from tests.support.index_server import IndexServer, make_wheel

pytestmark = pytest.mark.skipif(
    shutil.which("ssh-keygen") is None, reason="this machine has no ssh-keygen (OpenSSH's client)"
)
_host = sandbox.probe()
needs_sandbox = pytest.mark.skipif(not _host.namespaces, reason=f"no sandbox on this machine: {_host.cause}")

PROJECT = """\
[project]
name = "p"
version = "1"
requires-python = ">=3.10"
dependencies = ["alpha"]

[tool.pypm]
package = false
"""
REQUIRED = '[tool.pypm.signing]\nrequired = true\nallowed-signers = "signers"\n'


class Line:
    """The command line in a project whose lock must be signed by `ada`."""

    def __init__(self, root: Path, home: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self.home = home
        self.capture = capture

    def __call__(self, *words: str, code: int = 0) -> tuple[str, str]:
        self.capture.readouterr()
        got = main(words)
        told = self.capture.readouterr()
        assert got == code, (got, told.out, told.err)
        return told.out, told.err

    def key(self, name: str) -> Path:
        path = self.home / name
        if not path.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
        return path

    def allow(self, name: str, options: str = "") -> None:
        public = self.key(name).with_suffix(".pub").read_text()
        (self.root / "signers").write_text(f"{name}@example.org {options} {public}")

    def project(self, more: str = REQUIRED) -> None:
        (self.root / "pyproject.toml").write_text(PROJECT + more)

    def sign(self, name: str = "ada") -> None:
        self("lock", "--sign", "--key", str(self.key(name)))


@pytest.fixture
def pypm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Iterator[Line]:
    with IndexServer() as server:
        server.add("alpha", make_wheel("alpha", "1.0"), make_wheel("alpha", "1.1"))
        root, home = tmp_path / "p", tmp_path / "home"
        root.mkdir()
        (home / ".ssh").mkdir(parents=True)
        monkeypatch.chdir(root)
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setenv("PYPM_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setenv("PYPM_DEFAULT_INDEX", server.url)
        line = Line(root, home, capfd)
        line.project()
        line.allow("ada")
        line.sign()
        yield line


@needs_sandbox
def test_a_well_signed_lock_is_used(pypm: Line) -> None:
    pypm("sync")
    pypm("run", "true")
    pypm("tree")
    assert '"signer": "ada@example.org"' in pypm("verify", "--json")[0]


READERS = [("sync",), ("run", "true"), ("tree",), ("export",), ("verify",), ("sync", "--frozen"), ("lock",)]


@pytest.mark.parametrize("words", READERS)
def test_a_missing_signature_is_refused(pypm: Line, words: tuple[str, ...]) -> None:
    (pypm.root / "pypm.lock.sig").unlink()
    _, told = pypm(*words, code=3)
    assert "`pypm.lock` is not signed" in told
    assert "pypm lock --sign" in told
    assert not (pypm.root / ".venv").exists()


@pytest.mark.parametrize("words", READERS)
def test_a_lock_that_changed_after_signing_is_refused(pypm: Line, words: tuple[str, ...]) -> None:
    lock = pypm.root / "pypm.lock"
    lock.write_text(lock.read_text().replace("# Made", "# made"))
    _, told = pypm(*words, code=3)
    assert "is not over this `pypm.lock`" in told


def test_a_foreign_signature_is_refused(pypm: Line) -> None:
    pypm.sign("eve")
    _, told = pypm("sync", code=3)
    assert "nobody who may sign it" in told
    pypm.allow("eve")
    pypm("tree")


def test_an_expired_key_is_refused(pypm: Line) -> None:
    pypm.allow("ada", 'valid-before="20200101"')
    _, told = pypm("tree", code=3)
    assert "not valid now" in told
    pypm.allow("ada", 'valid-before="29990101"')
    pypm("tree")


def test_a_signature_for_another_purpose_is_refused(pypm: Line) -> None:
    content = (pypm.root / "pypm.lock").read_bytes()
    argv = ["ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", str(pypm.key("ada"))]
    done = subprocess.run(argv, input=content, capture_output=True, check=True)
    (pypm.root / "pypm.lock.sig").write_bytes(done.stdout)
    pypm("tree", code=3)
    (pypm.root / "pypm.lock.sig").write_bytes(b"garbage")
    pypm("tree", code=3)


def test_a_stale_lock_is_not_made_anew_on_the_way(pypm: Line) -> None:
    pypm.project(REQUIRED)
    text = (pypm.root / "pyproject.toml").read_text()
    (pypm.root / "pyproject.toml").write_text(text.replace('"alpha"', '"alpha<1.1"'))
    before = (pypm.root / "pypm.lock").read_bytes()
    _, told = pypm("sync", code=1)
    assert "stale" in told
    assert (pypm.root / "pypm.lock").read_bytes() == before
    _, told = pypm("lock")
    assert "is of the earlier lock" in told
    pypm("tree", code=3)
    pypm.sign()
    assert "1.0" in pypm("tree")[0]


def test_signing_takes_no_hash_from_a_lock_that_nobody_vouches_for(pypm: Line) -> None:
    """An attacker's lock, sealed and all, must not become a signed one by `lock --sign`."""
    path = pypm.root / "pypm.lock"
    good = path.read_bytes()
    lock = load_lock(good)
    (package,) = lock.packages
    wheels = tuple(replace(wheel, sha256=Sha256("ee" * 32)) for wheel in package.wheels)
    path.write_bytes(dump_lock(replace(lock, packages=(replace(package, wheels=wheels),))))
    _, told = pypm("lock", "--sign", "--key", str(pypm.key("ada")))
    assert "look at what the lock holds" in told
    assert path.read_bytes() == good


def test_signers_may_stand_in_the_project(pypm: Line) -> None:
    public = pypm.key("ada").with_suffix(".pub").read_text().strip()
    pypm.project(f'[tool.pypm.signing]\nrequired = true\nallowed-signers = ["ada {public}"]\n')
    pypm("tree")
    public = pypm.key("eve").with_suffix(".pub").read_text().strip()
    pypm.project(f'[tool.pypm.signing]\nrequired = true\nallowed-signers = ["eve {public}"]\n')
    pypm("tree", code=3)


def test_the_user_has_the_last_word_on_who_may_sign(pypm: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    signers = pypm.home / "signers"
    signers.write_text("eve " + pypm.key("eve").with_suffix(".pub").read_text())
    monkeypatch.setenv("PYPM_ALLOWED_SIGNERS", str(signers))
    pypm("tree", code=3)
    pypm.project("")
    pypm("tree", code=3)
    pypm.sign("eve")
    pypm("tree")


@pytest.mark.parametrize(
    "more",
    [
        "[tool.pypm.signing]\nrequired = true\n",
        '[tool.pypm.signing]\nrequired = "yes"\nallowed-signers = "signers"\n',
        '[tool.pypm.signing]\nrequire = true\nallowed-signers = "signers"\n',
        '[tool.pypm.signing]\nrequired = true\nallowed-signers = "elsewhere"\n',
        "[tool.pypm.signing]\nrequired = true\nallowed-signers = [1]\n",
        "[tool.pypm]\nsigning = true\n",
    ],
)
def test_malformed_settings_are_errors(pypm: Line, more: str) -> None:
    more = more.replace("[tool.pypm]\n", "") if more.startswith("[tool.pypm]\n") else more
    pypm.project(more)
    pypm("tree", code=1)


def test_the_usual_key_is_found_and_agents_serve_public_ones(
    pypm: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, told = pypm("lock", "--sign", code=2)
    assert "no key to sign with" in told
    pypm("lock", "--sign", "--key", str(pypm.home / "nothing"), code=2)
    shutil.copy(pypm.key("ada"), pypm.home / ".ssh/id_ed25519")
    (pypm.root / "pypm.lock.sig").unlink()
    pypm("lock", "--sign")
    pypm("tree")


@pytest.mark.skipif(shutil.which("ssh-agent") is None, reason="this machine has no ssh-agent")
def test_an_agent_signs_for_a_public_key(pypm: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    private = pypm.key("ada")
    socket = pypm.home / "agent"
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        for _ in range(500):
            if socket.exists():
                break
            time.sleep(0.01)
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        subprocess.run(["ssh-add", "-q", str(private)], check=True, capture_output=True)
        public = private.with_suffix(".pub")
        elsewhere = pypm.home / "public-only.pub"
        shutil.copy(public, elsewhere)
        pypm("lock", "--sign", "--key", str(elsewhere))
    finally:
        agent.terminate()
        agent.wait()
    pypm("tree")


@needs_sandbox
def test_a_ready_plan_does_not_survive_its_signature(
    pypm: Line, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}

    def sync() -> subprocess.CompletedProcess[bytes]:
        argv = [sys.executable, "-m", "pypm", "sync"]
        return subprocess.run(argv, env=environment, capture_output=True, check=False)

    assert sync().returncode == 0
    plans = list(tmp_path.glob("cache/plans-v1/*"))
    if not plans:  # The files were too new for a plan the first time.
        time.sleep(0.05)
        assert sync().returncode == 0
        plans = list(tmp_path.glob("cache/plans-v1/*"))
    assert plans
    (pypm.root / "pypm.lock.sig").unlink()
    done = sync()
    assert done.returncode == 3, done.stderr
    pypm.sign()
    pypm.allow("eve")
    assert sync().returncode == 3


def test_no_ssh_keygen_is_an_error_and_none_of_the_projects_own_is_used(
    pypm: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = pypm.root / ".venv/bin/ssh-keygen"
    fake.parent.mkdir(parents=True)
    fake.write_text("#!/bin/sh\necho ada\nexit 0\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(fake.parent))
    with pytest.raises(ConfigurationError, match="ssh-keygen"):
        verify_signature(b"lock", b"signature", Signing(required=True, signers=b""), root=pypm.root)
    _, told = pypm("tree", code=1)
    assert "openssh-client" in told
