"""Wheels that one machine built and signed: through the bucket to others, and what tampering with it gains.

A real source distribution is built with its real build requirements. Whatever is done to the bucket, machines
end with the files that the builder had.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from integration.s3cache.commands import Project, Synced
from integration.s3cache.server import S3Server
from pypm.codec.buildrecord import BuildRecord, dump_record, join_signed, load_record, split_signed
from pypm.digest import Sha256, sha256_hex
from pypm.signing import BUILD_NAMESPACE, NAMESPACE, sign_unasked
from tests.support.index_server import make_wheel

PACKAGE, VERSION = "docopt", "0.6.2"
"""A single module that was only ever published as a source distribution."""
TOOK = "built and signed elsewhere"
FOREIGN = "is signed by nobody who may, or was changed"

_PROJECT = f"""[project]
name = "p"
version = "1"
requires-python = ">=3.10"
dependencies = ["{PACKAGE}=={VERSION}"]
[tool.pypm]
package = false
"""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The bucket after one machine has built, and the keys of who may sign and who may not."""

    server: S3Server
    project: Project
    key: Path
    mallory: Path
    record: bytes
    wheel: bytes

    @property
    def told(self) -> BuildRecord:
        """What the record says."""
        parts = split_signed(self.record)
        assert parts is not None
        return load_record(parts[0])

    @property
    def record_key(self) -> str:
        """Where the record lies in the bucket."""
        key = self.told.circumstances.key
        return f"pypm/v1/builds/{key[:2]}/{key}"

    def signed(
        self, record: BuildRecord, *, key: Path | None = None, namespace: str = BUILD_NAMESPACE
    ) -> bytes:
        """Return a record, signed with a key."""
        content = dump_record(record)
        made = sign_unasked(content, key or self.key, namespace=namespace, root=self.project.place)
        return join_signed(content, made)

    def put_wheel(self, content: bytes, *, under: str | None = None) -> None:
        """Put a wheel into the bucket, under its own hash or another's."""
        sha256 = under or sha256_hex(content)
        self.server.put(f"pypm/v1/{sha256[:2]}/{sha256}", content)


def _evil_wheel() -> bytes:
    return make_wheel(PACKAGE, VERSION, files={f"{PACKAGE}.py": b"import os\n"}).content


def _names_an_evil_wheel(scene: Scene, *, key: Path | None) -> bytes:
    """A record of the same build with another wheel, which lies in the bucket."""
    evil = _evil_wheel()
    scene.put_wheel(evil)
    told = scene.told
    wheel = replace(told.wheel, sha256=Sha256(sha256_hex(evil)), size_bytes=len(evil))
    return scene.signed(replace(told, wheel=wheel), key=key)


def _unsigned_change(scene: Scene) -> bytes:
    evil = _evil_wheel()
    scene.put_wheel(evil)
    return scene.record.replace(scene.told.wheel.sha256.encode(), sha256_hex(evil).encode())


def _other_build(scene: Scene) -> bytes:
    told = scene.told
    return scene.signed(replace(told, circumstances=replace(told.circumstances, source=Sha256("1" * 64))))


def _another_file_under_the_wheels_name(scene: Scene) -> bytes:
    scene.put_wheel(_evil_wheel(), under=scene.told.wheel.sha256)
    return scene.record


TAMPERED: dict[str, tuple[Callable[[Scene], bytes], str]] = {
    "signed by another": (lambda scene: _names_an_evil_wheel(scene, key=scene.mallory), FOREIGN),
    "changed": (_unsigned_change, FOREIGN),
    "signed as a lock": (lambda scene: scene.signed(scene.told, namespace=NAMESPACE), FOREIGN),
    "cut off": (lambda scene: scene.record[: len(scene.record) // 2], "is not a signed record"),
    "replayed": (_other_build, "is about another build"),
    "poisoned wheel": (_another_file_under_the_wheels_name, "holds something else than its name says"),
    "tree of another": (
        lambda scene: _names_an_evil_wheel(scene, key=scene.key), "the wheel that was signed for is no good"
    ),
}  # fmt: skip
"""What is put into the bucket in the record's place, and a part of the warning."""


def tampered_builds(place: Path, server: S3Server) -> str:
    """Build on one machine, take on another, and hold that nothing else of the bucket is ever taken."""
    scene, built = _built(place, server)
    taken = _sync(scene, "taker")
    assert TOOK in taken.said, taken.said
    assert "Building" not in taken.said, taken.said
    assert taken.digest == built.digest
    honest = _installed(scene, "builder")
    assert _installed(scene, "taker") == honest
    for number, (name, (make, warning)) in enumerate(TAMPERED.items()):
        server.put(scene.record_key, make(scene))
        done = _sync(scene, f"victim-{number}")
        assert TOOK not in done.said, name
        assert "Building" in done.said, name
        assert warning in done.said, (name, done.said)
        assert _installed(scene, f"victim-{number}") == honest, name
        scene.project.forget(f"victim-{number}")
        scene.put_wheel(scene.wheel)
    server.put(scene.record_key, scene.record)
    unsigned = scene.project.sync("trusts-nobody", server)
    assert TOOK not in unsigned.said
    scene.project.forget("builder", "taker", "trusts-nobody")
    return f"{PACKAGE} taken once; {len(TAMPERED)} ways to tamper end in a build: {', '.join(TAMPERED)}"


def _built(place: Path, server: S3Server) -> tuple[Scene, Synced]:
    source = place / "source"
    source.mkdir(parents=True)
    (source / "pyproject.toml").write_text(_PROJECT)
    project = Project(source=source, place=place)
    project.run(source, "lock", "--quiet")
    keys = [_key(place / name) for name in ("ci", "mallory")]
    done = project.sync(
        "builder", server, settings=_trust(keys[0]), variables={"PYPM_BUILD_SIGNING_KEY": str(keys[0])}
    )
    assert "Building" in done.said, done.said
    (record_key,) = [key for key in server.sizes() if "/builds/" in key]
    record = server.get(record_key)
    scene = Scene(server=server, project=project, key=keys[0], mallory=keys[1], record=record, wheel=b"")
    sha256 = scene.told.wheel.sha256
    return replace(scene, wheel=server.get(f"pypm/v1/{sha256[:2]}/{sha256}")), done


def _key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def _trust(key: Path) -> str:
    public = key.with_suffix(".pub").read_text().strip()
    return f"[tool.pypm.signing]\nallowed-signers = ['ci namespaces=\"pypm-build\" {public}']\n"


def _sync(scene: Scene, name: str) -> Synced:
    return scene.project.sync(name, scene.server, settings=_trust(scene.key))


def _installed(scene: Scene, name: str) -> dict[str, bytes]:
    """Return the files of the package on a machine."""
    found: Iterator[Path] = (scene.project.place / name / ".venv").glob(
        f"lib/python3*/site-packages/{PACKAGE}*"
    )
    return {path.name: path.read_bytes() for path in found if path.is_file()}
