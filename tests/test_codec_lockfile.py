from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from packaging.markers import Marker
from packaging.specifiers import SpecifierSet
from packaging.utils import NormalizedName

from pypm.codec import locktext
from pypm.codec.lockfile import check_fresh, dump_lock, has_placeholders, load_lock
from pypm.codec.toml import parse_toml
from pypm.digest import Sha256, sha256_hex
from pypm.errors import ConfigurationError, IntegrityError, LockError, PypmError
from pypm.model.artifact import LockedArtifact
from pypm.model.lock import Lock, LockedDependency, LockedIndex, LockedPackage, LockedPlugin, PluginBuild
from pypm.model.project import IndexSource, PathSource, UrlSource, VcsSource, WorkspaceSource

names: Any = st.from_regex(r"[a-z]([a-z0-9]{0,3}(-[a-z0-9]{1,3})?)", fullmatch=True)
hashes: Any = st.binary(max_size=4).map(sha256_hex)
versions = st.sampled_from(["1.0", "2.0rc1", "3.post1", "1!4.0+local.1"])
markers = st.sampled_from(
    [
        Marker("sys_platform == 'win32'"),
        Marker("python_version >= '3.11' and 'x' in extras"),
        Marker("'dev' in dependency_groups or os_name == 'nt'"),
    ]
)
specifiers = st.sampled_from([SpecifierSet(">=3.10"), SpecifierSet("<4,>=3.11,!=3.12.1"), SpecifierSet("")])
texts = st.text(max_size=8) | st.sampled_from(
    [" = ", " = = =", "a = b", '"', "\\", "\x7f", "\n", "\u2028", "é\U0001f40d"]
)
edges = st.builds(
    LockedDependency,
    name=names,
    version=st.none() | versions,
    marker=st.none() | markers,
    extras=st.lists(names, max_size=2, unique=True).map(sorted).map(tuple),
    extra=st.none() | names,
)
edge_lists: Any = st.lists(edges, max_size=3, unique_by=lambda edge: edge.name).map(
    lambda found: tuple(sorted(found, key=lambda edge: edge.name))
)
edge_tables: Any = st.dictionaries(names, edge_lists, max_size=2).map(
    lambda table: MappingProxyType(dict(sorted(table.items())))
)


def artifacts(filename: str) -> Any:
    return st.builds(
        LockedArtifact,
        filename=st.just(filename),
        sha256=hashes,
        size_bytes=st.none() | st.integers(0, 1 << 40),
        path=st.none() | st.sampled_from(["a/b/c.whl", "x", "p%20q/r s"]),
        upload_time=st.none() | st.just("2026-01-31T00:00:00Z"),
        merkle_root=st.none() | hashes,
    )


@st.composite
def packages(draw: Any, name: str) -> LockedPackage:
    stem = name.replace("-", "_")
    tags = draw(st.lists(st.sampled_from(["py3-none-any", "cp311-cp311-win_amd64"]), unique=True, max_size=2))
    wheels = tuple(draw(artifacts(f"{stem}-1.0-{tag}.whl")) for tag in sorted(tags))
    sdist = draw(st.none() | artifacts(f"{stem}-1.0.tar.gz"))
    places: list[Any] = [
        IndexSource(index="default"),
        IndexSource(index="corp"),
        UrlSource(url="https://host.test/a.whl", subdirectory="sub"),
        VcsSource(kind="git", url="https://host.test/a.git", revision="main", commit="0" * 40),
        PathSource(path="../beside", editable=draw(st.booleans())),
        WorkspaceSource(),
    ]
    return LockedPackage(
        name=name,
        version=draw(st.none() | versions),
        source=draw(st.sampled_from(places)),
        marker=draw(st.none() | markers),
        requires_python=draw(st.none() | specifiers),
        dependencies=draw(edge_lists),
        sdist=sdist,
        wheels=wheels,
        yanked=draw(st.none() | texts),
    )


BUILDS = (
    PluginBuild(sha256=sha256_hex(b"1"), filename="x.c", origin="pypm"),
    PluginBuild(sha256=sha256_hex(b"2"), filename="pypm_x.so", origin="user", platform="linux-aarch64-musl"),
    PluginBuild(sha256=sha256_hex(b"3"), filename="pypm_x.so", origin="project", platform="linux-x86_64"),
)
plugin_lists: Any = st.sampled_from(
    [
        (),
        (LockedPlugin(name="x", builds=BUILDS[1:]),),
        (
            LockedPlugin(name="x", builds=BUILDS[:1]),
            LockedPlugin(name="y", package=NormalizedName("y-plugin")),
        ),
    ]
)


@st.composite
def locks(draw: Any) -> Lock:
    sorted_names = st.lists(names, max_size=2, unique=True).map(sorted).map(tuple)
    return Lock(
        content_hash=draw(hashes),
        requires_python=draw(specifiers),
        packages=tuple(
            draw(packages(name)) for name in sorted(draw(st.lists(names, max_size=4, unique=True)))
        ),
        environments=tuple(draw(st.lists(markers, max_size=2))),
        forks=tuple(draw(st.lists(markers, max_size=2))),
        extras=draw(sorted_names),
        dependency_groups=draw(sorted_names),
        default_groups=draw(sorted_names),
        indexes=(LockedIndex(name="corp", url="https://corp.test/simple"), LockedIndex(name="default")),
        root_dependencies=draw(edge_lists),
        extra_dependencies=draw(edge_tables),
        group_dependencies=draw(edge_tables),
        plugins=draw(plugin_lists),
        exclude_newer=draw(st.none() | texts),
        strategy=draw(st.sampled_from(["highest", "lowest", "lowest-direct"])),
    )


A_HASH = Sha256("a" * 64)
WHEEL = LockedArtifact(filename="demo_x-1.0-py3-none-any.whl", sha256=A_HASH, size_bytes=7, path="d/demo.whl")
PACKAGE = LockedPackage(
    name="demo-x",  # type: ignore[arg-type]
    version="1.0",
    source=IndexSource(index="default"),
    marker=Marker("python_version >= '3.11'"),
    dependencies=(LockedDependency(name="other", extras=("fast",)),),  # type: ignore[arg-type]
    sdist=LockedArtifact(filename="demo-x-1.0.tar.gz", sha256=A_HASH),
    wheels=(WHEEL,),
)
LOCK = Lock(
    content_hash=Sha256("b" * 64),
    requires_python=SpecifierSet(">=3.10"),
    packages=(PACKAGE,),
    indexes=(LockedIndex(name="default"),),
)
TEXT = dump_lock(LOCK)


@settings(max_examples=40)
@given(locks())
def test_what_was_dumped_loads_to_the_same_lock_and_the_same_bytes(lock: Lock) -> None:
    content = dump_lock(lock)
    loaded = load_lock(content)
    assert loaded == lock
    assert dump_lock(loaded) == content


@settings(max_examples=40)
@given(locks())
def test_the_quick_reading_is_the_reading_of_toml(lock: Lock) -> None:
    content = dump_lock(lock)
    assert locktext._read_own_form(content.decode()) == parse_toml(content, file_name="x")


@settings(max_examples=40)
@given(locks(), st.randoms())
def test_the_order_of_packages_and_artifacts_is_no_content(lock: Lock, rng: Any) -> None:
    packages = [replace(package, wheels=package.wheels[::-1]) for package in lock.packages]
    rng.shuffle(packages)
    assert dump_lock(replace(lock, packages=tuple(packages))) == dump_lock(lock)


@settings(max_examples=150)
@given(st.data())
def test_every_edit_of_one_byte_is_noticed_or_means_nothing(data: Any) -> None:
    position = data.draw(st.integers(0, len(TEXT) - 1))
    edit = data.draw(st.sampled_from([b"", b" ", b"#", b"0", b"a", b'"', b"\n", b"=", b"[", b"\xff"]))
    edited = TEXT[:position] + edit + TEXT[position + data.draw(st.integers(0, 1)) :]
    try:
        assert load_lock(edited) == LOCK
    except (LockError, IntegrityError) as error:
        assert error.hint


def test_every_cut_is_noticed() -> None:
    for position in range(len(TEXT) - 1):
        with pytest.raises((LockError, IntegrityError)):
            load_lock(TEXT[:position])


@given(
    st.dictionaries(
        names, texts | st.integers(0, 1 << 60) | st.booleans() | st.lists(texts, max_size=3), min_size=1
    )
)
@example({"a": ["x = 1", " y"]})
def test_any_table_can_be_read_back(table: dict[str, Any]) -> None:
    content = locktext.write_text({"packages": [table, table], **table} if "packages" not in table else table)
    assert locktext.read_text(content.encode(), file_name="x") == parse_toml(content.encode(), file_name="x")


@given(st.text(alphabet="ab\" =[]{},\n#'\\", max_size=30))
def test_the_quick_reading_accepts_nothing_that_toml_reads_otherwise(text: str) -> None:
    try:
        quick = locktext._read_own_form(text)
    except ValueError:
        return
    try:
        slow = parse_toml(text.encode(), file_name="x")
    except ConfigurationError:
        # More white space and commas are let pass than TOML allows; they carry no content.
        assume(False)
    assert quick == slow


def test_the_text_is_small_sorted_and_bound_to_no_host() -> None:
    lines = TEXT.decode().splitlines()
    assert lines[0].startswith("# Made by `pypm lock`")
    assert [line.split(" = ")[0] for line in lines[1:4]] == ["lock-version", "content-hash", "lock-hash"]
    assert (
        f'    {{name = "demo_x-1.0-py3-none-any.whl", size = 7, '
        f'hashes = {{sha256 = "{A_HASH}"}}, path = "d/demo.whl"}},' in lines
    )
    assert b"://" not in TEXT


def test_a_lock_is_the_same_however_it_is_laid_out() -> None:
    laid_out = TEXT.replace(b"\n", b"\r\n").replace(b"lock-version = 1", b"lock-version   =   1 # one")
    assert load_lock(laid_out) == LOCK


def edited(before: str, after: str) -> bytes:
    assert before in TEXT.decode()
    return TEXT.decode().replace(before, after).encode()


def unsealed(before: str, after: str) -> bytes:
    """A lock written by hand: without a lock-hash, and with a placeholder."""
    text = edited(before, after).decode().replace('{sha256 = "' + A_HASH, '{sha256 = "sha256:TODO-sha256', 1)
    return "".join(
        line for line in text.splitlines(keepends=True) if not line.startswith("lock-hash")
    ).encode()


@pytest.mark.parametrize(
    ("content", "reference", "exit_code"),
    [
        (b"", "lock-truncated", 1),
        (TEXT[: TEXT.index(b"size")], "lock-truncated", 1),
        (TEXT[: TEXT.index(b"wheels = [")] + b"wheels = [\n", "lock-truncated", 1),
        (edited("[[packages]]", "<<<<<<< HEAD\n[[packages]]\n=======\n>>>>>>> b"), "lock-merge-conflict", 1),
        (edited("lock-version = 1", "lock-version = 2"), "lock-too-new", 1),
        (edited("lock-version = 1", ""), "lock-malformed", 1),
        (edited("lock-version = 1", "lock-version: 1"), "lock-malformed", 1),
        (edited("size = 7", "size = 8"), "lock-edited", 3),
        (edited('"default"', '"other"'), "lock-edited", 3),
        (edited("size = 7", "size = 2026-01-01"), "lock-edited", 3),
        (edited("lock-hash", "#"), "lock-hash-missing", 3),
        (b"\xff" + TEXT, "lock-malformed", 1),
    ],
)
def test_each_kind_of_damage_has_its_own_error_and_mend(
    content: bytes, reference: str, exit_code: int
) -> None:
    with pytest.raises(PypmError) as caught:
        load_lock(content, file_name="other.lock")
    assert (caught.value.reference, caught.value.exit_code) == (reference, exit_code)
    assert caught.value.hint
    assert "other.lock" in caught.value.message


def test_a_newer_lock_names_the_pypm_that_it_needs() -> None:
    content = edited("lock-version = 1", 'lock-version = 9\nrequires-pypm = "1.5"')
    with pytest.raises(LockError, match=r"^this lock needs pypm >= 1\.5"):
        load_lock(content)


def test_a_lock_with_placeholders_loads_without_a_lock_hash() -> None:
    lock = load_lock(unsealed("size = 7, ", ""))
    assert has_placeholders(lock)
    assert lock.packages[0].sdist is not None
    assert lock.packages[0].sdist.sha256 is None
    assert lock.packages[0].wheels[0].sha256 == A_HASH
    assert load_lock(dump_lock(lock)) == lock
    assert b"sha256:TODO-sha256" in dump_lock(lock)
    assert not has_placeholders(LOCK)


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        ('name = "demo-x"', 'name = "Demo_X"', "packages[0].name"),
        ('version = "1.0"', 'version = "one"', "packages[0].version"),
        ('version = "1.0"', "version = 1", "packages[0].version"),
        ("python_version >= '3.11'", "python >= 3", "packages[0].marker"),
        ('index = "default"', 'index = "none"', "packages[0].index"),
        ('index = "default"', "", "packages[0]"),
        ('index = "default"', 'directory = {path = "x\\n--index-url y"}', "packages[0].directory.path"),
        ('index = "default"', 'archive = {url = "https://h.test/x\\r"}', "packages[0].archive.url"),
        ('index = "default"', 'vcs = {type = "git", url = "x", commit-id = "main"}', "packages[0].vcs"),
        ('index = "default"', 'directory = {path = "x", mode = 1}', "packages[0].directory.mode"),
        ("size = 7", "size = -7", "packages[0].wheels[0].size"),
        ("size = 7", "size = true", "packages[0].wheels[0].size"),
        ("size = 7", "length = 7", "packages[0].wheels[0].length"),
        ('"d/demo.whl"', '"../demo.whl"', "packages[0].wheels[0].path"),
        ('"d/demo.whl"', '"/demo.whl"', "packages[0].wheels[0].path"),
        ('"d/demo.whl"', '"https://host.test/demo.whl"', "packages[0].wheels[0].path"),
        ('"d/demo.whl"', '"c:/demo.whl"', "packages[0].wheels[0].path"),
        ('"d/demo.whl"', r'"d\\demo.whl"', "packages[0].wheels[0].path"),
        ('"d/demo.whl"', '"d/.."', "packages[0].wheels[0].path"),
        ("demo_x-1.0-py3", "evil-1.0-py3", "packages[0].wheels[0].name"),
        ("demo_x-1.0-py3", "../demo_x-1.0-py3", "packages[0].wheels[0].name"),
        ('"demo_x-1.0-py3-none-any.whl"', '".."', "packages[0].wheels[0].name"),
        ("none-any.whl", "none-any.exe", "packages[0].wheels[0].name"),
        ("demo-x-1.0.tar.gz", "demo-x-1.0.whl", "packages[0].sdist.name"),
        (A_HASH + '"}, path', 'xyz"}, path', "packages[0].wheels[0].hashes.sha256"),
        ('{sha256 = "' + A_HASH + '"}, path', '{md5 = "x"}, path', "packages[0].wheels[0].hashes"),
        ('requires-python = ">=3.10"', 'requires-python = "3"', "requires-python"),
        ('requires-python = ">=3.10"', "", "requires-python"),
        ('requires-python = ">=3.10"', 'requires-python = ">=3.10"\nextra = []', "extra"),
        ('requires-python = ">=3.10"', 'requires-python = ">=3.10"\nextras = [1]', "extras"),
        ('content-hash = "sha256:' + "b" * 64, 'content-hash = "sha256:b', "content-hash"),
        ('extras = ["fast"]', 'extras = "fast"', "packages[0].dependencies[0].extras"),
    ],
)
def test_a_lock_is_checked_completely(before: str, after: str, path: str) -> None:
    with pytest.raises(LockError) as caught:
        load_lock(unsealed(before, after))
    assert caught.value.reference == "lock-invalid"
    assert f"`{path}`" in caught.value.message


def test_an_archive_at_an_address_may_have_any_file_name() -> None:
    archive = LockedArtifact(filename="v1.0.zip", sha256=A_HASH)
    package = replace(PACKAGE, source=UrlSource(url="https://h.test/v1.0.zip"), sdist=archive, wheels=())
    lock = replace(LOCK, packages=(package,))
    assert load_lock(dump_lock(lock)) == lock


def test_a_stale_lock_is_told_from_a_damaged_one() -> None:
    check_fresh(LOCK, LOCK.content_hash)
    with pytest.raises(LockError, match="is stale") as caught:
        check_fresh(LOCK, Sha256("c" * 64))
    assert (caught.value.reference, caught.value.exit_code) == ("lock-stale", 1)


def test_an_archive_on_disk_is_told_from_a_folder() -> None:
    source = PathSource(path="vendor/demo.whl")
    lock = replace(LOCK, packages=(replace(PACKAGE, source=source),))
    assert b'archive = {path = "vendor/demo.whl"}' in dump_lock(lock)
    assert load_lock(dump_lock(lock)) == lock


PINNED = dump_lock(
    replace(
        LOCK,
        plugins=(
            LockedPlugin(name="x", builds=BUILDS[1:]),
            LockedPlugin(name="y", package=NormalizedName("y-plugin")),
        ),
    )
).decode()


def test_plugins_are_pinned_for_each_platform() -> None:
    row = '    {{name = "pypm_x.so", platform = "linux-{0}, hashes = {{sha256 = "{1}"}}}},'
    assert row.format('aarch64-musl", origin = "user"', BUILDS[1].sha256) in PINNED.splitlines()
    assert row.format('x86_64", origin = "project"', BUILDS[2].sha256) in PINNED.splitlines()
    with pytest.raises(IntegrityError):
        load_lock(PINNED.replace(BUILDS[2].sha256, BUILDS[1].sha256).encode())


@pytest.mark.parametrize(
    ("before", "after", "path"),
    [
        ('name = "pypm_x.so"', 'name = "../pypm_x.so"', "plugins[0].builds[0].name"),
        ('"linux-aarch64-musl"', '"linux-x86_64"', "plugins[0].builds"),
        ('package = "y-plugin"', "", "plugins[1]"),
        ('package = "y-plugin"', 'package = "Y"', "plugins[1].package"),
        ('origin = "user"', 'path = "/x"', "plugins[0].builds[0].path"),
    ],
)
def test_pins_of_plugins_are_checked(before: str, after: str, path: str) -> None:
    text = PINNED.replace(before, after).replace(A_HASH, "sha256:TODO-sha256", 1)
    lines = (line for line in text.splitlines(keepends=True) if not line.startswith("lock-hash"))
    with pytest.raises(LockError) as caught:
        load_lock("".join(lines).encode())
    assert f"`{path}`" in caught.value.message
