"""The resolver's questions, answered from loopback indexes, folders and URLs."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from pypm.codec.metadata import MetadataError
from pypm.errors import ConfigurationError, IndexAccessError, IntegrityError
from pypm.index.cache import ABSENT_SECONDS, FRESH_SECONDS, IndexCache, Remembered
from pypm.index.client import Client, NetworkSettings
from pypm.index.locate import path_hint, split_address
from pypm.index.offers import parse_time
from pypm.index.pages import Pages
from pypm.index.provider import IndexProvider, ProviderSettings
from pypm.index.remote_zip import read_dist_info, read_remote_dist_info
from pypm.model.artifact import LockedArtifact, Sha256
from pypm.model.project import Index, IndexSource, PathSource, UrlSource, WorkspaceSource
from pypm.paths import Cache
from pypm.resolve.provider import Provider, Unavailable
from tests.support.index_server import Archive, Fault, IndexServer, lying, make_sdist, make_wheel

QUICK = NetworkSettings(backoff_seconds=0.01, timeout_seconds=5, retries=1, trust_environment=False)
DEMO = canonicalize_name("demo")


@pytest.fixture
def server() -> Iterator[IndexServer]:
    with IndexServer() as running:
        yield running


class Ground:
    """A provider and what stands around it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cache = Cache(folder / "cache")
        self.client = Client(QUICK)
        self.warnings: list[str] = []
        self.open: list[IndexProvider] = []

    def provider(self, *indexes: Index | IndexServer, **options: Any) -> IndexProvider:
        """Open the provider of one command; that of the command before ends, and its cache is on disk."""
        self.close()
        listed = [
            Index(name=f"index{number}", url=index.url) if isinstance(index, IndexServer) else index
            for number, index in enumerate(indexes)
        ]
        build = options.pop("build_metadata", None)
        refresh = options.pop("refresh", False)
        settings = ProviderSettings(root=self.folder, **options)
        made = IndexProvider(
            self.client,
            listed,
            settings,
            self.cache,
            IndexCache(self.cache.index, refresh=refresh, warn=self.warnings.append),
            build_metadata=build,
        )
        self.open.append(made)
        return made

    def close(self) -> None:
        for provider in self.open:
            provider.close()
        self.open.clear()


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(tmp_path)
    yield made
    made.close()
    made.client.close()


def versions(provider: IndexProvider, name: str = "demo", source: Any = None) -> list[str]:
    return [str(version) for version in provider.offer(canonicalize_name(name), source).versions]


def requirements(provider: IndexProvider, version: str = "1.0", source: Any = None) -> list[str]:
    offer = provider.offer(DEMO, source)
    metadata = provider.metadata(offer.candidate(Version(version)))
    return [str(requirement) for requirement in metadata.requires_dist]


def test_it_is_a_provider(ground: Ground) -> None:
    provider: Provider = ground.provider()
    with pytest.raises(Unavailable):
        provider.offer(DEMO, None)


@pytest.mark.parametrize("page_format", ["html", "json"])
def test_versions_and_candidates(server: IndexServer, ground: Ground, page_format: Any) -> None:
    server.page_format = page_format
    server.add(
        "demo",
        make_wheel("demo", "1.9", requires_python=">=3.8"),
        make_wheel("demo", "1.10", requires_python=">=3.9"),
        make_sdist("demo", "1.10", requires_python=">=3.9"),
        make_wheel("demo", "2.0rc1"),
        dataclasses.replace(make_wheel("demo", "1.11"), yanked="broken"),
        make_wheel("other", "3.0"),
    )
    provider = ground.provider(server)
    offer = provider.offer(DEMO, None)
    assert versions(provider) == ["2.0rc1", "1.11", "1.10", "1.9"]
    candidate = offer.candidate(Version("1.10"))
    assert candidate is offer.candidate(Version("1.10.0"))
    assert [file.filename for file in candidate.wheels] == ["demo-1.10-py3-none-any.whl"]
    assert [file.filename for file in candidate.sdists] == ["demo-1.10.tar.gz"]
    assert candidate.requires_python == SpecifierSet(">=3.9")
    assert candidate.yanked is None
    assert offer.candidate(Version("1.11")).yanked == "broken"
    assert candidate.source == IndexSource(index="index0")


def test_every_version_of_a_long_page_can_be_had(server: IndexServer, ground: Ground) -> None:
    wanted = [*(f"1.{number}" for number in range(100)), "2.0a1"]
    server.add("demo", *(make_wheel("demo", version) for version in wanted))
    provider = ground.provider(server)
    assert versions(provider) == wanted[::-1]
    offer = provider.offer(DEMO, None)
    for version in offer.versions:
        candidate = offer.candidate(version)
        assert [file.filename for file in candidate.wheels] == [f"demo-{version}-py3-none-any.whl"]
        assert offer.candidate(version) is candidate
    assert server.count("/simple/demo/") == 1


def test_a_version_is_yanked_only_as_a_whole(server: IndexServer, ground: Ground) -> None:
    server.add("demo", dataclasses.replace(make_wheel("demo", "1"), yanked="x"), make_sdist("demo", "1"))
    assert ground.provider(server).offer(DEMO, None).candidate(Version("1")).yanked is None


def test_the_first_index_that_has_the_name_counts_alone(ground: Ground) -> None:
    with IndexServer() as private, IndexServer() as public:
        private.add("demo", make_wheel("demo", "1.0"))
        public.add("demo", make_wheel("demo", "99.0"))
        public.add("other", make_wheel("other", "1.0"))
        provider = ground.provider(private, public)
        assert versions(provider) == ["1.0"]
        assert versions(provider, "other") == ["1.0"]
        assert public.count("/simple/demo/") == 0
        assert versions(provider, source=IndexSource(index="index1")) == ["99.0"]


def test_an_index_that_fails_is_not_passed_over(ground: Ground) -> None:
    with IndexServer() as private, IndexServer() as public:
        private.fault("*", Fault.status(500))
        public.add("demo", make_wheel("demo", "99.0"))
        with pytest.raises(IndexAccessError):
            ground.provider(private, public).offer(DEMO, None)
        assert public.count() == 0


def test_explicit_indexes_serve_only_who_names_them(server: IndexServer, ground: Ground) -> None:
    server.add("demo", make_wheel("demo", "1.0"))
    provider = ground.provider(Index(name="special", url=server.url, explicit=True))
    with pytest.raises(Unavailable):
        provider.offer(DEMO, None)
    assert versions(provider, source=IndexSource(index="special")) == ["1.0"]
    with pytest.raises(ConfigurationError):
        provider.offer(DEMO, IndexSource(index="unknown"))


def test_the_page_of_another_project_is_refused(server: IndexServer, ground: Ground) -> None:
    server.add("other", make_wheel("other", "1.0"))
    server.fault("/simple/demo/", Fault.redirect("/simple/other/"))
    with pytest.raises(IndexAccessError) as raised:
        ground.provider(server).offer(DEMO, None)
    assert raised.value.reference == "index-wrong-project"


@pytest.mark.parametrize(
    "fault", [Fault.login(), Fault.garbage(), Fault(body=b"", headers={"content-type": "x/y"})]
)
def test_answers_that_are_no_pages(server: IndexServer, ground: Ground, fault: Fault) -> None:
    server.add("demo", make_wheel("demo", "1.0"))
    server.fault("*", fault)
    with pytest.raises(IndexAccessError):
        ground.provider(server).offer(DEMO, None)


def test_a_flat_folder_joins_the_index(server: IndexServer, ground: Ground) -> None:
    flat = ground.folder / "wheels"
    flat.mkdir()
    local = make_wheel("demo", "1.5", requires=["local"])
    (flat / local.filename).write_bytes(local.content)
    server.add("demo", make_wheel("demo", "1.0"))
    provider = ground.provider(server, Index(name="near", url=str(flat), flat=True))
    assert versions(provider) == ["1.5", "1.0"]
    candidate = provider.offer(DEMO, None).candidate(Version("1.5"))
    assert candidate.source == IndexSource(index="near")
    assert candidate.wheels[0].sha256 == local.sha256
    assert candidate.wheels[0].size_bytes == len(local.content)
    assert requirements(provider, "1.5") == ["local"]


def test_a_flat_page(server: IndexServer, ground: Ground) -> None:
    wheel = make_wheel("demo", "1.0")
    server.add("unlisted", wheel)
    server.add_raw("/links.html", f'<a href="/files/{wheel.filename}">x</a>'.encode())
    provider = ground.provider(Index(name="links", url=f"{server.root}/links.html", flat=True))
    assert versions(provider) == ["1.0"]
    with pytest.raises(IndexAccessError):
        ground.provider(Index(name="gone", url=f"{server.root}/gone.html", flat=True)).offer(DEMO, None)


def test_the_date_limit(server: IndexServer, ground: Ground) -> None:
    server.add(
        "demo",
        dataclasses.replace(make_wheel("demo", "1.0"), upload_time="2024-01-01T00:00:00Z"),
        dataclasses.replace(make_wheel("demo", "2.0"), upload_time="2024-01-01T00:00:00.123456Z"),
        dataclasses.replace(make_wheel("demo", "3.0"), upload_time="2024-06-01T00:00:00.1Z"),
        make_wheel("demo", "4.0"),
    )
    limited = ground.provider(server, exclude_newer="2024-01-01T00:00:00.123456Z")
    assert versions(limited) == ["1.0"]
    reasons = limited.offer(DEMO, None).excluded
    assert [str(version) for version in sorted(reasons)] == ["2.0", "3.0", "4.0"]
    assert "uploaded after 2024-01-01" in reasons[Version("3.0")]
    assert "no upload time" in reasons[Version("4.0")]
    lifted = ground.provider(server, exclude_newer="2024-01-01T00:00:00Z", exclude_newer_package={DEMO: None})
    assert versions(lifted) == ["4.0", "3.0", "2.0", "1.0"]
    with pytest.raises(ConfigurationError):
        ground.provider(server, exclude_newer="yesterday")


def test_no_build_and_no_binary(server: IndexServer, ground: Ground) -> None:
    server.add("demo", make_wheel("demo", "1.0"), make_sdist("demo", "1.0"), make_sdist("demo", "2.0"))
    server.add("demo", make_wheel("demo", "0.5"))
    no_build = ground.provider(server, no_build=True)
    assert versions(no_build) == ["1.0", "0.5"]
    assert "no-build" in no_build.offer(DEMO, None).excluded[Version("2.0")]
    assert no_build.offer(DEMO, None).candidate(Version("1.0")).sdists == ()
    no_binary = ground.provider(server, no_binary_package=frozenset({DEMO}))
    assert versions(no_binary) == ["2.0", "1.0"]
    assert "no-binary" in no_binary.offer(DEMO, None).excluded[Version("0.5")]


def test_advertised_metadata_is_one_request(server: IndexServer, ground: Ground) -> None:
    wheel = make_wheel("demo", "1.0", requires=["a>=1"], extras=["Fast_Lane"], requires_python=">=3.8")
    server.add("demo", wheel)
    provider = ground.provider(server)
    assert requirements(provider) == ["a>=1"]
    metadata = provider.metadata(provider.offer(DEMO, None).candidate(Version("1.0")))
    assert metadata.extras == {"fast-lane"}
    assert metadata.requires_python == SpecifierSet(">=3.8")
    assert server.count(f"/files/{wheel.filename}.metadata") == 1
    assert server.count() == 2


def test_metadata_that_is_not_what_was_announced(server: IndexServer, ground: Ground) -> None:
    wheel = make_wheel("demo", "1.0")
    server.add("demo", wheel)
    server.fault(f"/files/{wheel.filename}.metadata", Fault(body=wheel.metadata + b"more"))
    with pytest.raises(IntegrityError) as raised:
        requirements(ground.provider(server))
    assert raised.value.reference == "metadata-hash-mismatch"


def test_metadata_is_tried_once_where_nobody_advertises_it(server: IndexServer, ground: Ground) -> None:
    server.advertises_metadata = False
    wheels = [make_wheel("demo", version, requires=["a"]) for version in ("1.0", "2.0")]
    server.add("demo", *wheels)
    provider = ground.provider(server)
    assert requirements(provider, "1.0") == requirements(provider, "2.0") == ["a"]
    assert all(server.count(f"/files/{wheel.filename}") == 0 for wheel in wheels)


@pytest.mark.parametrize("refusal", [None, Fault.status(403), Fault.login()])
def test_the_tail_of_the_wheel_tells_where_no_metadata_is_served(
    server: IndexServer, ground: Ground, refusal: Fault | None
) -> None:
    server.advertises_metadata = server.serves_metadata = False
    filler = {"demo/data.bin": os.urandom(300_000)}
    versions = ("1.0", "2.0", "3.0")
    wheels = [make_wheel("demo", version, requires=["a"], files=filler) for version in versions]
    server.add("demo", *wheels)
    if refusal is not None:
        for wheel in wheels:
            server.fault(f"/files/{wheel.filename}.metadata", refusal)
    provider = ground.provider(server)
    assert all(requirements(provider, version) == ["a"] for version in versions)
    asked = [server.count(f"/files/{wheel.filename}.metadata") for wheel in wheels]
    assert asked == [1, 1, 0], "one miss may be the wheel's, two are the host's"
    assert server.requests[-1].headers["range"] == "bytes=-65536"


def test_a_host_that_serves_some_metadata_stays_asked(server: IndexServer, ground: Ground) -> None:
    server.advertises_metadata = False
    versions = [f"{number}.0" for number in range(1, 7)]
    wheels = [make_wheel("demo", version, requires=["a"]) for version in versions]
    server.add("demo", *wheels)
    for wheel in wheels[:2] + wheels[3:]:
        server.fault(f"/files/{wheel.filename}.metadata", Fault.status(404))
    provider = ground.provider(server)
    # The third is there: whoever is asked first must not decide for the others.
    assert requirements(provider, "3.0") == ["a"]
    assert all(requirements(provider, version) == ["a"] for version in versions)
    assert all(server.count(f"/files/{wheel.filename}.metadata") == 1 for wheel in wheels)


def test_members_far_from_the_tail_and_record(server: IndexServer, ground: Ground) -> None:
    archive = make_wheel("demo", "1.0", requires=["a"])
    stream = io.BytesIO(archive.content)
    with zipfile.ZipFile(stream, "a") as opened:
        opened.writestr("demo/late.bin", os.urandom(400_000))
    server.add("demo", Archive(filename=archive.filename, content=stream.getvalue()))
    found = read_remote_dist_info(
        ground.client, server.root + "/files/" + archive.filename, ("METADATA", "RECORD")
    )
    assert found["METADATA"] == archive.metadata
    assert found["RECORD"].endswith(b"RECORD,,\n")
    assert sum(request.headers.get("range") is not None for request in server.requests) == server.count() <= 4


@pytest.mark.parametrize("comment", [b"", b"a comment"])
def test_the_entries_of_a_large_wheel_are_passed_over(tmp_path: Path, comment: bytes) -> None:
    path = tmp_path / "large-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(300):
            archive.writestr(f"large/{number}.py", b"")
        archive.writestr("large-1.0.dist-info/METADATA", b"Name: large\n")
        archive.writestr("large-1.0.dist-info/RECORD", b"")
        archive.comment = comment
    assert read_dist_info(path, ("METADATA", "RECORD")) == {"METADATA": b"Name: large\n", "RECORD": b""}
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"PK\x01\x02")] + content[-22:])
    with pytest.raises(MetadataError):
        read_dist_info(path, ("METADATA",))


def test_a_server_without_ranges_gives_the_wheel(server: IndexServer, ground: Ground) -> None:
    server.advertises_metadata = server.serves_metadata = server.serves_ranges = False
    server.add("demo", make_wheel("demo", "1.0", requires=["a"]))
    assert requirements(ground.provider(server)) == ["a"]


def test_metadata_of_another_package_is_refused(server: IndexServer, ground: Ground) -> None:
    server.add("demo", dataclasses.replace(make_wheel("other", "1.0"), filename="demo-1.0-py3-none-any.whl"))
    with pytest.raises(Unavailable, match=r"^has no usable metadata: .* says that it is other 1\.0"):
        requirements(ground.provider(server))


@pytest.mark.parametrize(
    "content",
    [b"", b"not a zip", make_wheel("demo", "1.0").content[:-30], b"\x00" * 200_000],
)
def test_a_wheel_that_is_none_is_unavailable(server: IndexServer, ground: Ground, content: bytes) -> None:
    server.add("demo", Archive(filename="demo-1.0-py3-none-any.whl", content=content))
    server.advertises_metadata = False
    with pytest.raises(Unavailable):
        requirements(ground.provider(server))


def test_static_metadata_of_an_sdist(server: IndexServer, ground: Ground) -> None:
    server.add("demo", make_sdist("demo", "1.0", requires=["a"]))
    assert requirements(ground.provider(server)) == ["a"]


def test_a_static_project_in_an_sdist(server: IndexServer, ground: Ground) -> None:
    project = "[project]\nname='demo'\nversion='1.0'\ndependencies=['b']\n"
    server.add("demo", make_sdist("demo", "1.0", metadata_version="2.1", pyproject=project))
    assert requirements(ground.provider(server)) == ["b"]


def test_an_sdist_that_must_be_built(server: IndexServer, ground: Ground) -> None:
    sdist = make_sdist("demo", "1.0", requires=["wrong"], dynamic=["Requires-Dist"])
    server.add("demo", sdist)
    with pytest.raises(Unavailable, match=r"^needs a build to tell what it requires, and builds are off"):
        requirements(ground.provider(server))
    built: list[bytes] = []

    def build(candidate: Any, path: Path) -> bytes:
        built.append(path.read_bytes())
        return make_wheel("demo", "1.0", requires=["c"]).metadata

    assert requirements(ground.provider(server, build_metadata=build)) == ["c"]
    assert requirements(ground.provider(server, build_metadata=build)) == ["c"]
    assert built == [sdist.content]


def test_an_sdist_with_the_wrong_hash_is_an_integrity_error(server: IndexServer, ground: Ground) -> None:
    server.add("demo", lying(make_sdist("demo", "1.0"), "0" * 64))
    with pytest.raises(IntegrityError):
        requirements(ground.provider(server))


def test_a_url(server: IndexServer, ground: Ground) -> None:
    wheel = make_wheel("demo", "1.0", requires=["a"])
    server.add("hidden", wheel)
    source = UrlSource(url=server.file_url(wheel))
    provider = ground.provider()
    assert versions(provider, source=source) == ["1.0"]
    assert requirements(provider, "1.0", source) == ["a"]
    (file,) = provider.offer(DEMO, source).candidate(Version("1.0")).wheels
    assert file.sha256 == wheel.sha256
    assert file.size_bytes == len(wheel.content)
    wrong = UrlSource(url=f"{server.file_url(wheel)}#sha256={'0' * 64}")
    with pytest.raises(IntegrityError):
        provider.offer(DEMO, wrong)
    with pytest.raises(Unavailable, match="other"):
        provider.offer(canonicalize_name("other"), source)


def test_paths(ground: Ground) -> None:
    wheel = make_wheel("demo", "1.0", requires=["a"])
    (ground.folder / wheel.filename).write_bytes(wheel.content)
    provider = ground.provider()
    assert requirements(provider, "1.0", PathSource(path=wheel.filename)) == ["a"]
    project = ground.folder / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text("[project]\nname='demo'\nversion='2.0'\ndependencies=['b']\n")
    assert requirements(provider, "2.0", PathSource(path="project", editable=True)) == ["b"]
    with pytest.raises(ConfigurationError):
        provider.offer(DEMO, PathSource(path="missing"))
    with pytest.raises(Unavailable):
        provider.offer(canonicalize_name("other"), PathSource(path="project"))


def test_a_folder_that_must_be_built(ground: Ground) -> None:
    (ground.folder / "legacy").mkdir()
    source = PathSource(path="legacy")
    with pytest.raises(Unavailable, match="only a build"):
        ground.provider().offer(DEMO, source)
    metadata = make_wheel("demo", "3.0", requires=["c"]).metadata
    provider = ground.provider(build_metadata=lambda candidate, path: metadata)
    assert versions(provider, source=source) == ["3.0"]
    assert requirements(provider, "3.0", source) == ["c"]


def test_sources_of_other_rooms_are_named(ground: Ground) -> None:
    with pytest.raises(Unavailable, match="workspace"):
        ground.provider().offer(DEMO, WorkspaceSource())


def test_prefetching_asks_once_and_at_once(server: IndexServer, ground: Ground) -> None:
    names = [canonicalize_name(f"p{number}") for number in range(24)]
    for name in names:
        server.add(name, make_wheel(name, "1.0"))
    server.delay_seconds = 0.1
    provider = ground.provider(server)
    provider.prefetch_offers((name, None) for name in names)
    offers = [provider.offer(name, None) for name in names]
    candidates = [offer.candidate(Version("1.0")) for offer in offers]
    provider.prefetch_metadata(candidates)
    provider.prefetch_metadata(candidates)
    assert [provider.metadata(candidate).name for candidate in candidates] == names
    assert server.count() == 2 * len(names)
    assert server.most_in_flight >= 16


@pytest.mark.parametrize("is_kept", [True, False])
def test_pages_are_believed_for_ten_minutes(server: IndexServer, tmp_path: Path, is_kept: bool) -> None:
    server.page_etags = True
    server.add("demo", make_wheel("demo", "1.0"))
    index = Index(name="x", url=server.url)
    moment = [1e9]
    place = tmp_path / "index" if is_kept else Remembered()
    with Client(QUICK) as client:

        def read(**options: Any) -> list[str]:
            cache = IndexCache(place, clock=lambda: moment[0], **options)
            page = Pages(client, cache).project(index, DEMO)
            return [] if page is None else [entry.filename for entry in page.entries]

        first = read()
        assert read() == first and server.count() == 1
        moment[0] += FRESH_SECONDS
        assert read() == first
        assert server.requests[-1].headers["if-none-match"]
        assert read() == first and server.count() == 2
        assert read(refresh=True) == first and server.count() == 3
        moment[0] -= 5000
        assert read() == first and server.count() == 4
        server.add("demo", make_wheel("demo", "2.0"))
        assert len(read(refresh=True)) == 2
    with Client(NetworkSettings(offline=True)) as client:
        moment[0] += 10 * FRESH_SECONDS
        assert len(read()) == 2
    assert (tmp_path / "index").exists() == is_kept


def test_absence_is_believed_for_a_minute(server: IndexServer, tmp_path: Path) -> None:
    index = Index(name="x", url=server.url)
    moment = [1e9]
    with Client(QUICK) as client:
        pages = Pages(client, IndexCache(tmp_path, clock=lambda: moment[0]))
        assert pages.project(index, DEMO) is None
        server.add("demo", make_wheel("demo", "1.0"))
        assert pages.project(index, DEMO) is None
        assert server.count() == 1
        moment[0] += ABSENT_SECONDS
        assert pages.project(index, DEMO) is not None


def test_a_torn_record_is_a_miss(server: IndexServer, ground: Ground) -> None:
    server.add("demo", make_wheel("demo", "1.0", requires=["a"]))
    assert requirements(ground.provider(server)) == ["a"]
    ground.close()
    for record in ground.cache.index.rglob("*"):
        if record.is_file():
            content = record.read_bytes()
            record.write_bytes(content[: len(content) // 2])
    assert requirements(ground.provider(server)) == ["a"]
    assert server.count() == 4


def test_a_cache_that_cannot_be_written_warns_once(server: IndexServer, ground: Ground) -> None:
    server.add("demo", make_wheel("demo", "1.0", requires=["a"]))
    ground.cache.root.mkdir()
    ground.cache.index.write_text("in the way")
    assert requirements(ground.provider(server)) == ["a"]
    assert len(ground.warnings) == 1
    assert "working without it" in ground.warnings[0]


def test_one_index_cannot_speak_for_another(ground: Ground) -> None:
    wheel = make_wheel("demo", "1.0", requires=["true"])
    with IndexServer() as liar, IndexServer() as honest:
        lie = dataclasses.replace(wheel, metadata=make_wheel("demo", "1.0", requires=["lie"]).metadata)
        liar.add("demo", lie)
        honest.add("demo", wheel)
        assert requirements(ground.provider(liar)) == ["lie"]
        assert requirements(ground.provider(honest)) == ["true"]


def layout_path(content: bytes, filename: str) -> str:
    digest = hashlib.blake2b(content, digest_size=32).hexdigest()
    return f"{digest[:2]}/{digest[2:4]}/{digest[4:]}/{filename}"


def test_artifacts_are_found_again(ground: Ground) -> None:
    wheel = make_wheel("demo", "1.0")
    hint = layout_path(wheel.content, wheel.filename)
    artifact = LockedArtifact(filename=wheel.filename, sha256=Sha256(wheel.sha256), path=hint)
    with IndexServer() as first, IndexServer() as mirror:
        first.add("demo", dataclasses.replace(wheel, path=f"packages/{hint}"))
        mirror.add("demo", dataclasses.replace(wheel, path=f"other/place/{hint}"))
        for server in (first, mirror):
            index = Index(name="x", url=server.url)
            provider = ground.provider(index)
            (url,) = provider.locator.urls(index, DEMO, artifact)
            assert ground.client.get(url).content == wheel.content
            pages = server.count("/simple/demo/")
            # From now on the base is known, and no page is asked for unless the hint fails.
            assert next(iter(provider.locator.urls(index, DEMO, artifact))) == url
            assert server.count("/simple/demo/") == pages == 1
        changed = replace(artifact, sha256=Sha256("0" * 64))
        with pytest.raises(IntegrityError) as raised:
            list(provider.locator.urls(index, DEMO, changed))
        assert raised.value.reference == "index-hash-changed"


@pytest.mark.parametrize("hint", ["../../etc/x.whl", "/x.whl", "a//x.whl", "a\\x.whl"])
def test_hints_that_climb_are_not_followed(server: IndexServer, ground: Ground, hint: str) -> None:
    wheel = make_wheel("demo", "1.0")
    path = layout_path(wheel.content, wheel.filename)
    server.add("demo", dataclasses.replace(wheel, path=path))
    index = Index(name="x", url=server.url)
    locator = ground.provider(index).locator
    artifact = LockedArtifact(filename=wheel.filename, sha256=Sha256(wheel.sha256), path=path)
    list(locator.urls(index, DEMO, artifact))
    assert list(locator.urls(index, DEMO, replace(artifact, path=hint))) == [f"{server.root}/{path}"]


def test_addresses_split_and_join() -> None:
    public = "https://files.invalid/packages/" + layout_path(b"x", "demo-1.whl")
    plain = "https://host.invalid/a/b/demo-1.whl"
    assert split_address(public) == ("https://files.invalid/packages/", layout_path(b"x", "demo-1.whl"))
    assert split_address(plain) == ("https://host.invalid/", "a/b/demo-1.whl")
    assert path_hint("file:///a/demo-1.whl") is None
    assert path_hint(plain + "?query") is None


def test_times() -> None:
    assert (
        parse_time("2024-01-01") == parse_time("2024-01-01T00:00:00Z") == parse_time("2024-01-01 01:00+01:00")
    )
    assert parse_time("2024-01-01T00:00:00.1Z") == parse_time("2024-01-01T00:00:00.100000+00:00")
    assert parse_time("2024-13-01") is None
    assert parse_time("") is None
