"""The plugin `s3cache` against an S3 server of our own that fails in every way, under sanitizers."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from integration.peers import CHECKOUT
from integration.s3cache.measure import summary
from pypm.isolation.options import HostPort
from pypm.plugins.descriptor import inspect
from pypm.plugins.inside.context import Package, Stage
from pypm.plugins.permissions import Grants
from pypm.plugins.session import Session, choose
from pypm.plugins.settings import Enabled
from tests.plugins import s3_fake
from tests.plugins.bench import HEADERS, SOURCES, Scene, needs_compiler, needs_sandbox
from tests.plugins.s3_fake import ACCESS_KEY, REGION, SECRET_KEY, Fault, Server

NATIVE = HEADERS / "native"
KEYS = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": REGION}
HAS_CURL_HEADERS = any(Path("/usr/include").glob("**/curl/curl.h"))
pytestmark = [
    needs_compiler,
    pytest.mark.skipif(not HAS_CURL_HEADERS, reason="no headers of libcurl on this machine"),
]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin as a program under AddressSanitizer and UndefinedBehaviorSanitizer."""
    program = tmp_path_factory.mktemp("s3cache") / "s3cache"
    return _sanitized(program, SOURCES / "s3_driver.c", *sorted((NATIVE / "s3cache").glob("*.c")))


def _sanitized(program: Path, *sources: Path) -> Path:
    sanitizers = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    flags = [
        "-std=c99",
        *sanitizers,
        "-Wall",
        "-Wextra",
        "-Werror",
        f"-I{HEADERS}",
        f"-I{NATIVE / 's3cache'}",
    ]
    argv = ["cc", *flags, "-o", str(program), *map(str, sources), "-lcurl"]
    done = subprocess.run(argv, capture_output=True, check=False)
    if done.returncode != 0 and b"san" in done.stderr and b"cannot find" in done.stderr:
        pytest.skip("this compiler has no sanitizers")
    assert done.returncode == 0, done.stderr.decode()
    return program


@pytest.mark.parametrize("how", [(), ("portable",)])
def test_hashes_are_those_of_the_standard_library(tmp_path: Path, how: tuple[str, ...]) -> None:
    driver = _sanitized(tmp_path / "sha256", SOURCES / "sha256_driver.c", NATIVE / "s3cache" / "sha256.c")
    for size_bytes in (0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 1000, 70_003):
        content = hashlib.shake_128(b"any").digest(size_bytes)
        for piece_bytes in (1, 63, 64, 65, 16 << 10):
            argv = [str(driver), str(piece_bytes), *how]
            told = subprocess.run(argv, input=content, capture_output=True, check=True)
            assert told.stdout.decode().strip() == hashlib.sha256(content).hexdigest()


@dataclass
class Machine:
    """One machine with the plugin: its artifacts, and what the hook said."""

    program: Path
    folder: Path
    server: Server
    options: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=lambda: dict(KEYS))
    wheels: dict[str, tuple[str, int, str]] = field(default_factory=dict)
    results: list[int] = field(default_factory=list)
    offers: dict[str, bytes] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)

    def add(self, name: str, content: bytes, *, size: bool = True, there: bool = True) -> str:
        """Say what a package's artifact is; return its key in the bucket."""
        sha256 = hashlib.sha256(content).hexdigest()
        path = self.folder / f"{name}.whl"
        if there:
            path.write_bytes(content)
        self.wheels[name] = (sha256, len(content) if size else 0, str(path) if there else "-")
        return f"pypm/v1/{sha256[:2]}/{sha256}"

    def run(self, stages: str = "pre-fetch,post-fetch", **more: str) -> Machine:
        """Call the hook at these stages in one process."""
        scratch = self.folder / f"scratch-{len(list(self.folder.iterdir()))}"
        scratch.mkdir()
        options = {
            "bucket": "wheels",
            "endpoint": self.server.endpoint,
            "connect-timeout": "2",
            **self.options,
        }
        packages = [str(word) for name, told in self.wheels.items() for word in (name, *told)]
        argv = [str(self.program), stages, str(scratch), *(f"{k}={v}" for k, v in options.items())]
        done = subprocess.run(
            [*argv, "--", *packages],
            env={**self.variables, **more, "ASAN_OPTIONS": "detect_leaks=1", "PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr
        everything = done.stdout
        for secret in (SECRET_KEY, self.variables.get("AWS_SESSION_TOKEN") or SECRET_KEY):
            assert secret not in everything
        for line in everything.splitlines():
            kind, _, rest = line.partition(" ")
            if kind == "result":
                self.results.append(int(rest))
            elif kind == "offer":
                name, path = rest.split(" ")
                taken = scratch / path
                self.offers[name] = taken.read_bytes() if taken.exists() else b"(gone)"
            elif kind == "diagnostic":
                (self.errors if rest.startswith("3 ") else self.warnings).append(rest)
            elif kind == "log":
                self.logged.append(rest)
        self.left = sorted(path.name for path in scratch.iterdir())
        return self


@pytest.fixture
def server() -> Iterator[Server]:
    """An empty bucket."""
    with s3_fake.serving() as server:
        yield server


@pytest.fixture
def machine(program: Path, server: Server, tmp_path: Path) -> Machine:
    """A machine with nothing."""
    return Machine(program, tmp_path, server)


def another(machine: Machine, name: str = "second") -> Machine:
    """A machine that locks the same artifacts and has none of them."""
    folder = machine.folder / name
    folder.mkdir()
    wheels = {wheel: (sha256, size, "-") for wheel, (sha256, size, _) in machine.wheels.items()}
    return Machine(machine.program, folder, machine.server, dict(machine.options), wheels=wheels)


# What it is for ---------------------------------------------------------------------------------------


def test_what_one_machine_stores_another_is_offered(machine: Machine, server: Server) -> None:
    contents = {f"p{number}": os.urandom(1 + 9973 * number) for number in range(30)}
    keys = {machine.add(name, content): content for name, content in contents.items()}
    machine.run()
    assert machine.results == [0, 0]
    assert not machine.offers
    assert not machine.warnings
    assert server.objects == keys
    assert server.count("HEAD") == 0, "what was asked for before is not asked for again"
    assert machine.logged == ["1 artifacts stored in `wheels`: 30"]
    second = another(machine).run("pre-fetch")
    assert second.offers == contents
    assert second.logged == ["1 artifacts taken from `wheels`: 30"]
    puts = server.count("PUT")
    third = another(machine, "third")
    third.wheels = machine.wheels
    third.run()
    assert not third.left, "what was offered is removed when it was taken"
    assert server.count("PUT") == puts, "what the bucket has is not sent again"


def test_connections_are_kept_and_shared(machine: Machine, server: Server) -> None:
    for number in range(60):
        machine.add(f"p{number}", b"%d" % number)
    machine.options["concurrency"] = "4"
    machine.run()
    assert server.count("GET") == server.count("PUT") == 60
    assert server.connections <= 4
    assert 2 <= server.most_at_once <= 4


def test_the_largest_is_asked_for_first(machine: Machine, server: Server) -> None:
    """What is offered is unpacked at once, and that takes longest for the largest."""
    sizes = {"a": 10, "b": 40, "c": 20, "d": 30}
    keys = {machine.add(name, os.urandom(size)): name for name, size in sizes.items()}
    machine.add("unknown", b"x", size=False)
    machine.options["concurrency"] = "1"
    machine.run("pre-fetch")
    asked = [keys.get(request[1].removeprefix("/wheels/"), "unknown") for request in server.requests]
    assert asked == ["b", "d", "c", "a", "unknown"]


def test_built_wheels_are_stored_after_a_look(machine: Machine, server: Server) -> None:
    there, missing = machine.add("there", b"there"), machine.add("missing", b"missing")
    server.objects[there] = b"there"
    machine.run("post-build")
    assert server.objects[missing] == b"missing"
    assert (server.count("HEAD"), server.count("PUT")) == (2, 1)


def test_the_record_of_a_build_goes_from_one_machine_to_another(machine: Machine, server: Server) -> None:
    key, record = "ab" * 32, machine.folder / "record"
    record.write_bytes(b"signed record")
    wheel = machine.add("built", b"wheel")
    server.objects[f"pypm/v1/builds/ab/{key}"] = b"one that nobody believes"
    machine.run("post-build", BUILD_KEY=key, BUILD_RECORD=str(record))
    assert server.objects == {wheel: b"wheel", f"pypm/v1/builds/ab/{key}": b"signed record"}
    second = another(machine).run("pre-build,pre-fetch", BUILD_KEY=key)
    assert second.offers == {"built": b"wheel"}
    assert (second.folder / "scratch-0" / key).read_bytes() == b"signed record"
    missing = another(machine, "third").run("pre-build", BUILD_KEY="cd" * 32)
    assert (missing.results, missing.offers, missing.warnings) == ([0], {}, [])


def test_an_older_pypm_whose_packages_are_smaller_is_asked_for_no_record(
    machine: Machine, server: Server
) -> None:
    machine.add("built", b"wheel")
    machine.run("pre-build,post-build", BUILD_KEY="ab" * 32, BUILD_RECORD="/nowhere", OLD_PYPM="1")
    assert machine.results == [0, 0]
    assert not [request for request in server.objects if "builds" in request]


@pytest.mark.parametrize("key", ["", "../../secret", "A" * 64, "a" * 63])
def test_what_is_no_build_key_is_no_name(machine: Machine, server: Server, key: str) -> None:
    machine.add("built", b"wheel")
    machine.run("pre-build", BUILD_KEY=key)
    assert not server.requests


def test_a_record_that_never_ends_is_none(machine: Machine, server: Server) -> None:
    key = "ab" * 32
    machine.add("built", b"wheel")
    server.objects[f"pypm/v1/builds/ab/{key}"] = b"x" * (1 << 20)
    machine.run("pre-build", BUILD_KEY=key)
    assert (machine.results, machine.offers, machine.left) == ([0], {}, [])


def test_without_a_bucket_it_does_nothing(machine: Machine, server: Server) -> None:
    machine.add("a", b"a")
    machine.options["bucket"] = ""
    assert machine.run().results == [0, 0]
    assert not server.requests
    assert not machine.logged


def test_virtual_hosts(machine: Machine, server: Server) -> None:
    key = machine.add("a", b"a")
    machine.options |= {
        "endpoint": server.endpoint.replace("127.0.0.1", "localhost"),
        "addressing": "virtual",
    }
    machine.run()
    assert server.objects == {key: b"a"}
    assert server.requests[0][1] == f"/{key}"


@pytest.mark.parametrize(
    ("prefix", "place"), [("", ""), ("/ci/py-3.12_x/", "ci/py-3.12_x/"), ("team", "team/")]
)
def test_a_prefix(machine: Machine, server: Server, prefix: str, place: str) -> None:
    key = machine.add("a", b"a").removeprefix("pypm/")
    machine.options["prefix"] = prefix
    machine.run()
    assert server.objects == {place + key: b"a"}


def test_anonymous_machines_read_and_do_not_write(machine: Machine, server: Server) -> None:
    server.is_public = True
    server.objects[machine.add("a", b"a")] = b"a"
    machine.add("b", b"b")
    machine.variables = {}
    machine.run()
    assert machine.offers == {"a": b"(gone)"}
    assert server.count("PUT") == server.count("HEAD") == 0
    assert not machine.warnings


def test_read_only(machine: Machine, server: Server) -> None:
    machine.add("a", b"a")
    machine.options["read-only"] = "true"
    machine.run()
    assert server.count("GET") == 1
    assert server.count("PUT") == server.count("HEAD") == 0


def test_temporary_credentials(machine: Machine, server: Server) -> None:
    server.session_token = "FwoGZXIvYXdzE/+=="
    key = machine.add("a", b"a")
    machine.variables["AWS_SESSION_TOKEN"] = server.session_token
    machine.run()
    assert server.objects == {key: b"a"}


def test_nothing_is_overwritten(machine: Machine, server: Server) -> None:
    key = machine.add("a", b"a")

    def race(request: s3_fake.Request) -> bool:
        if request.command == "PUT":
            server.objects[key] = b"of another machine"
        return False

    server.fault = race
    machine.run()
    assert server.objects[key] == b"of another machine"
    assert (server.count("PUT", 412), machine.results, machine.warnings) == (1, [0, 0], [])


def test_a_server_without_conditional_requests(machine: Machine, server: Server) -> None:
    server.knows_conditions = False
    for number in range(3):
        machine.add(f"p{number}", b"%d" % number)
    machine.options["concurrency"] = "1"
    machine.run()
    assert len(server.objects) == 3
    assert server.count("PUT", 501) == 1, "it is told once"
    assert not machine.warnings


def test_many_artifacts(machine: Machine, server: Server) -> None:
    for number in range(300):
        machine.add(f"p{number}", b"%d" % number)
    machine.run()
    assert len(server.objects) == 300


# Objects that are not what they should be ---------------------------------------------------------------


@pytest.mark.parametrize("size", [True, False], ids=["known size", "unknown size"])
@pytest.mark.parametrize("poison", [b"", b"x" * 999, b"x" * 1000, b"x" * 5000])
def test_a_poisoned_object_is_a_miss_that_is_mended(
    machine: Machine, server: Server, poison: bytes, size: bool
) -> None:
    content = os.urandom(1000)
    key = machine.add("a", content, size=size)
    server.objects[key] = poison
    machine.run()
    assert machine.results == [0, 0]
    assert not machine.offers
    (warning,) = machine.warnings
    assert "holds something else than its name says" in warning
    assert server.objects[key] == content


def test_many_poisoned_objects_are_one_warning(machine: Machine, server: Server) -> None:
    for number in range(5):
        server.objects[machine.add(f"p{number}", b"%d" % number, there=False)] = b"?"
    machine.run()
    assert [warning.split()[0] for warning in machine.warnings] == ["2", "1", "1", "1", "1"]
    assert not machine.left


def test_a_file_that_was_changed_is_not_stored(machine: Machine, server: Server) -> None:
    for name, change in (("same", b"y" * 300_000), ("short", b"x"), ("long", b"x" * 400_000), ("empty", b"")):
        machine.add(name, name.encode() * 1000 + b"x" * 290_000)
        (machine.folder / f"{name}.whl").write_bytes(change)
    machine.run()
    assert server.objects == {}
    assert machine.results == [0, 0]
    assert len([warning for warning in machine.warnings if warning.startswith("2")]) == 1


def test_files_that_cannot_be_read(machine: Machine, server: Server, tmp_path: Path) -> None:
    for name in ("missing", "folder", "fifo"):
        machine.add(name, name.encode())
        (tmp_path / f"{name}.whl").unlink()
    (tmp_path / "folder.whl").mkdir()
    os.mkfifo(tmp_path / "fifo.whl")
    good = machine.add("good", b"good")
    machine.run()
    assert server.objects == {good: b"good"}
    assert 'allow-read = ["packages"]' in machine.warnings[0]
    assert len(machine.warnings) == 1


@pytest.mark.parametrize("sha256", ["", "../../etc/passwd", "g" * 64, "A" * 64, "a" * 63, "a" * 65, "-"])
def test_what_is_no_hash_is_no_name(machine: Machine, server: Server, sha256: str) -> None:
    machine.wheels["a"] = (sha256, 1, "/etc/passwd")
    machine.run()
    assert machine.results == [0, 0]
    assert not server.requests


# A server that fails ------------------------------------------------------------------------------------

REGION_HEADER = {"x_amz_bucket_region": "us-moon-1"}
FAULTS: dict[str, tuple[Fault, str, str, int]] = {
    "unavailable": (s3_fake.status(503, "SlowDown"), "answered 503 SlowDown", "-", 3),
    "broken": (s3_fake.status(500, "InternalError"), "answered 500 InternalError", "-", 3),
    "no bucket": (s3_fake.status(404, "NoSuchBucket"), "has no bucket of this name", "compare `bucket`", 1),
    "skew": (s3_fake.status(403, "RequestTimeTooSkewed"), "(RequestTimeTooSkewed)", "set the clock", 1),
    "expired": (s3_fake.status(403, "ExpiredToken"), "(ExpiredToken)", "get new ones", 1),
    "denied": (s3_fake.status(403, "AccessDenied"), "refused every request", "`s3:GetObject` on", 1),
    "elsewhere": (
        s3_fake.status(307, "TemporaryRedirect", Location="http://127.0.0.1:1/"),
        "sends requests elsewhere",
        "compare `endpoint`",
        1,
    ),
    "other region": (
        s3_fake.status(301, "PermanentRedirect", **REGION_HEADER),
        "sends requests elsewhere",
        'set `region = "us-moon-1"`',
        1,
    ),
    "bad request": (s3_fake.status(400, "BadDigest"), "answered 400 BadDigest", "-", 1),
    "terminal": (s3_fake.status(400, "\x1b[31mRed"), "answered 400;", "-", 1),
    "long code": (s3_fake.status(400, "A" * 500), f"answered 400 {'A' * 63};", "-", 1),
    "hangs": (s3_fake.hang, "Operation too slow", "-", 1),
    "drips": (s3_fake.drip, "Operation too slow", "-", 1),
    "truncates": (s3_fake.truncate, "cannot be used: ", "-", 3),
    "endless error": (s3_fake.endless_error, "answered 500", "-", 3),
    "garbage": (s3_fake.garbage, "cannot be used: ", "-", 1),
    "drops": (s3_fake.drop, "cannot be used: ", "-", 3),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_failing_server_is_one_warning(machine: Machine, server: Server, name: str) -> None:
    fault, cause, hint, requests = FAULTS[name]
    machine.add("a", b"a" * 1000)
    server.fault = fault
    machine.options |= {"stall-timeout": "1"}
    machine.run("pre-fetch,post-fetch,pre-fetch,post-build")
    assert machine.results == [0, 0, 0, 0]
    assert not machine.offers
    (warning,) = machine.warnings
    assert warning.startswith("2 - | the shared cache `wheels` at `127.0.0.1:")
    assert cause in warning
    assert "; going on without it | " in warning
    assert hint in warning.rpartition(" | ")[2]
    assert ACCESS_KEY not in warning
    assert "\x1b" not in warning
    if server.requests and name != "denied":
        assert len(server.requests) == requests, "and then it is not asked again"
    assert not machine.left


@pytest.mark.parametrize("name", ["broken", "denied", "no bucket", "drops"])
def test_a_required_cache_ends_the_command(machine: Machine, server: Server, name: str) -> None:
    machine.add("a", b"a")
    server.fault, cause, hint, _ = FAULTS[name]
    machine.options["required"] = "true"
    machine.run("pre-fetch")
    assert machine.results == [1]
    (error,) = machine.errors
    assert cause in error
    assert hint in error
    assert "going on" not in error


def test_a_server_that_is_down(machine: Machine, server: Server) -> None:
    for number in range(20):
        machine.add(f"p{number}", b"%d" % number)
    server.server_close()
    machine.run()
    (warning,) = machine.warnings
    assert "connect" in warning
    assert f'allow-net = ["127.0.0.1:{server.server_address[1]}"]' in warning


def test_one_that_fails_for_a_moment_is_asked_again(machine: Machine, server: Server) -> None:
    content = os.urandom(100_000)
    key = machine.add("a", content)
    server.objects[key] = content
    server.fault = s3_fake.times(2, s3_fake.status(503, "SlowDown"))
    machine.run("pre-fetch")
    assert machine.offers == {"a": content}
    server.fault = s3_fake.times(2, s3_fake.truncate)
    second = another(machine).run("pre-fetch")
    assert second.offers == {"a": content}
    assert not machine.warnings + second.warnings


def test_what_never_ends(machine: Machine, server: Server) -> None:
    machine.add("known", b"x" * 1000)
    server.fault = s3_fake.endless
    machine.run("pre-fetch")
    assert "something else than its name says" in machine.warnings[0]
    second = another(machine)
    second.wheels = {name: (sha256, 0, "-") for name, (sha256, _, _) in machine.wheels.items()}
    second.options["stage-timeout"] = "1"
    second.run("pre-fetch")
    (warning,) = second.warnings
    assert "took longer than 1 seconds" in warning
    assert not machine.left + second.left


def test_it_stops_when_it_is_asked_to(machine: Machine, server: Server) -> None:
    for number in range(40):
        machine.add(f"p{number}", b"%d" % number)
    server.fault = s3_fake.hang
    begun = time.monotonic()
    machine.run("pre-fetch", CANCEL_AFTER="3")
    assert time.monotonic() - begun < 10
    assert machine.results == [0]
    assert not machine.warnings + machine.left


def test_missing_objects_of_a_bucket_that_may_not_be_listed(machine: Machine, server: Server) -> None:
    server.lists = False
    there, missing = machine.add("there", b"there"), machine.add("missing", b"missing")
    server.objects[there] = b"there"
    machine.run()
    assert not machine.warnings, "one answer shows that the credentials are good"
    assert server.objects == {there: b"there", missing: b"missing"}


def test_a_bucket_that_vanishes(machine: Machine, server: Server) -> None:
    for number in range(20):
        machine.add(f"p{number}", b"%d" % number)
    machine.options["concurrency"] = "2"
    gets = [0]

    def vanish(request: s3_fake.Request) -> bool:
        gets[0] += request.command == "GET"
        if gets[0] == 10:
            server.bucket = "gone"
        return False

    server.fault = vanish
    machine.run()
    (warning,) = machine.warnings
    assert "has no bucket of this name" in warning
    assert server.count("PUT") == 0


def test_credentials_that_may_not_write(machine: Machine, server: Server) -> None:
    for number in range(9):
        machine.add(f"p{number}", b"%d" % number)

    def refuse(request: s3_fake.Request) -> bool:
        if request.command == "PUT":
            request.content()
            request.refuse(403, "AccessDenied")
        return request.command == "PUT"

    server.fault = refuse
    machine.run()
    (warning,) = machine.warnings
    assert "lets nobody with these credentials write (403)" in warning
    assert "or set `read-only = true`" in warning


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "another"}, "(SignatureDoesNotMatch)"),
        ({"AWS_ACCESS_KEY_ID": "another"}, "(InvalidAccessKeyId)"),
        ({"AWS_REGION": "us-east-1"}, "compare `region`"),
        ({"AWS_SESSION_TOKEN": "unasked"}, "(InvalidToken)"),
    ],
)
def test_credentials_that_do_not_fit(machine: Machine, change: dict[str, str], told: str) -> None:
    machine.add("a", b"a")
    machine.variables |= change
    machine.run()
    (warning,) = machine.warnings
    assert told in warning


def test_a_clock_that_is_wrong(machine: Machine, server: Server) -> None:
    machine.add("a", b"a")
    server.clock_ahead = timedelta(hours=1)
    machine.run()
    (warning,) = machine.warnings
    assert "(RequestTimeTooSkewed)" in warning


def test_certificates_are_checked(machine: Machine, server: Server) -> None:
    machine.add("a", b"a")
    pem = s3_fake.certify(server, machine.folder)
    if pem is None:
        pytest.skip("no openssl on this machine")
    machine.options["endpoint"] = server.endpoint.replace("http:", "https:")
    machine.run()
    (warning,) = machine.warnings
    assert "certificate" in warning.partition("cannot be used: ")[2]
    assert "`ca-certificates`" in warning
    second = another(machine)
    second.add("a", b"a")
    second.options["ca-certificates"] = pem
    second.run()
    assert not second.warnings
    assert server.count("PUT", 200) == 1
    third = another(machine, "third")
    third.options |= {
        "ca-certificates": pem,
        "endpoint": machine.options["endpoint"].replace("127.0.0.1", "localhost"),
    }
    third.run()
    assert "localhost" in third.warnings[0].partition("cannot be used: ")[2], (
        "it is not that host's certificate"
    )


def test_plain_text_where_tls_was_asked_for(machine: Machine, server: Server) -> None:
    machine.add("a", b"a")
    machine.options["endpoint"] = server.endpoint.replace("http:", "https:")
    machine.run()
    assert "cannot be used: " in machine.warnings[0]


def test_the_harness_of_the_shared_cache_starts() -> None:
    argv = [sys.executable, "-m", "integration.s3cache", "--help"]
    told = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert "--sanitize" in told.stdout


def test_the_harness_takes_differences_within_rounds() -> None:
    # The machine gets slower from round to round, and within each.
    rounds = [
        {"index": 10.0 + drift, "bucket": 8.0 + drift, "index again": 10.5 + drift}
        for drift in (0, 20, 5, 40)
    ]
    assert summary(rounds) == (
        "index 22.75",
        "bucket 20.50, to the index -2.25 (-2.25 to -2.25)",
        "noise, index to index +0.50 (+0.50 to +0.50)",
    )
    assert summary(rounds[:1])[1] == "bucket 8.00, to the index -2.25 (-2.25 to -2.25)"


# In its sandbox -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin, built as `make plugins` does."""
    folder = tmp_path_factory.mktemp("native")
    subprocess.run(["make", "-s", "-C", str(NATIVE), f"OUTPUT={folder}"], check=True)
    return folder


def sandboxed(scene: Scene, built: Path, server: Server, *, granted: bool = True) -> Session:
    """Open a session as a command does; nothing is granted but what the project writes."""
    scene.folder = built
    scene.variables = {**KEYS, "HOME": "/root"}
    port = server.server_address[1]
    hosts = (HostPort(host="127.0.0.1", port=port),) if granted else ()
    grants = Grants(hosts=hosts, packages=True, variables=("AWS_*",))
    options = (("bucket", "wheels"), ("concurrency", "32"), ("endpoint", server.endpoint))
    enabled = Enabled(name="s3cache", grants=grants, options=options)
    around = replace(scene.surroundings, packages=(scene.root,))
    chosen = choose(enabled, scene.find("s3cache"), around, variables=scene.variables, kept=scene.kept)
    return Session([chosen], around, scene.heard)


def packages(scene: Scene, count: int) -> tuple[Package, ...]:
    """Artifacts that lie in the project's folder."""
    made = []
    for number in range(count):
        content = b"%d" % number * 50_000
        (scene.root / f"{number}.whl").write_bytes(content)
        sha256 = hashlib.sha256(content).hexdigest()
        made.append(Package(name=f"p{number}", sha256=sha256, path=str(scene.root / f"{number}.whl")))
    return tuple(made)


@needs_sandbox
def test_one_machine_fills_another_through_the_sandbox(scene: Scene, built: Path, server: Server) -> None:
    told = packages(scene, 40)
    for stage in (Stage.PRE_FETCH, Stage.POST_FETCH):
        with sandboxed(scene, built, server) as session:
            session.call(scene.context(stage, packages=told))
    assert len(server.objects) == 40
    with sandboxed(scene, built, server) as session:
        offers = session.call(scene.context(Stage.PRE_FETCH, packages=told))
        for offer in offers:
            assert offer.take(scene.root / f"taken-{offer.package}")
            assert (scene.root / f"taken-{offer.package}").read_bytes() == (
                scene.root / f"{offer.package}.whl"
            ).read_bytes()
    assert len(offers) == 40
    assert not scene.heard.diagnostics


@needs_sandbox
def test_without_a_grant_it_reaches_nothing(scene: Scene, built: Path, server: Server) -> None:
    with sandboxed(scene, built, server, granted=False) as session:
        assert session.call(scene.context(Stage.PRE_FETCH, packages=packages(scene, 1))) == ()
    (finding,) = scene.heard.diagnostics
    assert finding.level == "warning"
    assert finding.hint == (
        "it may use the network only where it is granted: "
        f'`allow-net = ["127.0.0.1:{server.server_address[1]}"]`'
    )
    assert not server.requests


@needs_sandbox
def test_what_it_is_and_wants(scene: Scene, built: Path, server: Server) -> None:
    scene.folder = built
    said = inspect(scene.find("s3cache"), scene.surroundings)
    assert said.stages == {Stage.PRE_FETCH, Stage.POST_FETCH, Stage.PRE_BUILD, Stage.POST_BUILD}
    assert all(item.optional for item in said.permissions), "a project may name it before it has a bucket"


# Settings -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"read_only": "true"}, "the option `read_only` is not known"),
        ({"read-only": "yes"}, "`read-only` must be true or false"),
        ({"bucket": "a/b"}, "`a/b` is not the name of a bucket"),
        ({"bucket": "x" * 200}, "is not the name of a bucket"),
        ({"bucket": "a..b"}, "is not the name of a bucket"),
        ({"endpoint": "s3.example.com"}, "`endpoint` must be `https://HOST`"),
        ({"endpoint": "ftp://s3.example.com"}, "`endpoint` must be"),
        ({"endpoint": "https://user:secret@host"}, "`endpoint` must be"),
        ({"endpoint": "https://host/path"}, "`endpoint` must be"),
        ({"endpoint": "https://host?x"}, "`endpoint` must be"),
        ({"endpoint": "https://" + "h" * 500}, "`endpoint` must be"),
        ({"endpoint": "https://"}, "`endpoint` must be"),
        ({"addressing": "dns"}, "`addressing` must be"),
        ({"prefix": "a b"}, "`prefix` may hold"),
        ({"prefix": "a//b"}, "`prefix` may hold"),
        ({"prefix": "../x"}, "`prefix` may hold"),
        ({"prefix": "a/./b"}, "`prefix` may hold"),
        ({"prefix": "x" * 300}, "`prefix` may hold"),
        ({"region": "eu west"}, "`eu west` is not the name of a region"),
        ({"concurrency": "0"}, "`concurrency` must be a whole number from 1 to 32"),
        ({"concurrency": "33"}, "`concurrency` must be"),
        ({"connect-timeout": "5s"}, "`connect-timeout` must be"),
        ({"stall-timeout": "-1"}, "`stall-timeout` must be"),
        ({"stage-timeout": "99999999999999999999"}, "`stage-timeout` must be"),
    ],
    ids=str,
)
def test_wrong_settings_are_errors(
    machine: Machine, server: Server, options: dict[str, str], told: str
) -> None:
    machine.add("a", b"a")
    machine.options = options
    machine.run("pre-fetch")
    assert machine.results == [1]
    assert told in machine.errors[0]
    assert not server.requests


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"AWS_ACCESS_KEY_ID": "a"}, "only one of `AWS_ACCESS_KEY_ID` and"),
        ({**KEYS, "AWS_SESSION_TOKEN": "a\r\nHost: other"}, "`AWS_SESSION_TOKEN` is too long or holds"),
        ({**KEYS, "AWS_ACCESS_KEY_ID": "a" * 300}, "`AWS_ACCESS_KEY_ID` is too long or holds"),
    ],
)
def test_wrong_credentials_are_errors(machine: Machine, variables: dict[str, str], told: str) -> None:
    machine.add("a", b"a")
    machine.variables = variables
    machine.run("pre-fetch")
    assert machine.results == [1]
    assert told in machine.errors[0]


def test_the_hash_is_the_standards(tmp_path: Path) -> None:
    """Every length around a block's, and one of many blocks."""
    source = tmp_path / "hash.c"
    source.write_text(
        '#include "sha256.h"\n#include <stdio.h>\n'
        "int main(void) { static char bytes[4096]; char text[SHA256_TEXT_BYTES]; sha256_state s; size_t n;\n"
        "sha256_begin(&s);\n"
        "while ((n = fread(bytes, 1, 7, stdin)) > 0 || (n = fread(bytes, 1, 4096, stdin)) > 0)\n"
        "sha256_add(&s, bytes, n); sha256_end(&s, text); puts(text); return 0; }\n"
    )
    program = tmp_path / "hash"
    folder = NATIVE / "s3cache"
    argv = [
        "cc",
        "-fsanitize=undefined",
        f"-I{folder}",
        "-o",
        str(program),
        str(source),
        str(folder / "sha256.c"),
    ]
    subprocess.run(argv, check=True)
    for length in (0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 128, 1_000_003):
        content = os.urandom(length)
        done = subprocess.run([str(program)], input=content, capture_output=True, check=True)
        assert done.stdout.decode().strip() == hashlib.sha256(content).hexdigest()
