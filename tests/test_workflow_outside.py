"""A project takes from its neighbours what it names; into them it writes with the user's word alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import sandbox
from pypm.errors import ConfigurationError
from pypm.workflow.context import Context
from pypm.workflow.grants import require_writable
from pypm.workflow.outside import came_along, editable_outside
from pypm.workflow.report import SilentReporter
from pypm.workflow.settings import Overrides, load_settings
from pypm.workflow.trust import ConsentError, asked_for, digest_of_all, give_consent
from tests.support.index_server import make_wheel

CHECKOUT = Path(__file__).resolve().parent.parent
needs_namespaces = pytest.mark.skipif(
    not sandbox.probe().namespaces, reason=f"no sandbox on this machine: {sandbox.probe().cause}"
)
BACKEND = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
EDITABLE = '{ path = "../ours", editable = true }'
SHOWS = ("run", "python", "-c", "import ours; print(ours.SECRET)")
BUILDS = """\
import base64, hashlib, os, zipfile

def build_wheel(folder, *_, **__):
    name = "ours-1.0-py3-none-any.whl"
    files = {"ours-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: ours\\nVersion: 1.0\\n",
             "ours-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
             "ours.py": open("ours.py").read()}
    return packed(folder, name, files)

def build_editable(folder, *_, **__):
    name = "ours-1.0-py3-none-any.whl"
    files = {"ours-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: ours\\nVersion: 1.0\\n",
             "ours-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
             "ours.pth": os.getcwd() + "\\n"}
    if os.path.exists("fast.c"):
        open("fast.so", "w").write("compiled")
    return packed(folder, name, files)

def packed(folder, name, files):
    record = "ours-1.0.dist-info/RECORD,,\\n"
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text)}\\n"
    files["ours-1.0.dist-info/RECORD"] = record
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name
"""


def write(folder: Path, *, name: str = "clone", sources: str = "", more: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    depends = 'dependencies = ["ours"]\n' if sources else ""
    table = f"[tool.pypm.sources]\nours = {sources}\n" if sources else ""
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "{name}"\nversion = "1.0"\nrequires-python = ">=3.10"\n{depends}{more}{table}'
    )
    return folder


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Beside each other: a home with private sources, and whatever is cloned."""
    for name in [name for name in os.environ if name.startswith("PYPM_")]:
        monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    for name, value in (("HOME", tmp_path / "home"), ("XDG_CONFIG_HOME", tmp_path / "config")):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("PYPM_CACHE_DIR", str(tmp_path / "cache"))
    ours = write(tmp_path / "work" / "ours", name="ours", more=BACKEND)
    (ours / "backend.py").write_text(BUILDS)
    (ours / "ours.py").write_text("SECRET = 'a secret of ours'\n")
    return tmp_path / "work"


def context_of(root: Path) -> Context:
    return Context(load_settings(Overrides(project=root), dict(os.environ)), SilentReporter())


def outside(root: Path) -> tuple[Path, ...]:
    with context_of(root) as context:
        return editable_outside(context)


def repository(folder: Path, *, commit: bool = False) -> Path:
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    if commit:
        told = ["-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "-qm", "x"]
        for words in (["add", "."], told):
            subprocess.run(["git", "-C", str(folder), *words], check=True)
    return folder


def test_only_what_is_editable_would_be_written(place: Path) -> None:
    assert outside(write(place / "clone", sources=EDITABLE)) == (place / "ours",)
    assert outside(write(place / "clone", sources='{ path = "../ours" }')) == ()
    assert outside(write(place / "clone", sources=f'{{ git = "file://{place}/ours" }}')) == ()


def test_what_came_along_is_not_outside(place: Path) -> None:
    clone = write(place / "clone", sources='{ path = "lib/ours", editable = true }')
    write(clone / "lib" / "ours", name="ours")
    assert outside(clone) == ()
    # A repository is cloned as a whole.
    write(clone, sources=EDITABLE)
    assert outside(clone) == (place / "ours",)
    repository(place)
    assert outside(clone) == ()
    # One that is put into another one is none of it, nor is what has one of its own.
    repository(clone)
    assert outside(clone) == (place / "ours",)
    (clone / ".git" / "HEAD").unlink()  # As a sandbox's stand-in is: an empty folder.
    assert outside(clone) == ()
    repository(place / "ours")
    assert outside(clone) == (place / "ours",)


def test_a_home_under_version_control_is_no_clone(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository(place)
    monkeypatch.setenv("HOME", str(place))
    assert outside(write(place / "clone", sources=EDITABLE)) == (place / "ours",)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_repository_of_somebody_else_above_both_does_not_count(place: Path) -> None:
    repository(place)
    os.chown(place / ".git", 65534, 65534)
    assert outside(write(place / "clone", sources=EDITABLE)) == (place / "ours",)


def test_a_member_comes_along_with_its_workspace(place: Path) -> None:
    clone = write(place / "clone", sources=EDITABLE)
    write(place, name="top", more='[tool.pypm.workspace]\nmembers = ["clone"]\n')
    assert outside(clone) == (place / "ours",)
    write(place, name="top", more='[tool.pypm.workspace]\nmembers = ["clone", "ours"]\n')
    assert outside(clone) == ()
    # A member that a link of the workspace leads to is somewhere else.
    (place / "ours").rename(place.parent / "private")
    (place / "ours").symlink_to(place.parent / "private")
    assert outside(clone) == (place.parent / "private",)


def test_a_link_in_the_project_is_judged_by_where_it_leads(place: Path) -> None:
    clone = write(place / "clone", sources='{ path = "inner", editable = true }')
    (clone / "inner").symlink_to(place / "ours")
    with pytest.raises(ConfigurationError, match="leads to"):
        outside(clone)


def test_a_project_that_holds_the_home_is_written_and_nothing_in_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(place))
    write(place, sources='{ path = "ours", editable = true }')
    assert outside(place) == (place / "ours",)
    with context_of(place) as context:
        assert came_along(context, place)


def test_one_consent_is_for_one_folder(place: Path) -> None:
    clone = write(place / "clone", sources=EDITABLE)
    with context_of(clone) as context:
        (asked,) = asked_for(context)
        assert (asked.lines(), asked.consented) == ((f"writing `{place}/ours`",), False)
        give_consent(context, (asked,))
    # What is taken away asks for nothing, what comes to it asks for itself.
    write(place / "more", name="more")
    with (clone / "pyproject.toml").open("a") as stream:
        stream.write('more = { path = "../more", editable = true }\n')
    with context_of(clone) as context:
        assert [each.consented for each in asked_for(context)] == [False, True]
    # Another project that comes to lie here has another name.
    write(clone, name="other", sources=EDITABLE)
    with context_of(clone) as context:
        assert [each.consented for each in asked_for(context)] == [False]


def test_a_pipeline_vouches_for_two_projects_beside_each_other(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = write(place / "clone", sources=EDITABLE)
    with context_of(clone) as context:
        digest = digest_of_all(context)
    monkeypatch.setenv("PYPM_TRUST", f"sha256:{digest}")
    elsewhere = place.parent / "builder"
    place.rename(elsewhere)
    with context_of(elsewhere / "clone") as context:
        assert [each.consented for each in asked_for(context)] == [True]
    write(elsewhere / "clone", sources='{ path = "../../home", editable = true }')
    with context_of(elsewhere / "clone") as context:
        assert [each.consented for each in asked_for(context)] == [False]


def test_a_yes_on_the_terminal_is_kept_and_a_no_refuses(place: Path) -> None:
    clone, module = write(place / "clone", sources=EDITABLE), place / "ours" / "fast.so"
    shown: list[tuple[str, ...]] = []
    with context_of(clone) as context:
        require_writable(context, clone, (clone / "fast.so",))
        context.ask = lambda _, lines: bool(shown.append(lines))
        with pytest.raises(ConsentError):
            require_writable(context, place / "ours", (module,))
        context.ask = lambda _, lines: not shown.append(lines)
        for _ in range(2):
            require_writable(context, place / "ours", (module,))
    assert shown == [(str(module),)] * 2


def test_what_a_lock_alone_names_cannot_be_consented_to(place: Path) -> None:
    with context_of(write(place / "clone")) as context, pytest.raises(ConsentError):
        require_writable(context, place / "ours", (place / "ours" / "fast.so",))


# From the command line ------------------------------------------------------------------------------------


def pypm(root: Path, *words: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    """Type a command where nobody can be asked."""
    done = subprocess.run(
        [sys.executable, "-m", "pypm", *words],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), **variables},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


@needs_namespaces
@pytest.mark.parametrize(
    "sources",
    [
        '{ path = "../ours" }',
        EDITABLE,
        '{ path = "PLACE/ours" }',
        '{ path = "../ours-1.0-py3-none-any.whl" }',
        '{ git = "file://PLACE/ours" }',
    ],
)
def test_a_neighbour_is_used_without_a_question(place: Path, sources: str) -> None:
    repository(place / "ours", commit=True)
    wheel = make_wheel("ours", "1.0", files={"ours.py": b"SECRET = 'a secret of ours'\n"})
    (place / wheel.filename).write_bytes(wheel.content)
    clone = write(place / "clone", sources=sources.replace("PLACE", str(place)))
    before = files(place / "ours")
    for words in (("lock",), ("sync",), SHOWS, SHOWS):
        assert "consent" not in pypm(clone, *words).stderr
    assert pypm(clone, *SHOWS).stdout == "a secret of ours\n"
    assert files(place / "ours") == before


@needs_namespaces
def test_a_run_does_not_write_a_neighbour(place: Path) -> None:
    clone = write(place / "clone", sources=EDITABLE)
    pypm(clone, "sync")
    for name in ("ours.py", "new.py"):
        tried = pypm(clone, "run", "python", "-c", f"open('{place}/ours/{name}', 'a')", code=1)
        assert "Read-only file system" in tried.stderr


@needs_namespaces
def test_compiled_modules_are_written_to_a_neighbour_with_consent_alone(place: Path) -> None:
    ours, clone = place / "ours", write(place / "clone", sources=EDITABLE)
    (ours / "fast.c").write_text("")
    before = files(ours)
    pypm(clone, "lock")
    for words in (("sync",), SHOWS, ("run", "--no-grants", "true")):
        told = pypm(clone, *words, code=1).stderr
        assert "has compiled modules built that belong into" in told
        assert f"  {ours}/fast.so\n" in told
        assert "hint: `pypm trust` in the project asks you" in told
    assert files(ours) == before
    shown = pypm(clone, "trust", "--show").stdout
    assert shown.startswith(f"compiled modules  writing `{ours}`  (waits for your consent)\n")
    pypm(clone, "sync", PYPM_TRUST=shown.rpartition("=")[2].strip())
    assert files(ours) - before == {"fast.so"}
    assert pypm(clone, *SHOWS).stdout == "a secret of ours\n"
    # Nobody is asked about what is there already, and what was built is found.
    pypm(clone, *SHOWS, PYPM_CACHE_DIR=str(place / "another-cache"))
    (ours / "fast.so").write_text("another")
    pypm(clone, "sync", code=1, PYPM_CACHE_DIR=str(place / "a-third-cache"))
    assert (ours / "fast.so").read_text() == "another"
    pypm(clone, "trust", "--yes")
    pypm(clone, "sync", PYPM_CACHE_DIR=str(place / "a-third-cache"))
    assert (ours / "fast.so").read_text() == "compiled"


@needs_namespaces
def test_a_script_does_not_write_a_neighbour(place: Path) -> None:
    (place / "ours" / "fast.c").write_text("")
    script = place / "script.py"
    script.write_text(
        '# /// script\n# requires-python = ">=3.10"\n# dependencies = ["ours"]\n'
        '# [tool.pypm.sources]\n# ours = { path = "ours", editable = true }\n# ///\nimport ours\n'
    )
    told = pypm(place, "run", "script.py", code=1).stderr
    assert f"`{place}` has compiled modules built that belong into `{place}/ours`" in told
    assert not (place / "ours" / "fast.so").exists()
