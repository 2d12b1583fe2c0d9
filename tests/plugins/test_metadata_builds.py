"""`pre-build` where a lock asks a build for metadata: its data, its refusal, and where none is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.bench import needs_compiler, needs_sandbox
from tests.plugins.test_stages import BACKEND, BUILT, Place, place, recorder, stages, warm
from tests.support.index_server import make_sdist

__all__ = ["place", "recorder", "warm"]

pytestmark = [needs_sandbox, needs_compiler]

READS = 'allow-read = ["packages"]'
LOCKING = "lock=0 env=0 python=0 tags=0 token=(null) :"


def _add_asked(place: Place, name: str = "s", *, pyproject: str = BUILT) -> None:
    """Offer a package whose requirements only a build tells."""
    files = {
        "backend.py": BACKEND.replace("s-1.0", f"{name}-1.0").replace("Name: s", f"Name: {name}").encode()
    }
    place.server.add(
        name, make_sdist(name, "1.0", dynamic=["Requires-Dist"], pyproject=pyproject, files=files)
    )


def _tree(folder: Path) -> None:
    """Write a project whose version only its build tells."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(f'{BUILT}[project]\nname = "s"\ndynamic = ["version"]\n')
    (folder / "backend.py").write_text(BACKEND)


def test_a_lock_calls_pre_build_before_a_backend_tells_metadata(place: Place) -> None:
    _add_asked(place)
    place.project("", "s", grants=READS)
    told = place.told("lock")
    assert [line.partition(" ")[2] for line in told] == [
        f"pre-lock {LOCKING}",
        f"pre-fetch {LOCKING} s-1.0+artifact+sha256",
        f"post-fetch {LOCKING} s-1.0+artifact+sha256+path",
        f"pre-build {LOCKING} s-1.0+artifact+sha256+path",
        "post-lock lock=1 env=0 python=0 tags=0 token=(null) : s-1.0",
    ]
    assert stages(place.told("lock", "--refresh")) == ["pre-lock", "post-lock"], "what a build told is kept"
    told = stages(place.told("sync"))
    assert told == [
        "pre-sync",
        "post-fetch",
        "pre-build",
        "post-build",
        "pre-install",
        "post-install",
        "post-sync",
    ]


def test_a_lock_calls_pre_build_for_a_folder(place: Place) -> None:
    _tree(place.root / "s")
    place.project("[tool.pypm.sources]\ns = { path = 's' }", "s", grants=READS)
    assert place.told("lock")[1].partition(" ")[2] == f"pre-build {LOCKING} s-(null)"


@pytest.mark.parametrize("of", ["archive", "folder"])
def test_a_refused_build_tells_no_metadata(place: Place, of: str) -> None:
    sources = ""
    if of == "archive":
        _add_asked(place)
    else:
        _tree(place.root / "s")
        sources = "\n[tool.pypm.sources]\ns = { path = 's' }"
    place.project(f'at = "pre-build"{sources}', "s")
    for _ in range(2):
        said = place("lock", code=1).stderr
        assert "error: the plugin `recorder` stopped at `pre-build`: `s`: not like this" in said
        assert "Preparing" not in said, "no backend was asked"
        assert not (place.root / "pypm.lock").exists()


def test_what_such_a_build_requires_is_built_with_both_stages(place: Place) -> None:
    needs = BUILT.replace("requires = []", 'requires = ["tool"]')
    _add_asked(place, pyproject=needs)
    _add_asked(place, "tool")
    place.project("", "s", grants=READS)
    told = [line.partition(" ")[2] for line in place.told("lock")]
    about = [(line.split()[0], line.rpartition(": ")[2].split("-")[0]) for line in told]
    builds = [(stage, name) for stage, name in about if stage.endswith("-build")]
    assert builds == [
        ("pre-build", "s"),
        ("pre-build", "tool"),
        ("pre-build", "tool"),
        ("post-build", "tool"),
    ]
    (made,) = [line for line in told if line.startswith("post-build")]
    assert "python=1" in made


def test_a_lock_that_only_looks_calls_nothing(place: Place) -> None:
    _add_asked(place)
    place.project("", "s")
    assert place.told("lock", "--dry-run") == []
