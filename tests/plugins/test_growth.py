"""Growth within version 1: plugins and hosts of different ages, each with the structures of its own time.

Headers of the past and the future are made from today's, and so are hosts: with fields taken away at the end
of a structure, or appended to it.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from pypm.errors import PluginError
from pypm.plugins import policy
from pypm.plugins.inside.context import Package, Stage
from tests.plugins.bench import HEADERS, SOURCES, Scene, build, needs_compiler, needs_sandbox
from tests.plugins.test_stages import Place, place, recorder, warm

__all__ = ["place", "recorder", "warm"]
pytestmark = [needs_sandbox, needs_compiler]

HEADER = (HEADERS / "pypm_plugin.h").read_text(encoding="ascii")
TODAY = policy.INSIDE
APPENDED = {
    "pypm_package": "const char *licence;",
    "pypm_option": "const char *origin;",
    "pypm_host": "int (*sing)(void *user, pypm_uint32 level, const char *song);",
    "pypm_context": "const char *moon;",
    "pypm_descriptor": "const char *licence;",
}


def older_header() -> str:
    """Return the header of the first pypm with version 1, whose packages knew nothing of builds."""
    older = re.sub(r"    /\* The fields from here on.*?(?=\} pypm_package;)", "", HEADER, flags=re.DOTALL)
    assert "build_key;" not in older
    return older


def newer_header() -> str:
    """Return the header with a field behind each structure."""
    newer = HEADER
    for name, field in APPENDED.items():
        newer = newer.replace(f"}} {name};", f"    {field}\n}} {name};")
    assert all(newer.count(field) for field in APPENDED.values())
    return newer


def compiled(scene: Scene, header: str, *flags: str) -> None:
    """Compile `aged.c` against a header into the scene's folder of plugins."""
    shutil.copy(SOURCES / "aged.c", scene.root / "aged.c")
    (scene.root / "pypm_plugin.h").write_text(header)
    build(scene.root / "aged.c", scene.folder / "pypm_aged.so", *flags)


def edited(folder: Path, *edits: tuple[str, str, str]) -> Path:
    """Copy the host's code, with edits of a file, a text in it, and what takes its place."""
    copy = folder / "another" / "inside"
    shutil.copytree(TODAY, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for name, old, new in edits:
        text = (copy / name).read_text(encoding="utf-8")
        assert text.count(old) == 1, old
        (copy / name).write_text(text.replace(old, new), encoding="utf-8")
    return copy


@pytest.fixture
def newer_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts of a pypm whose structures have a field more each, which it fills."""
    text = '        ("{}", c.c_char_p),\n'
    inside = edited(
        tmp_path,
        (
            "abi.py",
            '("build_record", c.c_char_p),\n',
            '("build_record", c.c_char_p),\n' + text.format("licence"),
        ),
        ("abi.py", '("value", c.c_char_p),\n', '("value", c.c_char_p),\n' + text.format("origin")),
        ("abi.py", '("cancelled", CANCELLED),\n', '("cancelled", CANCELLED),\n        ("sing", LOG),\n'),
        ("abi.py", '("host", c.POINTER(Host)),\n', '("host", c.POINTER(Host)),\n' + text.format("moon")),
        (
            "abi.py",
            '("stages", c.c_uint32),\n        ("reserved", c.c_uint32),\n',
            '("stages", c.c_uint32),\n        ("reserved", c.c_uint32),\n' + text.format("licence"),
        ),
        (
            "native.py",
            'size_bytes=package["size_bytes"],',
            'size_bytes=package["size_bytes"], licence=b"MIT",',
        ),
        ("native.py", "log=abi.LOG(self._log),", "log=abi.LOG(self._log), sing=abi.LOG(self._log),"),
        ("native.py", "package_count=len(packages),", 'package_count=len(packages), moon=b"full",'),
    )
    monkeypatch.setattr(policy, "INSIDE", inside)


@pytest.fixture
def older_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hosts of the first pypm with version 1."""
    fields = '        ("build_key", c.c_char_p),\n        ("build_record", c.c_char_p),\n'
    inside = edited(
        tmp_path,
        ("abi.py", fields, ""),
        ("native.py", ', "build_key", "build_record")', ")"),
    )
    monkeypatch.setattr(policy, "INSIDE", inside)


def heard(scene: Scene) -> list[str]:
    """Call the hook once; return what it told."""
    packages = tuple(Package(name=name, sha256=name * 64, build_key="c" * 64) for name in ("a", "b"))
    with scene.session("aged", options={"one": 1, "two": 2}) as session:
        session.call(scene.context(Stage.PRE_RUN, packages=packages))
    return [line for _, line in scene.heard.lines]


SEEN = ["a aaaaaaaaa", "b bbbbbbbbb", "one=1", "two=2"]
"""What every header knows."""


def test_a_plugin_of_a_newer_header_is_refused_politely(workshop: Scene) -> None:
    compiled(workshop, newer_header(), "-DNEWER")
    with pytest.raises(PluginError) as caught:
        heard(workshop)
    assert caught.value.reference == "plugin-newer-abi"
    assert re.search(r"needs a context of \d+ bytes, and this pypm's has \d+", caught.value.message)
    assert caught.value.hint == "use a newer pypm, or an older version of the plugin"
    assert not workshop.heard.lines, "no hook was called"


def test_a_plugin_of_another_version_is_refused_politely(workshop: Scene) -> None:
    compiled(workshop, newer_header().replace("PYPM_ABI_VERSION 1u", "PYPM_ABI_VERSION 2u"), "-DNEWER")
    with pytest.raises(
        PluginError, match="for version 2 of the plugin interface, and this pypm speaks"
    ) as caught:
        heard(workshop)
    assert caught.value.hint == "use a newer pypm, or an older version of the plugin"


def test_a_command_refuses_a_plugin_of_a_newer_header_in_one_sentence(place: Place, tmp_path: Path) -> None:
    scene = Scene(root=tmp_path, folder=place.root / "plugins", scratch=tmp_path)
    compiled(scene, newer_header(), "-DNEWER")
    place.project('plugins = ["aged"]', package=False)
    first, second = place("lock", code=1).stderr.splitlines()
    assert first.startswith("error: the plugin `aged` needs a context of")
    assert second == "hint: use a newer pypm, or an older version of the plugin"
    assert not (place.root / "pypm.lock").exists()


def test_a_plugin_of_a_newer_header_that_asks_what_there_is_works_here(workshop: Scene) -> None:
    compiled(workshop, newer_header(), "-DNEWER", "-DCONTEXT_BYTES=offsetof(pypm_context, moon)")
    told = heard(workshop)
    assert [line for line in told if line in SEEN] == SEEN
    assert told.count("licence not known") == 2
    assert told.count("build key ccccccccc") == 2
    assert told[-1] == "moon not known", "and it did not sing"


@pytest.mark.usefixtures("newer_host")
def test_a_plugin_of_a_newer_header_has_everything_in_a_newer_host(workshop: Scene) -> None:
    compiled(workshop, newer_header(), "-DNEWER")
    told = heard(workshop)
    assert [line for line in told if line in SEEN] == SEEN
    assert told.count("licence MIT") == 2
    assert told[-2:] == ["moon full", "la"]


@pytest.mark.usefixtures("newer_host")
def test_a_plugin_of_today_works_in_a_newer_host(workshop: Scene) -> None:
    compiled(workshop, HEADER)
    told = heard(workshop)
    assert [line for line in told if line in SEEN] == SEEN
    assert told.count("build key ccccccccc") == 2


@pytest.mark.usefixtures("newer_host")
def test_the_first_plugins_work_in_a_newer_host(workshop: Scene) -> None:
    compiled(workshop, older_header(), "-DOLDER")
    assert heard(workshop) == SEEN


def test_the_first_plugins_work_here(workshop: Scene) -> None:
    compiled(workshop, older_header(), "-DOLDER")
    assert heard(workshop) == SEEN


@pytest.mark.usefixtures("older_host")
def test_a_plugin_of_today_works_in_the_first_host(workshop: Scene) -> None:
    compiled(workshop, HEADER)
    told = heard(workshop)
    assert [line for line in told if line in SEEN] == SEEN
    assert told.count("build key not known") == 2
