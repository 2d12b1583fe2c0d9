from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from packaging.markers import Marker
from packaging.pylock import Pylock
from packaging.specifiers import SpecifierSet
from packaging.tags import parse_tag
from packaging.utils import canonicalize_name

from pypm.codec.pylock import export_pylock
from pypm.codec.toml import parse_toml
from pypm.digest import sha256_hex
from pypm.errors import LockError
from pypm.model.artifact import LockedArtifact
from pypm.model.lock import Lock, LockedDependency, LockedIndex, LockedPackage
from pypm.model.plan import Selection
from pypm.model.project import IndexSource, PathSource, Source, UrlSource, VcsSource, WorkspaceSource
from pypm.model.target import Target
from pypm.workflow.select import select


def artifact(filename: str) -> LockedArtifact:
    return LockedArtifact(filename=filename, sha256=sha256_hex(filename.encode()), size_bytes=len(filename))


def package(name: str, source: Source, *files: str, marker: str | None = None) -> LockedPackage:
    return LockedPackage(
        name=canonicalize_name(name),
        version="1.0",
        source=source,
        marker=None if marker is None else Marker(marker),
        dependencies=(LockedDependency(name=canonicalize_name("a")),) * 2,
        wheels=tuple(artifact(file) for file in files if file.endswith(".whl")),
        sdist=next((artifact(file) for file in files if file.endswith(".tar.gz")), None),
    )


DEFAULT = IndexSource(index="default")
LOCK = Lock(
    content_hash=sha256_hex(b""),
    requires_python=SpecifierSet(">=3.10"),
    environments=(Marker("sys_platform == 'linux'"), Marker("sys_platform == 'win32'")),
    extras=(canonicalize_name("fast"),),
    dependency_groups=(canonicalize_name("dev"),),
    default_groups=(canonicalize_name("dev"),),
    indexes=(LockedIndex(name="corp", url="https://corp.test/simple"), LockedIndex(name="default")),
    packages=(
        package("a", DEFAULT, "a-1.0-py3-none-any.whl", "a-1.0-cp311-cp311-linux_x86_64.whl", "a-1.0.tar.gz"),
        package("b", IndexSource(index="corp"), "b-1.0-py3-none-any.whl", marker="'fast' in extras"),
        package("c", DEFAULT, "c-1.0.tar.gz", marker="'dev' in dependency_groups"),
        package("d", VcsSource(kind="git", url="https://host.test/d.git", commit="0" * 40, subdirectory="x")),
        package("e", PathSource(path="../e", editable=True)),
        package("f", PathSource(path="f-1.0-py3-none-any.whl"), "f-1.0-py3-none-any.whl"),
        package("g", UrlSource(url="https://host.test/g.zip", subdirectory="y"), "g-1.0.tar.gz"),
    ),
)


def export(lock: Lock) -> dict[str, Any]:
    content = export_pylock(
        lock,
        default_index_url="https://index.test/simple",
        file_url=lambda _, artifact: f"https://files.test/{artifact.filename}",
    )
    return parse_toml(content, file_name="pylock.toml")


def test_the_export_is_a_valid_pylock() -> None:
    pylock = Pylock.from_dict(export(LOCK))
    assert [found.name for found in pylock.packages] == list("abcdefg")
    assert pylock.requires_python == LOCK.requires_python
    assert pylock.environments == list(LOCK.environments)
    assert (pylock.extras, pylock.dependency_groups, pylock.default_groups) == (["fast"], ["dev"], ["dev"])


def test_every_kind_of_source_has_its_field() -> None:
    a, b, c, d, e, f, g = export(LOCK)["packages"]
    wheel = LOCK.packages[0].wheels[0]
    assert a["index"] == "https://index.test/simple"
    assert a["dependencies"] == [{"name": "a"}]
    assert a["wheels"][0] == {
        "name": wheel.filename,
        "url": f"https://files.test/{wheel.filename}",
        "size": wheel.size_bytes,
        "hashes": {"sha256": wheel.sha256},
    }
    assert b["index"] == "https://corp.test/simple"
    assert b["marker"] == "'fast' in extras"
    assert "wheels" not in c
    assert d["vcs"] == {
        "type": "git",
        "url": "https://host.test/d.git",
        "commit-id": "0" * 40,
        "subdirectory": "x",
    }
    assert e["directory"] == {"path": "../e", "editable": True}
    assert f["archive"]["path"] == "f-1.0-py3-none-any.whl"
    assert g["archive"]["url"] == "https://host.test/g.zip"
    assert g["archive"]["subdirectory"] == "y"


@pytest.mark.parametrize("extras", [frozenset(), frozenset({"fast"})])
@pytest.mark.parametrize("groups", [frozenset(), frozenset({"dev"})])
@pytest.mark.parametrize("tags", [("py3-none-any",), ("cp311-cp311-linux_x86_64", "py3-none-any")])
def test_another_reader_selects_the_same_artifacts(extras: Any, groups: Any, tags: tuple[str, ...]) -> None:
    from packaging.markers import default_environment

    environment: Any = {**default_environment(), "sys_platform": "linux"}
    ours = select(
        LOCK,
        Target(marker_environment=environment, tags=tags),
        Selection(extras=extras, groups=groups),
    )
    theirs = Pylock.from_dict(export(LOCK)).select(
        environment=environment,
        tags=[tag for text in tags for tag in parse_tag(text)],
        extras=extras,
        dependency_groups=groups,
    )
    found = {entry.name: getattr(file, "name", None) for entry, file in theirs}
    assert {pick.package.name for pick in ours} == set(found)
    for pick in ours:
        if isinstance(pick.package.source, IndexSource):
            assert pick.artifact is not None
            assert pick.artifact.filename == found[pick.package.name]


@pytest.mark.parametrize(
    ("changed", "reference"),
    [
        (
            replace(LOCK.packages[0], sdist=LockedArtifact(filename="a-1.0.tar.gz", sha256=None)),
            "placeholder-hash",
        ),
        (package("w", WorkspaceSource()), "export-workspace"),
        (package("u", UrlSource(url="https://host.test/u.zip")), "lock-invalid"),
    ],
)
def test_what_cannot_be_said_is_refused(changed: LockedPackage, reference: str) -> None:
    with pytest.raises(LockError) as caught:
        export(replace(LOCK, packages=(changed,)))
    assert caught.value.reference == reference
