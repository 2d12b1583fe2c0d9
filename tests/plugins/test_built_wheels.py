"""Wheels that another machine built: taken when they are signed for, and nothing that anybody can put into a
bucket is taken otherwise."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pypm.codec.buildrecord import BuildRecord, dump_record, join_signed, load_record, split_signed
from pypm.digest import Sha256, sha256_hex
from pypm.signing import BUILD_NAMESPACE, NAMESPACE, sign_unasked
from pypm.workflow.vouched import read_signed
from tests.plugins import s3_fake
from tests.plugins.bench import needs_compiler, needs_sandbox
from tests.plugins.test_s3cache import KEYS
from tests.plugins.test_stages import BACKEND, Place, place, recorder, warm
from tests.support.index_server import make_sdist, make_wheel

__all__ = ["place", "recorder", "warm"]
pytestmark = [
    needs_sandbox,
    needs_compiler,
    pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="this machine has no ssh-keygen"),
]
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
TOOK = "Took s-1.0-py3-none-any.whl, built and signed elsewhere"


def make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@dataclass(kw_only=True)
class Bucket:
    """What one machine built and signed, and another one that could take it."""

    place: Place
    key: Path
    other: Path
    record: bytes
    wheel: bytes
    digest: str

    @property
    def offers(self) -> Path:
        return self.place.root / "offers"

    def signed(self, content: bytes, *, key: Path | None = None, namespace: str = BUILD_NAMESPACE) -> bytes:
        made = sign_unasked(content, key or self.key, namespace=namespace, root=self.place.root)
        return join_signed(content, made)

    @property
    def told(self) -> BuildRecord:
        parts = split_signed(self.record)
        assert parts is not None
        return load_record(parts[0])

    def trust(self, who: Path | None, options: str = "") -> None:
        """Say who may sign for builds, in a project that is offered what lies in `offers`."""
        signing = ""
        if who is not None:
            public = who.with_suffix(".pub").read_text().strip()
            signing = f"[tool.pypm.signing]\nallowed-signers = ['ci {options} {public}']"
        grants = 'allow-read = ["project"]'
        self.place.project(f'offers = "{self.offers}"\n{signing}', "s", grants=grants)

    def put(self, record: bytes | None, wheel: bytes | None) -> None:
        """Fill the bucket."""
        shutil.rmtree(self.offers, ignore_errors=True)
        self.offers.mkdir()
        if record is not None:
            (self.offers / self.told.circumstances.key).write_bytes(record)
        if wheel is not None:
            (self.offers / self.told.wheel.filename).write_bytes(wheel)

    def sync(self) -> str:
        """Sync a machine that has built nothing; return what it said."""
        for name in ("store-v1", "builds-v1"):
            if (folder := self.place.cache / name).exists():
                subprocess.run(["chmod", "-R", "u+w", folder], check=True)
                shutil.rmtree(folder)
        shutil.rmtree(self.place.root / ".venv", ignore_errors=True)
        done = self.place("sync", "-v")
        assert done.stdout.strip() == self.digest, "the environment is the same, wherever its wheel was built"
        return done.stderr


@pytest.fixture
def bucket(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    sdist = make_sdist("s", "1.0", pyproject=PYPROJECT, files={"backend.py": BACKEND.encode(), "s.py": b""})
    place.server.add("s", sdist)
    key, other = make_key(tmp_path / "ci"), make_key(tmp_path / "mallory")
    place.project("", "s", grants='allow-read = ["packages"]')
    monkeypatch.setenv("PYPM_BUILD_SIGNING_KEY", str(key))
    digest = place("sync").stdout.strip()
    monkeypatch.delenv("PYPM_BUILD_SIGNING_KEY")
    (record,) = (place.cache / "builds-v1").glob("*/*/build-record")
    (wheel,) = record.parent.glob("*.whl")
    made = Bucket(
        place=place,
        key=key,
        other=other,
        record=record.read_bytes(),
        wheel=wheel.read_bytes(),
        digest=digest,
    )
    made.trust(key)
    place("lock")
    return made


def test_a_signed_wheel_is_taken_and_stays(bucket: Bucket) -> None:
    bucket.put(bucket.record, bucket.wheel)
    said = bucket.sync()
    assert TOOK in said
    assert "Building" not in said
    told = bucket.told
    assert (told.circumstances.name, told.wheel.sha256) == ("s", sha256_hex(bucket.wheel))
    bucket.put(None, None)
    bucket.place("sync", "--check")
    assert TOOK not in bucket.place("sync", "-v").stderr
    # Who is trusted no more is believed no more, also about what was taken before.
    bucket.trust(bucket.other)
    assert "Would prepare" in bucket.place("sync", "--dry-run").stderr


@pytest.mark.skipif(shutil.which("curl-config") is None, reason="no headers of libcurl on this machine")
def test_two_machines_with_a_bucket_and_pypms_own_plugin(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, mallory = make_key(tmp_path / "ci"), make_key(tmp_path / "mallory")
    sdist = make_sdist("s", "1.0", pyproject=PYPROJECT, files={"backend.py": BACKEND.encode(), "s.py": b""})
    place.server.add("s", sdist)
    for name, value in {**KEYS, "PYPM_TRUST_PLUGINS": "s3cache"}.items():
        monkeypatch.setenv(name, value)
    with s3_fake.serving() as server:
        host = server.endpoint.partition("://")[2]
        public = key.with_suffix(".pub").read_text().strip()
        place.project(
            f'''[tool.pypm.plugins.s3cache]
bucket = "wheels"
endpoint = "{server.endpoint}"
allow-net = ["{host}"]
allow-env = ["AWS_*"]
allow-read = ["packages"]
[tool.pypm.signing]
allowed-signers = ['ci namespaces="pypm-build" {public}']
''',
            "s",
            package=False,
        )
        monkeypatch.setenv("PYPM_BUILD_SIGNING_KEY", str(key))
        first = place("sync", "-v")
        assert "Building s" in first.stderr, "the first machine has to build"
        monkeypatch.delenv("PYPM_BUILD_SIGNING_KEY")
        (record,) = [name for name in server.objects if "/builds/" in name]

        def another_machine() -> tuple[str, str]:
            for name in ("store-v1", "builds-v1", "wheels"):
                if (folder := place.cache / name).exists():
                    subprocess.run(["chmod", "-R", "u+w", folder], check=True)
                    shutil.rmtree(folder)
            shutil.rmtree(place.root / ".venv", ignore_errors=True)
            done = place("sync", "-v")
            return done.stdout, done.stderr

        digest, said = another_machine()
        assert TOOK in said
        assert digest == first.stdout
        # Who can write to the bucket alone gains a build.
        parts = split_signed(server.objects[record])
        assert parts is not None
        forged = sign_unasked(parts[0], mallory, namespace=BUILD_NAMESPACE, root=place.root)
        server.objects[record] = join_signed(parts[0], forged)
        digest, said = another_machine()
        assert FOREIGN in said
        assert TOOK not in said
        assert digest == first.stdout


def test_without_signers_nobody_is_asked_and_that_is_said_once(bucket: Bucket) -> None:
    bucket.trust(None)
    bucket.put(bucket.record, bucket.wheel)
    said = bucket.sync()
    assert TOOK not in said
    assert said.count("nobody is named who may sign") == 1


def resigned(bucket: Bucket, **changes: object) -> bytes:
    told = bucket.told
    wheel = {name: changes.pop(name) for name in tuple(changes) if name in ("filename", "sha256", "tree")}
    made = BuildRecord(
        circumstances=replace(told.circumstances, **changes),  # type: ignore[arg-type]
        wheel=replace(told.wheel, **wheel),  # type: ignore[arg-type]
    )
    return bucket.signed(dump_record(made))


def line(bucket: Bucket) -> bytes:
    parts = split_signed(bucket.record)
    assert parts is not None
    return parts[0]


FOREIGN = "is signed by nobody who may, or was changed"
OTHER_BUILD = "is about another build"
RECORDS: dict[str, tuple[Callable[[Bucket], bytes], str]] = {
    "forged": (lambda b: b.signed(line(b), key=b.other), FOREIGN),
    "signed as a lock": (lambda b: b.signed(line(b), namespace=NAMESPACE), FOREIGN),
    "changed": (lambda b: b.record.replace(b'"name":"s"', b'"name":"t"'), FOREIGN),
    "names another wheel": (lambda b: b.record.replace(sha256_hex(b.wheel).encode(), b"0" * 64), FOREIGN),
    "cut off in the line": (lambda b: b.record[:200], "is not a signed record"),
    "cut off in the signature": (lambda b: b.record[:-60], FOREIGN),
    "without signature": (line, "is not a signed record"),
    "empty": (lambda _: b"", "is not a signed record"),
    "too large": (lambda b: b.record + b"\n" * (65 << 10), "is too large"),
    "of another sdist": (lambda b: resigned(b, source="1" * 64), OTHER_BUILD),
    "of another version": (lambda b: resigned(b, version="0.9"), OTHER_BUILD),
    "of other requirements": (lambda b: resigned(b, requirements="1" * 64), OTHER_BUILD),
    "of another Python": (lambda b: resigned(b, interpreter="cpython 3.1"), OTHER_BUILD),
    "of another machine": (lambda b: resigned(b, platform="cp31-cp31-linux_pdp11"), OTHER_BUILD),
    "of another system": (lambda b: resigned(b, system="plan9 4"), OTHER_BUILD),
    "built with the network": (lambda b: resigned(b, policy="network"), OTHER_BUILD),
    "wheel of another project": (
        lambda b: resigned(b, filename="t-1.0-py3-none-any.whl"), "names a wheel of something else"
    ),
    "wheel for another machine": (
        lambda b: resigned(b, filename="s-1.0-cp31-cp31-linux_pdp11.whl"), "names a wheel of something else"
    ),
    "leads out": (lambda b: resigned(b, filename="../s-1.0-py3-none-any.whl"), "is malformed"),
    "another tree": (lambda b: resigned(b, tree="1" * 64), "the wheel that was signed for is no good"),
    "signed nonsense": (lambda b: b.signed(b"[]\n"), "is malformed"),
    "in another form": (lambda b: b.signed(json.dumps(json.loads(line(b))).encode() + b"\n"), "is malformed"),
}  # fmt: skip


IN_A_COMMAND = ("forged", "cut off in the signature", "too large", "of another sdist", "another tree")


def test_nothing_else_that_a_bucket_can_hold_is_taken(bucket: Bucket) -> None:
    told = bucket.told
    public = bucket.key.with_suffix(".pub").read_bytes()
    for name, (make, why) in RECORDS.items():
        found = read_signed(
            make(bucket),
            told.circumstances,
            signers=b"ci " + public,
            tags=["py3-none-any"],
            root=bucket.place.root,
        )
        if name in ("too large", "another tree"):
            continue  # These are found before and behind.
        assert isinstance(found, str), name
        assert why in found, name
    for name in IN_A_COMMAND:
        make, why = RECORDS[name]
        bucket.put(make(bucket), bucket.wheel)
        said = bucket.sync()
        assert why in said, name
        assert "it is built here" in said, name
        assert TOOK not in said, name


def test_a_good_record_with_another_wheel_or_none(bucket: Bucket) -> None:
    evil = make_wheel("s", "1.0", files={"s.py": b"import os\n"})
    for wheel, why in (
        (evil.content, "is another one than was signed for"),
        (bucket.wheel[:-1], "is another one than was signed for"),
        (None, "has a record of `s` and not its wheel"),
    ):
        bucket.put(bucket.record, wheel)
        said = bucket.sync()
        assert why in said
        assert TOOK not in said


@pytest.mark.parametrize("options", ['valid-before="20200101"', 'namespaces="pypm-lock"'])
def test_a_key_that_may_not_sign_builds_or_not_any_more(bucket: Bucket, options: str) -> None:
    bucket.trust(bucket.key, options)
    bucket.put(bucket.record, bucket.wheel)
    said = bucket.sync()
    assert FOREIGN in said
    assert TOOK not in said


def test_another_project_that_trusts_others_finds_nothing_of_it(bucket: Bucket) -> None:
    bucket.trust(bucket.other)
    bucket.put(bucket.signed(line(bucket), key=bucket.other), bucket.wheel)
    assert TOOK in bucket.sync()
    bucket.trust(bucket.key)
    bucket.put(None, None)
    assert TOOK not in bucket.place("sync", "-v").stderr
    builds = [path.parent for path in (bucket.place.cache / "builds-v1").glob("*/*/*.whl")]
    assert len(builds) == 2, "one that was taken for the other's word, and one that was built"


def test_a_key_that_cannot_sign_is_one_warning(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked = tmp_path / "locked"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "passphrase", "-f", locked], check=True)
    sdist = make_sdist("s", "1.0", pyproject=PYPROJECT, files={"backend.py": BACKEND.encode(), "s.py": b""})
    place.server.add("s", sdist)
    place.project("", "s")
    monkeypatch.setenv("PYPM_BUILD_SIGNING_KEY", str(locked))
    said = place("sync").stderr
    assert said.count("what is built here is not signed") == 1
    assert not list((place.cache / "builds-v1").glob("*/*/build-record"))


def test_records_have_one_form() -> None:
    digest = Sha256("1" * 64)
    assert split_signed(b"{}\n{}\n-----BEGIN SSH SIGNATURE-----") is None
    for content in (b"", b"null", b"{}", b'{"build":{},"wheel":{}}', b"[" * 100_000, digest.encode()):
        with pytest.raises(ValueError):
            load_record(content)
