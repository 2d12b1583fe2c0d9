"""Bad input of every kind, through the command line: one clear error each, the exit code, nothing lost."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import sandbox
from pypm.cli.app import main
from tests.support.index_server import Fault, IndexServer, make_wheel

CHECKOUT = Path(__file__).resolve().parent.parent
PYPROJECT = """\
[project]
name = "p"
version = "1"
requires-python = ">=3.10"
dependencies = [{dependencies}]

[tool.pypm]
package = false
"""


def _isolation_missing() -> str | None:
    host = sandbox.probe()
    return None if host.namespaces else f"no sandbox on this machine: {host.cause}"


needs_sandbox = pytest.mark.skipif(_isolation_missing() is not None, reason=str(_isolation_missing()))


@dataclass
class Place:
    """A project, an empty cache and an index of its own."""

    root: Path
    cache: Path
    server: IndexServer
    capture: pytest.CaptureFixture[str]
    told: str = field(default="")

    def write(self, *dependencies: str) -> None:
        listed = ", ".join(f'"{dependency}"' for dependency in dependencies)
        (self.root / "pyproject.toml").write_text(PYPROJECT.format(dependencies=listed))

    def pypm(self, *words: str) -> int:
        self.capture.readouterr()
        code = main(words)
        captured = self.capture.readouterr()
        self.told, self.data = captured.err, captured.out
        return code

    @property
    def lock(self) -> Path:
        return self.root / "pypm.lock"

    @property
    def lines(self) -> list[str]:
        return self.told.splitlines()

    def fails(self, *words: str, code: int, says: str, hints: str | None = None) -> None:
        """The command fails in one sentence; neither the lock nor the environment changes by it."""
        before = self.state()
        assert self.pypm(*words) == code, self.told
        errors = [line for line in self.lines if line.startswith("error: ")]
        assert len(errors) == 1, self.told
        assert says in self.told
        assert "Traceback" not in self.told
        if hints is not None:
            assert hints in next(line for line in self.lines if line.startswith("hint: "))
        assert self.state() == before

    def state(self) -> dict[str, str]:
        """Every file of the project, by path and content."""
        return {
            str(path.relative_to(self.root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.root.rglob("*"))
            if path.is_file() and not path.is_symlink()
        }


@pytest.fixture
def place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Place]:
    with IndexServer() as server:
        server.add("a", make_wheel("a", "1.0", requires=["b"]), make_wheel("a", "2.0", requires=["b>=2"]))
        server.add("b", make_wheel("b", "1.0"), make_wheel("b", "2.0"))
        root, cache = tmp_path / "project", tmp_path / "cache"
        root.mkdir()
        monkeypatch.chdir(root)
        monkeypatch.setenv("PYPM_CACHE_DIR", str(cache))
        monkeypatch.setenv("PYPM_DEFAULT_INDEX", server.url)
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        made = Place(root=root, cache=cache, server=server, capture=capsys)
        made.write("a")
        yield made


def test_without_a_project(place: Place) -> None:
    (place.root / "pyproject.toml").unlink()
    place.fails("lock", code=1, says="there is no `pyproject.toml`", hints="`pypm init`")


def test_a_cache_that_no_sandbox_can_show(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYPM_CACHE_DIR", "/dev/shm/pypm-test-cache")
    for command in ("lock", "sync", "run true"):
        place.fails(*command.split(), code=1, says="lies in `/dev`", hints="`PYPM_CACHE_DIR`")
    assert not Path("/dev/shm/pypm-test-cache").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_project_of_another_user_above(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.root / "below").mkdir()
    os.chown(place.root / "pyproject.toml", 12345, 12345)
    monkeypatch.chdir(place.root / "below")
    for command in ("lock", "sync", "run true", "verify"):
        place.fails(*command.split(), code=1, says="belongs to another user", hints=f"--project {place.root}")
    assert not (place.root / "pypm.lock").exists()
    assert main(["lock", "--project", str(place.root)]) == 0


def test_a_pyproject_that_is_no_toml(place: Place) -> None:
    (place.root / "pyproject.toml").write_text('[project]\nname = "p\n')
    place.fails("lock", code=1, says="`pyproject.toml` is not TOML")
    assert "line 2" in place.told


def test_an_empty_pyproject_empties_no_environment(place: Place) -> None:
    assert place.pypm("lock") == 0
    (place.root / "pyproject.toml").write_text("\n")
    for words in (["lock"], ["sync"], ["run", "true"]):
        place.fails(*words, code=1, says="`pyproject.toml` is empty", hints="version control")


@needs_sandbox
@pytest.mark.parametrize("words", [["sync"], ["run", "true"], ["verify"]])
def test_a_path_that_path_cannot_hold(
    place: Place, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    moved = place.root.rename(place.root.with_name(f"pro{os.pathsep}ject"))
    monkeypatch.chdir(moved)
    place.root = moved
    assert place.pypm("lock") == 0
    place.fails(*words, code=1, says=f"`{os.pathsep}` in its path", hints="rename")


@needs_sandbox
@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_in_the_environments_place_is_named(place: Place, kind: str) -> None:
    if kind == "file":
        (place.root / ".venv").write_text("x")
    else:
        (place.root / ".venv").symlink_to("nowhere")
    assert place.pypm("lock") == 0
    says = "is not a folder" if kind == "file" else "is a symbolic link"
    place.fails("run", "true", code=1, says=says, hints="move it away")
    place.fails("sync", code=1, says=says, hints="move it away")


@needs_sandbox
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_a_project_that_cannot_be_written(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    (place.root / ".venv").mkdir()
    assert place.pypm("lock") == 0
    mount = ["mount", "--bind", "-r", str(place.root), str(place.root)]
    if subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("this machine mounts nothing")
    monkeypatch.chdir(place.root)  # What one stands in is below the mount.
    try:
        place.fails("run", "true", code=125, says="Read-only file system", hints="`--read-only`")
        assert place.pypm("run", "--read-only", "true") == 0
        place.fails("sync", code=1, says="Read-only file system")
    finally:
        subprocess.run(["umount", "--lazy", str(place.root)], check=True)


def test_every_problem_of_a_pyproject_is_told_at_once(place: Place) -> None:
    (place.root / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "one"\ndependencies = ["a=>1", "b"]\nrequires-python = 3\n'
    )
    place.fails("lock", code=1, says="project.version")
    assert "project.dependencies[0]" in place.told
    assert "project.requires-python" in place.told


@pytest.mark.parametrize(
    ("requirement", "says"),
    [
        ("a => 1", "write `a>=1`"),
        ("a[", "RIGHT_BRACKET"),
        ("a; nonsense == 1", "a marker variable"),
        ("a==1.0.*.2", "after version specifier"),
        ("git+https://example.org/a.git", "write `NAME @ git+https://example.org/a.git`"),
        ("./local", "[tool.pypm.sources]"),
        ("-r other.txt", "package name at the start"),
    ],
)
def test_a_requirement_that_nobody_can_read(place: Place, requirement: str, says: str) -> None:
    place.write("b", requirement)
    place.fails("lock", code=1, says=says)
    assert f"    {requirement}\n" in place.told


def test_a_package_that_does_not_exist(place: Place) -> None:
    place.write("nonesuch")
    place.fails("lock", code=1, says="nonesuch")


def test_a_version_that_does_not_exist(place: Place) -> None:
    place.write("a>=9")
    place.fails("lock", code=1, says="a>=9")


def test_no_solution_is_derived(place: Place) -> None:
    place.write("a>=2", "b<2")
    place.fails("lock", code=1, says="b")
    assert "a" in place.told


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault.status(500), "500"),
        (Fault.status(403), "403"),
        (Fault.status(401), "a"),
        (Fault.garbage(), "/simple/a/"),
        (Fault.login(), "/simple/a/"),
        (Fault(drop=True), "/simple/a/"),
        (Fault(truncate_at=20), "/simple/a/"),
    ],
    ids=["500", "403", "401", "garbage", "login", "dropped", "cut off"],
)
def test_an_index_that_answers_badly(place: Place, fault: Fault, says: str) -> None:
    place.server.fault("/simple/a/", fault)
    place.fails("lock", code=1, says=says)


def test_an_index_that_is_not_there(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYPM_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    place.fails("lock", code=1, says="127.0.0.1:9")


def test_credentials_are_never_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.server.login = ("user", "s3cret")
    monkeypatch.setenv("PYPM_DEFAULT_INDEX", place.server.url.replace("//", "//user:s3cret@"))
    assert place.pypm("lock") == 0, place.told
    assert "s3cret" not in place.lock.read_text()
    place.server.login = ("user", "other")
    assert place.pypm("lock", "--refresh", "-vv") == 1
    assert "s3cret" not in place.told


def test_a_login_goes_to_no_index_that_a_project_calls_by_its_name(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYPM_INDEX_CORP_USERNAME", "user")
    monkeypatch.setenv("PYPM_INDEX_CORP_PASSWORD", "s3cret")
    index = f'[[tool.pypm.index]]\nname = "corp"\nurl = "{place.server.url}"\ndefault = true\n'
    monkeypatch.delenv("PYPM_DEFAULT_INDEX")
    with (place.root / "pyproject.toml").open("a") as stream:
        stream.write(index)
    assert place.pypm("lock") == 0, place.told
    assert "warning: the login of the index `corp` is not sent to" in place.told
    assert not [request for request in place.server.requests if "authorization" in request.headers]
    monkeypatch.setenv("PYPM_INDEX_CORP_HOST", place.server.url.rpartition("/")[0])
    assert place.pypm("lock", "--refresh") == 0, place.told
    assert "warning" not in place.told
    assert [request for request in place.server.requests if "authorization" in request.headers]


# The lock ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [["sync", "--locked"], ["sync", "--frozen"], ["run", "--frozen", "true"]])
def test_a_missing_lock(place: Place, command: list[str]) -> None:
    place.fails(*command, code=1, says="there is no `pypm.lock`", hints="`pypm lock`")


def test_a_stale_lock(place: Place) -> None:
    assert place.pypm("lock") == 0
    place.write("a", "b")
    place.fails("sync", "--locked", code=1, says="stale", hints="`pypm lock`")
    place.fails("run", "--locked", "true", code=1, says="stale", hints="`pypm lock`")


@pytest.mark.parametrize("command", [["lock"], ["sync"], ["run", "true"], ["verify"], ["tree"], ["export"]])
def test_a_fifo_in_the_locks_place_is_an_error_and_no_wait(place: Place, command: list[str]) -> None:
    os.mkfifo(place.lock)
    place.fails(*command, code=1, says="pypm.lock")
    assert stat.S_ISFIFO(place.lock.lstat().st_mode)


def test_a_git_address_that_is_none(place: Place) -> None:
    with (place.root / "pyproject.toml").open("a") as project:
        project.write('[tool.pypm.sources]\na = { git = "https://u:s3cret@[127.0.0.1/x" }\n')
    place.fails("lock", code=1, says="is not the address of a git repository")
    assert "s3cret" not in place.told


def test_line_ends_of_a_checkout_change_nothing(place: Place) -> None:
    assert place.pypm("lock") == 0
    made = place.lock.read_bytes()
    place.lock.write_bytes(made.replace(b"\n", b"\r\n"))
    assert place.pypm("lock", "--check") == 0
    assert place.pypm("lock") == 0
    assert place.lock.read_bytes() == made


def test_check_tells_a_lock_that_would_change(place: Place) -> None:
    place.fails("lock", "--check", code=1, says="error: `pypm.lock` would change", hints="run `pypm lock`")
    assert not place.lock.exists()
    assert place.pypm("lock") == 0
    assert place.pypm("lock", "--check") == 0
    place.write("a<2")
    before = place.state()
    assert place.pypm("lock", "--check") == 1
    assert "~ a 2.0 -> 1.0" in place.told
    assert "warning:" not in place.told
    assert place.state() == before
    assert place.pypm("-q", "lock", "--check") == 1
    assert "error: `pypm.lock` would change" in place.told


def edited(text: str) -> str:
    return text.replace('version = "2.0"', 'version = "1.0"', 1)


@pytest.mark.parametrize(
    ("damage", "code", "says"),
    [
        (edited, 3, "edited or badly merged"),
        (lambda text: text[: len(text) // 2], 1, "cut off"),
        (lambda text: "", 1, "empty"),
        (lambda text: text.replace("lock-version = 1", "lock-version = 99"), 1, "needs a newer pypm"),
        (lambda text: "<<<<<<< ours\n" + text, 1, "merge conflict"),
        (lambda text: text.replace("lock-version = 1\n", ""), 1, "lock-version"),
    ],
    ids=["edited", "truncated", "empty", "newer", "conflict", "no version"],
)
def test_a_damaged_lock(place: Place, damage, code: int, says: str) -> None:  # type: ignore[no-untyped-def]
    assert place.pypm("lock") == 0
    place.lock.write_text(damage(place.lock.read_text()))
    place.fails("sync", "--locked", code=code, says=says)
    place.fails("lock", "--check", code=code, says=says)
    assert place.pypm("lock") == 0, "what the hint says works"
    assert "made anew" in place.told
    assert place.pypm("lock", "--check") == 0


def test_a_placeholder_is_refused_by_name_and_filled_in(place: Place) -> None:
    assert place.pypm("lock") == 0
    good = place.lock.read_text()
    digest = make_wheel("b", "2.0").sha256
    text = good.replace(digest, "sha256:TODO-sha256")
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith("lock-hash")]
    place.lock.write_text("".join(lines))
    place.fails("sync", "--frozen", code=3, says="b-2.0-py3-none-any.whl", hints="`pypm lock --refresh`")
    assert place.pypm("lock", "--refresh") == 0
    assert place.lock.read_text() == good


def test_another_strategy_keeps_no_pins(place: Place) -> None:
    assert place.pypm("lock") == 0
    highest = place.lock.read_bytes()
    assert place.pypm("lock", "--resolution", "lowest") == 0
    assert " ~ a 2.0 -> 1.0" in place.lines, place.told
    lowest = place.lock.read_bytes()
    assert b'resolution = "lowest"' in lowest
    place.server.add("a", make_wheel("a", "0.9"))
    assert place.pypm("lock", "--resolution", "lowest", "--refresh") == 0
    assert place.lock.read_bytes() == lowest, "pins of the same strategy stay"
    assert place.pypm("lock") == 0
    assert place.lock.read_bytes() == highest


def test_locking_again_changes_no_byte(place: Place) -> None:
    assert place.pypm("lock") == 0
    content = place.lock.read_bytes()
    stamp = place.lock.stat().st_mtime_ns
    place.server.add("b", make_wheel("b", "3.0"))
    assert place.pypm("lock", "--refresh") == 0
    assert place.lock.read_bytes() == content
    assert place.lock.stat().st_mtime_ns == stamp
    assert place.pypm("lock", "--refresh", "-P", "b", "--dry-run") == 0
    assert "~ b 2.0 -> 3.0" in place.told
    assert place.lock.read_bytes() == content
    assert place.pypm("lock", "--refresh", "--upgrade") == 0
    assert "~ b 2.0 -> 3.0" in place.told


# Bytes ---------------------------------------------------------------------------------------------------


@needs_sandbox
def test_sync_installs_what_is_locked_and_prints_its_digest(place: Place) -> None:
    assert place.pypm("sync") == 0, place.told
    digest = place.data.strip()
    assert digest.startswith("sha256:")
    assert (place.root / ".venv/bin/python").exists()
    assert place.pypm("sync", "--locked", "--expect-digest", digest) == 0
    assert "Nothing to do" in place.told
    assert place.data.strip() == digest
    place.fails("sync", "--expect-digest", "sha256:" + "0" * 64, code=3, says="not the expected one")
    place.fails("sync", "--expect-digest", "nonsense", code=2, says="--expect-digest")


@needs_sandbox
def test_sync_removes_what_is_not_locked(place: Place) -> None:
    assert place.pypm("sync") == 0
    place.write("b<2")
    assert place.pypm("sync", "--check") == 1
    assert place.pypm("lock") == 0
    assert place.pypm("sync", "--check") == 1
    assert place.pypm("sync") == 0
    assert "- a 2.0" in place.told
    assert "+ b 1.0" in place.told
    assert place.pypm("sync", "--check") == 0
    installed = {path.name for path in (place.root / ".venv").rglob("*.dist-info")}
    assert installed == {"b-1.0.dist-info"}


@needs_sandbox
def test_a_file_with_another_content(place: Place) -> None:
    assert place.pypm("lock") == 0
    other = make_wheel("b", "2.0", files={"b/__init__.py": b"# evil"})
    true_size = len(make_wheel("b", "2.0").content)
    place.server.fault(
        "/files/b-2.0-py3-none-any.whl", Fault(body=other.content[:true_size].ljust(true_size))
    )
    place.fails("sync", code=3, says="`b-2.0-py3-none-any.whl` is not the file that was locked")
    assert not (place.root / ".venv").exists()
    place.server.heal()
    assert place.pypm("sync") == 0


@needs_sandbox
def test_a_file_of_another_size(place: Place) -> None:
    assert place.pypm("lock") == 0
    content = make_wheel("b", "2.0").content
    place.server.fault("/files/b-2.0-py3-none-any.whl", Fault(body=content + b"more"))
    place.fails("sync", code=3, says="b-2.0-py3-none-any.whl")
    assert not (place.root / ".venv").exists()


@needs_sandbox
def test_a_download_that_is_always_cut_off(place: Place) -> None:
    assert place.pypm("lock") == 0
    place.server.fault("/files/b-2.0-py3-none-any.whl", Fault(truncate_at=10))
    place.fails("sync", code=1, says="b-2.0-py3-none-any.whl")
    place.server.heal()
    assert place.pypm("sync") == 0, "the rest is fetched from where it broke off"


@needs_sandbox
def test_a_file_that_is_gone(place: Place) -> None:
    assert place.pypm("lock") == 0
    place.server.fault("/files/b-2.0-py3-none-any.whl", Fault.status(404))
    place.fails("sync", code=1, says="b-2.0-py3-none-any.whl")


@needs_sandbox
def test_offline_with_a_full_store_and_without(place: Place) -> None:
    assert place.pypm("lock") == 0
    place.fails("sync", "--offline", code=1, says="offline", hints="--offline")
    assert place.pypm("sync") == 0
    shutil.rmtree(place.root / ".venv")
    asked = place.server.count()
    assert place.pypm("sync", "--offline") == 0, place.told
    assert place.pypm("run", "--offline", "python", "-c", "import a, b") == 0
    assert place.pypm("lock", "--offline", "--check") == 0, place.told
    assert place.server.count() == asked


@needs_sandbox
def test_no_network_with_a_full_store_and_without(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert place.pypm("lock") == 0
    monkeypatch.setenv("PYPM_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    place.fails("sync", "--frozen", code=1, says="127.0.0.1:9", hints="the network")
    monkeypatch.setenv("PYPM_DEFAULT_INDEX", place.server.url)
    assert place.pypm("sync", "--frozen") == 0
    shutil.rmtree(place.root / ".venv")
    monkeypatch.setenv("PYPM_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    assert place.pypm("sync", "--frozen") == 0, place.told


@needs_sandbox
def test_run_passes_the_exit_code_on(place: Place) -> None:
    assert place.pypm("run", "sh", "-c", "exit 7") == 7
    assert place.pypm("run", "sh", "-c", "kill -TERM $$") == 128 + 15
    assert place.pypm("run", "no-such-program") == 127
    assert "error: `no-such-program` is neither a program of the environment nor of the system" in place.told
    place.fails(
        "run", "nope.py", code=127, says=f"there is no script `nope.py` in `{place.root}`", hints="-m"
    )
    (place.root / "data").write_text("no program")
    assert place.pypm("run", "./data") == 126
    assert place.pypm("run", "--timeout", "0.2s", "sleep", "30") == 124
    assert not (place.root / ".venv").exists(), "run needs none"


@needs_sandbox
def test_no_sync_prepares_nothing(place: Place) -> None:
    assert place.pypm("lock") == 0
    place.fails("run", "--no-sync", "true", code=1, says="not in the store", hints="`pypm sync`")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["sync", "--extra", "nope"], "no extra `nope`"),
        (["sync", "--group", "nope"], "no group `nope`"),
        (["run", "--memory", "lots", "true"], "--memory"),
        (["run", "--profile", "nope", "true"], "nope"),
        (["lock", "--index", "nourl"], "--index"),
        (["lock", "-P", "a b"], "--upgrade-package"),
        (["lock", "-P", "nope"], "`--upgrade-package nope` names no package"),
        (["--project", "missing", "lock"], "missing"),
    ],
)
def test_flags_that_cannot_be_meant(place: Place, words: list[str], says: str) -> None:
    assert place.pypm("lock") == 0
    place.fails(*words, code=2, says=says)


def test_a_file_that_cannot_be_exported_to(place: Place) -> None:
    assert place.pypm("lock") == 0
    place.fails("export", "-o", "missing/pylock.toml", code=1, says="missing/pylock.toml`: No such file")
    assert ".tmp" not in place.told


def test_no_interpreter_fits(place: Place) -> None:
    place.fails("sync", "-p", "3.99", code=1, says="3.99")


# Disks ---------------------------------------------------------------------------------------------------


def unshared() -> list[str]:
    """How to get a mount namespace of one's own here."""
    return (
        ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    )


def _mounts_missing() -> str | None:
    program = [*unshared(), "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
    try:
        done = subprocess.run(program, capture_output=True, text=True, check=False)
    except OSError as error:
        return f"no `unshare`: {error}"
    return None if done.returncode == 0 else f"no mounts on this machine: {done.stderr.strip()}"


needs_mounts = pytest.mark.skipif(_mounts_missing() is not None, reason=str(_mounts_missing()))


def pypm_with_cache_on(place: Place, options: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the real program with the cache on a file system of its own."""
    place.cache.mkdir(exist_ok=True)
    mount = f'mount -t tmpfs -o mode=700,{options} tmpfs "$0" && exec "$@"'
    program = [sys.executable, "-m", "pypm", *words]
    return subprocess.run(
        [*unshared(), "sh", "-c", mount, str(place.cache), *program],
        cwd=place.root,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )


@needs_sandbox
@needs_mounts
def test_a_full_disk(place: Place) -> None:
    place.server.add("big", make_wheel("big", "1", files={"big.bin": os.urandom(600_000)}))
    place.write("big")
    assert place.pypm("lock") == 0
    before = place.state()
    done = pypm_with_cache_on(place, "size=500k", "sync")
    assert done.returncode == 1, done.stderr
    assert "No space left on device" in done.stderr
    assert "hint: free some space" in done.stderr
    assert "Traceback" not in done.stderr
    assert place.state() == before


@needs_sandbox
@needs_mounts
def test_a_read_only_cache(place: Place) -> None:
    assert place.pypm("lock") == 0
    before = place.state()
    done = pypm_with_cache_on(place, "ro", "sync")
    assert done.returncode == 1, done.stderr
    assert "Read-only file system" in done.stderr
    assert "PYPM_CACHE_DIR" in done.stderr
    assert "Traceback" not in done.stderr
    assert place.state() == before


@needs_sandbox
@needs_mounts
def test_a_read_only_cache_that_has_all(place: Place) -> None:
    assert place.pypm("sync") == 0
    shutil.rmtree(place.root / ".venv")
    pypm = f"{sys.executable} -m pypm"
    script = f"""set -e
mount --bind "$0" "$0"
mount -o remount,bind,ro "$0"
{pypm} sync --frozen
{pypm} run --frozen python -c 'import a, b'
{pypm} cache clean || echo "refused: $?"
"""
    done = subprocess.run(
        [*unshared(), "sh", "-c", script, str(place.cache)],
        cwd=place.root,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "refused: 1"
    assert done.stderr.count("Read-only file system") == 1, "told once, not again as its own cause"
    assert (place.root / ".venv/bin/python").exists()
    assert {path.name for path in place.root.iterdir()} == {"pyproject.toml", "pypm.lock", ".venv"}
