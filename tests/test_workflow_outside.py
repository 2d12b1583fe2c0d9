"""What a project depends on outside of itself waits for the user's word, as what it grants itself does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import sandbox
from pypm.codec.lockfile import dump_lock, load_lock
from pypm.errors import ConfigurationError
from pypm.model.project import PathSource
from pypm.workflow.context import Context
from pypm.workflow.grants import ask_for_outside
from pypm.workflow.outside import named_sources, places_outside
from pypm.workflow.report import SilentReporter
from pypm.workflow.settings import Overrides, load_settings
from pypm.workflow.trust import asked_for, digest_of_all, give_consent

CHECKOUT = Path(__file__).resolve().parent.parent
needs_namespaces = pytest.mark.skipif(
    not sandbox.probe().namespaces, reason=f"no sandbox on this machine: {sandbox.probe().cause}"
)
BACKEND = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
BUILDS = """\
import base64, hashlib, os, zipfile

def build_wheel(folder, *_, **__):
    name = "ours-1.0-py3-none-any.whl"
    files = {"ours-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: ours\\nVersion: 1.0\\n",
             "ours-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
             "ours.pth": os.getcwd() + "\\n"}
    record = "ours-1.0.dist-info/RECORD,,\\n"
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text)}\\n"
    files["ours-1.0.dist-info/RECORD"] = record
    with zipfile.ZipFile(os.path.join(folder, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name

build_editable = build_wheel
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
        return places_outside(context, named_sources(context.project))


def repository(folder: Path) -> Path:
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return folder


@pytest.fixture(params=["path", "editable", "absolute", "address", "git", "requirement"])
def sources(request: pytest.FixtureRequest, place: Path) -> Iterator[str]:
    written = {
        "path": '{ path = "../ours" }',
        "editable": '{ path = "../ours", editable = true }',
        "absolute": f'{{ path = "{place}/ours" }}',
        "address": f'{{ path = "file://{place}/ours" }}',
        "git": f'{{ git = "file://{place}/ours" }}',
        "requirement": "",
    }
    yield written[request.param]


def test_every_way_to_name_a_place_is_seen(place: Path, sources: str) -> None:
    more = "" if sources else f'dependencies = ["ours @ file://{place}/ours"]\n'
    assert outside(write(place / "clone", sources=sources, more=more)) == (place / "ours",)


def test_an_index_of_this_machine_is_a_place_as_well(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = '[[tool.pypm.index]]\nname = "near"\nurl = "%s"\nformat = "flat"\n'
    clone = write(place / "clone", more=table % "../ours")
    monkeypatch.chdir(place.parent)  # It is told from the project, wherever one stands.
    assert outside(clone) == (place / "ours",)
    assert outside(write(clone, more=table % f"file://{place}/ours")) == (place / "ours",)
    assert outside(write(clone, more=table % "wheels")) == ()
    assert outside(write(clone, more=table % "https://index.example/simple")) == ()
    # The user's own mirror is the user's word.
    default = f'[[tool.pypm.index]]\nurl = "file://{place}/ours"\ndefault = true\n'
    assert outside(write(clone, more=default)) == (place / "ours",)
    monkeypatch.setenv("PYPM_DEFAULT_INDEX", "https://mirror.example/simple")
    assert outside(clone) == ()
    monkeypatch.setenv("PYPM_DEFAULT_INDEX", f"file://{place}")
    assert outside(clone) == ()


@pytest.mark.parametrize(
    "where",
    [
        "optional-dependencies]\nx",
        "dependency-groups]\nx",
        "tool.pypm]\noverrides",
        "tool.pypm]\nconstraints",
    ],
)
def test_an_address_is_seen_wherever_a_requirement_stands(place: Path, where: str) -> None:
    table = f"[project.{where}" if where.startswith("optional") else f"[{where}"
    assert outside(write(place / "clone", more=f'{table} = ["ours @ file://{place}/ours"]\n')) == (
        place / "ours",
    )


def test_what_came_along_is_not_outside(place: Path) -> None:
    clone = write(place / "clone", sources='{ path = "lib/ours" }')
    write(clone / "lib" / "ours", name="ours")
    assert outside(clone) == ()
    # A repository is cloned as a whole.
    write(clone, sources='{ path = "../ours" }')
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
    assert outside(write(place / "clone", sources='{ path = "../ours" }')) == (place / "ours",)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_repository_of_somebody_else_above_both_does_not_count(place: Path) -> None:
    repository(place)
    os.chown(place / ".git", 65534, 65534)
    assert outside(write(place / "clone", sources='{ path = "../ours" }')) == (place / "ours",)


def test_a_member_comes_along_with_its_workspace(place: Path) -> None:
    clone = write(place / "clone", sources='{ path = "../ours" }')
    write(place, name="top", more='[tool.pypm.workspace]\nmembers = ["clone"]\n')
    assert outside(clone) == (place / "ours",)
    write(place, name="top", more='[tool.pypm.workspace]\nmembers = ["clone", "ours"]\n')
    assert outside(clone) == ()
    # A member that a link of the workspace leads to is somewhere else.
    (place / "ours").rename(place.parent / "private")
    (place / "ours").symlink_to(place.parent / "private")
    assert outside(clone) == (place.parent / "private",)


def test_a_link_in_the_project_is_judged_by_where_it_leads(place: Path) -> None:
    clone = write(place / "clone", sources='{ path = "inner" }')
    (clone / "inner").symlink_to(place / "ours")
    with pytest.raises(ConfigurationError, match="leads to"):
        outside(clone)
    (clone / "ours-1.0.tar.gz").symlink_to(place / "ours" / "ours.py")
    assert outside(write(clone, sources='{ path = "ours-1.0.tar.gz" }')) == (place / "ours" / "ours.py",)


def test_one_consent_is_for_one_place(place: Path) -> None:
    clone = write(place / "clone", sources='{ path = "../ours" }')
    with context_of(clone) as context:
        (asked,) = asked_for(context)
        assert (asked.lines(), asked.consented) == ((f"reading `{place}/ours`",), False)
        give_consent(context, (asked,))
    # What is taken away asks for nothing, what comes to it asks for itself.
    write(place / "more", name="more")
    write(clone, sources='{ path = "../ours" }', more="")
    with (clone / "pyproject.toml").open("a") as stream:
        stream.write('more = { path = "../more" }\n')
    with context_of(clone) as context:
        assert [each.consented for each in asked_for(context)] == [False, True]
    # Another project that comes to lie here has another name.
    write(clone, name="other", sources='{ path = "../ours" }')
    with context_of(clone) as context:
        assert [each.consented for each in asked_for(context)] == [False]


def test_a_pipeline_vouches_for_two_projects_beside_each_other(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clone = write(place / "clone", sources='{ path = "../ours" }')
    with context_of(clone) as context:
        digest = digest_of_all(context)
    monkeypatch.setenv("PYPM_TRUST", f"sha256:{digest}")
    elsewhere = place.parent / "builder"
    place.rename(elsewhere)
    with context_of(elsewhere / "clone") as context:
        assert [each.consented for each in asked_for(context)] == [True]
    write(elsewhere / "clone", sources='{ path = "../../home" }')
    with context_of(elsewhere / "clone") as context:
        assert [each.consented for each in asked_for(context)] == [False]


def test_a_yes_on_the_terminal_is_to_what_was_shown(place: Path) -> None:
    clone = write(place / "clone", sources='{ path = "../ours" }')
    shown: list[tuple[str, ...]] = []
    with context_of(clone) as context:
        ask_for_outside(context, lambda _, lines: bool(shown.append(lines)))
        assert [each.consented for each in asked_for(context)] == [False]
        ask_for_outside(context, lambda _, lines: not shown.append(lines))
        assert [each.consented for each in asked_for(context)] == [True]
        ask_for_outside(context, lambda _, lines: bool(shown.append(lines)))
    assert shown == [(f"reading `{place}/ours`",)] * 2


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


SHOWS = ("run", "python", "-c", "import ours; print(ours.SECRET)")


@needs_namespaces
def test_no_command_reads_what_nobody_consented_to(place: Path) -> None:
    clone = write(place / "clone", sources='{ path = "../ours", editable = true }')
    for words in (("lock",), ("sync",), SHOWS):
        told = pypm(clone, *words, code=1).stderr
        assert f"`{clone}` depends on what lies outside of it, and you have not consented to it" in told
        assert f"  reading `{place}/ours`" in told
        assert ("--allow-read=" in told) is (words == SHOWS)
    assert not (clone / "pypm.lock").exists()
    assert pypm(clone, "trust", "--show").stdout.startswith(f"dependencies  reading `{place}/ours`  (waits")
    pypm(clone, "trust", "--yes")
    pypm(clone, "sync")
    for _ in range(2):
        assert pypm(clone, *SHOWS).stdout == "a secret of ours\n"
    assert list((place.parent / "cache" / "plans-v1").iterdir())
    pypm(clone, "trust", "--revoke")
    for words in (("sync",), ("sync", "--frozen"), SHOWS, ("run", "--frozen", "true")):
        pypm(clone, *words, code=1)
    # A flag is the user's own word, for this command.
    for _ in range(2):
        assert pypm(clone, "run", "--allow-read", "../ours", *SHOWS[1:]).stdout == "a secret of ours\n"
    pypm(clone, *SHOWS, code=1)


@needs_namespaces
def test_a_lock_does_not_name_what_the_project_does_not(place: Path) -> None:
    """A lock that somebody wrote by hand fits its project, and still nobody was asked."""
    clone = write(place / "clone", sources='{ path = "ours" }')
    (place / "ours").rename(clone / "ours")
    pypm(clone, "lock")
    (clone / "ours").rename(place / "ours")
    path = clone / "pypm.lock"
    lock = load_lock(path.read_bytes())
    (ours,) = lock.packages
    elsewhere = replace(ours, source=PathSource(path="../ours"))
    path.write_bytes(dump_lock(replace(lock, packages=(elsewhere,))))
    told = pypm(clone, "sync", "--frozen", code=1).stderr
    assert "you have not consented" in told
    assert "a lock or a package alone cannot ask" in told


@needs_namespaces
def test_a_script_takes_the_users_flag_alone(place: Path) -> None:
    script = place / "script.py"
    script.write_text(
        '# /// script\n# requires-python = ">=3.10"\n'
        f'# dependencies = ["ours @ file://{place}/ours"]\n# [tool.pypm]\n# allow-startup-code = ["ours"]\n'
        "# ///\nimport importlib.metadata\nprint(importlib.metadata.version('ours'))\n"
    )
    told = pypm(place, "run", "script.py", code=1).stderr
    assert f"reading `{place}/ours`" in told
    assert f"hint: for this one time: `--allow-read={place}/ours`" in told
    assert pypm(place, "run", "--allow-read", "ours", "script.py").stdout == "1.0\n"


@needs_namespaces
def test_what_a_package_needs_to_be_built_is_asked_for_as_well(place: Path) -> None:
    clone = write(place / "clone", more=BACKEND.replace("[]", f'["ours @ file://{place}/ours"]', 1))
    (clone / "backend.py").write_text(BUILDS.replace("ours", "clone"))
    told = pypm(clone, "sync", code=1).stderr
    assert f"reading `{place}/ours`" in told
    assert not json.loads(pypm(clone, "trust", "--json").stdout)["profiles"]
