"""Downloads: verified, resumed, restarted, never half."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from pypm.errors import IndexAccessError, IntegrityError, StorageError
from pypm.index.client import Client, NetworkSettings
from pypm.index.download import Job, archive_path, download, download_all
from pypm.index.sizes import fill_sizes
from pypm.model.artifact import IndexFile, LockedArtifact, Sha256
from tests.conftest import CHECKOUT
from tests.support.index_server import Archive, Fault, IndexServer

CONTENT = random.Random(1).randbytes(1 << 20)
ARCHIVE = Archive(filename="demo-1.0-py3-none-any.whl", content=CONTENT)
PATH = "/files/demo-1.0-py3-none-any.whl"
QUICK = NetworkSettings(backoff_seconds=0.01, timeout_seconds=5, trust_environment=False)


def locked(archive: Archive = ARCHIVE, *, size: bool = True) -> LockedArtifact:
    return LockedArtifact(
        filename=archive.filename,
        sha256=Sha256(archive.sha256),
        size_bytes=len(archive.content) if size else None,
    )


class Watcher:
    def __init__(self) -> None:
        self.events: list[tuple[str, object, object]] = []
        self.received = 0

    def started(self, filename: str, total_bytes: int | None, offset_bytes: int) -> None:
        self.events.append(("started", total_bytes, offset_bytes))

    def advanced(self, filename: str, count_bytes: int) -> None:
        self.received += count_bytes

    def finished(self, filename: str) -> None:
        self.events.append(("finished", filename, None))


@pytest.fixture
def server():
    with IndexServer() as running:
        running.add("demo", ARCHIVE)
        yield running


@pytest.fixture
def client():
    with Client(QUICK) as open_client:
        yield open_client


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return archive_path(tmp_path / "wheels", locked())


def test_a_download_lands_under_its_hash(
    server: IndexServer, client: Client, destination: Path, tmp_path: Path
) -> None:
    watcher = Watcher()
    path = download(client, [server.root + PATH], locked(), destination, progress=watcher)
    assert path == tmp_path / "wheels" / ARCHIVE.sha256[:2] / ARCHIVE.sha256 / ARCHIVE.filename
    assert path.read_bytes() == CONTENT
    assert watcher.events == [("started", len(CONTENT), 0), ("finished", ARCHIVE.filename, None)]
    assert watcher.received == len(CONTENT)
    assert {entry.name for entry in path.parent.iterdir()} == {path.name, f"{path.name}.lock"}


def test_what_lies_there_is_not_fetched_again(server: IndexServer, client: Client, destination: Path) -> None:
    download(client, [server.root + PATH], locked(), destination)
    download(client, [server.root + PATH], locked(), destination)
    assert server.count(PATH) == 1


def test_a_damaged_file_in_the_cache_is_fetched_again(
    server: IndexServer, client: Client, destination: Path
) -> None:
    destination.parent.mkdir(parents=True)
    destination.write_bytes(CONTENT[:-1] + b"?")
    download(client, [server.root + PATH], locked(), destination)
    assert destination.read_bytes() == CONTENT


@pytest.mark.parametrize("size", [True, False])
def test_a_broken_connection_is_resumed(
    server: IndexServer, client: Client, destination: Path, size: bool
) -> None:
    server.fault(PATH, Fault(truncate_at=300_000), times=2)
    watcher = Watcher()
    download(client, [server.root + PATH], locked(size=size), destination, progress=watcher)
    assert destination.read_bytes() == CONTENT
    assert [request.headers.get("range") for request in server.requests] == [
        None,
        "bytes=300000-",
        "bytes=600000-",
    ]
    assert watcher.received == len(CONTENT)


def test_a_killed_download_is_taken_over(server: IndexServer, client: Client, destination: Path) -> None:
    destination.parent.mkdir(parents=True)
    destination.with_name(destination.name + ".part").write_bytes(CONTENT[:700_000])
    watcher = Watcher()
    download(client, [server.root + PATH], locked(), destination, progress=watcher)
    assert destination.read_bytes() == CONTENT
    assert watcher.events[0] == ("started", len(CONTENT), 700_000)
    assert watcher.received == len(CONTENT) - 700_000


def test_a_download_killed_before_its_rename_asks_nobody(client: Client, destination: Path) -> None:
    destination.parent.mkdir(parents=True)
    destination.with_name(destination.name + ".part").write_bytes(CONTENT)
    download(client, ["http://unreachable.invalid/x"], locked(), destination)
    assert destination.read_bytes() == CONTENT


def test_an_end_at_the_last_step_leaves_no_note_for_good(
    server: IndexServer, client: Client, destination: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever of the two last calls fails: the next download takes over and leaves the archive alone."""
    for failing in ("unlink", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, failing, _no_disk)
            with pytest.raises(StorageError):
                download(client, [server.root + PATH], locked(), destination)
        assert not destination.exists()
        download(client, [server.root + PATH], locked(), destination)
        names = {destination.name, f"{destination.name}.lock"}
        assert {entry.name for entry in destination.parent.iterdir()} == names
        destination.unlink()


def _no_disk(self: Path, *words: object, **options: object) -> None:
    raise OSError(errno.EIO, os.strerror(errno.EIO), str(self))


@pytest.mark.parametrize("etags", [True, False])
def test_remains_of_another_file_are_dropped(
    server: IndexServer, client: Client, destination: Path, etags: bool
) -> None:
    server.file_etags = etags
    destination.parent.mkdir(parents=True)
    destination.with_name(destination.name + ".part").write_bytes(b"other" * 1000)
    download(client, [server.root + PATH], locked(), destination)
    assert destination.read_bytes() == CONTENT


def test_a_file_that_changed_behind_its_etag_is_fetched_anew(
    server: IndexServer, client: Client, destination: Path
) -> None:
    old = Archive(filename=ARCHIVE.filename, content=CONTENT[::-1])
    server.remove("demo")
    server.add("demo", old)
    server.fault(PATH, Fault(truncate_at=100_000), times=1)
    server.fault(PATH, Fault.status(404))
    with pytest.raises(IndexAccessError):
        download(client, [server.root + PATH], locked(), destination)
    part = destination.with_name(destination.name + ".part")
    assert part.exists()
    server.heal()
    server.remove("demo")
    server.add("demo", ARCHIVE)
    download(client, [server.root + PATH], locked(), destination)
    assert destination.read_bytes() == CONTENT
    assert server.requests[-1].headers["if-range"] == f'"{old.sha256[:16]}"'


def test_a_server_that_ignores_ranges_starts_over(
    server: IndexServer, client: Client, destination: Path
) -> None:
    server.serves_ranges = False
    server.fault(PATH, Fault(truncate_at=300_000), times=1)
    watcher = Watcher()
    download(client, [server.root + PATH], locked(), destination, progress=watcher)
    assert destination.read_bytes() == CONTENT
    assert [event for event in watcher.events if event[0] == "started"] == [("started", len(CONTENT), 0)] * 2


def test_remains_longer_than_the_file_are_dropped(
    server: IndexServer, client: Client, destination: Path
) -> None:
    destination.parent.mkdir(parents=True)
    destination.with_name(destination.name + ".part").write_bytes(CONTENT + b"more")
    download(client, [server.root + PATH], locked(), destination)
    assert destination.read_bytes() == CONTENT


def test_a_wrong_hash_names_both(server: IndexServer, client: Client, destination: Path) -> None:
    server.fault(PATH, Fault(body=CONTENT[:-1] + b"?"))
    with pytest.raises(IntegrityError) as raised:
        download(client, [server.root + PATH], locked(), destination)
    assert raised.value.exit_code == 3
    assert ARCHIVE.sha256 in raised.value.details[0]
    assert hashlib.sha256(CONTENT[:-1] + b"?").hexdigest() in raised.value.details[1]
    assert [entry.name for entry in destination.parent.iterdir()] == [f"{destination.name}.lock"]


def test_more_bytes_than_locked_stop_at_once(server: IndexServer, client: Client, destination: Path) -> None:
    server.fault(PATH, Fault(endless=True, body=CONTENT))
    watcher = Watcher()
    with pytest.raises(IntegrityError) as raised:
        download(client, [server.root + PATH], locked(), destination, progress=watcher)
    assert raised.value.reference == "size-mismatch"
    assert watcher.received <= len(CONTENT)
    assert not destination.exists()


def test_truncation_without_end_is_an_error_that_keeps_what_came(
    server: IndexServer, client: Client, destination: Path
) -> None:
    server.serves_ranges = False
    server.fault(PATH, Fault(truncate_at=1000))
    with pytest.raises(IndexAccessError):
        download(client, [server.root + PATH], locked(), destination)
    assert destination.with_name(destination.name + ".part").stat().st_size == 1000
    assert server.count(PATH) == 4


def test_a_short_file_with_a_sound_length_is_an_error(
    server: IndexServer, client: Client, destination: Path
) -> None:
    server.fault(PATH, Fault(body=CONTENT[:-5], ignore_range=True))
    with pytest.raises(IndexAccessError) as raised:
        download(client, [server.root + PATH], locked(), destination)
    assert raised.value.reference == "index-truncated"


def test_the_next_address_serves_where_the_first_fails(
    server: IndexServer, client: Client, destination: Path
) -> None:
    asked = []

    def addresses():
        asked.append(1)
        yield f"{server.root}/gone.whl"
        asked.append(2)
        yield server.root + PATH
        asked.append(3)

    download(client, addresses(), locked(), destination)
    assert destination.read_bytes() == CONTENT
    assert asked == [1, 2]


def test_no_address_at_all(client: Client, destination: Path) -> None:
    with pytest.raises(IndexAccessError) as raised:
        download(client, (), locked(), destination)
    assert raised.value.reference == "artifact-not-found"


def test_a_placeholder_is_refused_by_name(client: Client, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError) as raised:
        download(client, ("http://x.invalid/",), replace(locked(), sha256=None), tmp_path / "x")
    assert ARCHIVE.filename in raised.value.message
    assert raised.value.reference == "placeholder-hash"


def test_two_that_want_the_same_fetch_it_once(server: IndexServer, client: Client, destination: Path) -> None:
    server.delay_seconds = 0.1
    threads = [
        threading.Thread(target=download, args=(client, [server.root + PATH], locked(), destination))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert destination.read_bytes() == CONTENT
    assert server.count(PATH) == 1


def test_many_at_once(server: IndexServer, client: Client, tmp_path: Path) -> None:
    server.delay_seconds = 0.05
    archives = [Archive(filename=f"d-{n}.tar.gz", content=b"x" * n) for n in range(1, 17)]
    server.add("many", *archives)
    jobs = [
        Job(
            artifact=locked(archive),
            urls=(server.file_url(archive),),
            destination=archive_path(tmp_path, locked(archive)),
        )
        for archive in archives
    ]
    paths = download_all(client, jobs, parallel=4)
    assert [path.read_bytes() for path in paths] == [archive.content for archive in archives]
    assert 1 < server.most_in_flight <= 4
    assert download_all(client, ()) == ()


def test_one_failure_among_many_is_told(server: IndexServer, client: Client, tmp_path: Path) -> None:
    good = Job(artifact=locked(), urls=(server.root + PATH,), destination=tmp_path / "good" / "a.whl")
    bad = Job(artifact=locked(), urls=(server.root + "/x",), destination=tmp_path / "bad" / "a.whl")
    with pytest.raises(IndexAccessError) as raised:
        download_all(client, [good, bad])
    assert raised.value.reference == "artifact-not-found"


def test_sizes_are_asked_where_unknown(server: IndexServer, client: Client) -> None:
    files = (
        IndexFile(filename="a", url=server.root + PATH, sha256=None),
        IndexFile(filename="b", url=server.root + PATH, sha256=None, size_bytes=7),
        IndexFile(filename="c", url=server.root + "/missing", sha256=None),
    )
    assert [file.size_bytes for file in fill_sizes(client, files)] == [len(CONTENT), 7, None]
    assert server.count(PATH, method="HEAD") == 1


def test_a_process_killed_in_the_middle_leaves_what_the_next_takes_over(
    server: IndexServer, client: Client, destination: Path
) -> None:
    """Cut by SIGKILL again and again, at whatever byte: nothing is lost, and nothing comes twice."""
    server.fault(PATH, Fault(drip_seconds=0.01, drip_bytes=20_000), times=3)
    program = (
        "import sys; from pathlib import Path\n"
        "from pypm.index.client import Client, NetworkSettings\n"
        "from pypm.index.download import download\n"
        "from pypm.model.artifact import LockedArtifact\n"
        "url, filename, sha256, size, place = sys.argv[1:]\n"
        "artifact = LockedArtifact(filename=filename, sha256=sha256, size_bytes=int(size))\n"
        "download(Client(NetworkSettings(trust_environment=False)), [url], artifact, Path(place))\n"
    )
    arguments = [server.root + PATH, ARCHIVE.filename, ARCHIVE.sha256, str(len(CONTENT)), str(destination)]
    part = destination.with_name(destination.name + ".part")
    reached = 0
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", program, *arguments], cwd=CHECKOUT)
        deadline = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size >= reached + 100_000):
            assert child.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
        child.kill()
        child.wait()
        assert not destination.exists()
        reached = part.stat().st_size
    watcher = Watcher()
    download(client, [server.root + PATH], locked(), destination, progress=watcher)
    assert destination.read_bytes() == CONTENT
    assert watcher.received == len(CONTENT) - reached
    offsets = [request.headers.get("range", "bytes=0-") for request in server.requests]
    starts = [int(offset.removeprefix("bytes=").rstrip("-")) for offset in offsets]
    assert len(starts) == 4
    assert starts == sorted(starts) and starts[-1] == reached >= 300_000
