"""Whole archives while resolving: fetched into the cache, or hashed where they came without a hash."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace

from pypm.codec.simple import redact
from pypm.digest import sha256_file
from pypm.errors import IndexAccessError
from pypm.files import storage_errors
from pypm.index.cache import IndexCache
from pypm.index.client import Client
from pypm.index.download import archive_path, download
from pypm.index.pages import local_path
from pypm.model.artifact import IndexFile, LockedArtifact, Sha256

_MAX_UNVOUCHED_BYTES = 8 << 30


class FetchHooks(Protocol):
    """Who is asked before an archive is fetched, and shown it afterwards. Called from any thread."""

    def pre_fetch(self, file: IndexFile) -> None:
        """The archive is not here. What is put where a download would be is not downloaded."""

    def post_fetch(self, file: IndexFile, archive: Path) -> None:
        """The archive is here and has its hash; it was fetched now or before."""


class NoHooks:
    """Nobody is asked."""

    def pre_fetch(self, file: IndexFile) -> None:
        """Leave it to the download."""

    def post_fetch(self, file: IndexFile, archive: Path) -> None:
        """Let it pass."""


class Archives:
    """Archives by what an index, a URL or a path says of them."""

    def __init__(
        self, client: Client, cache: IndexCache, wheels: Path, hooks: FetchHooks | None = None
    ) -> None:
        """`wheels` is the cache's folder of archives."""
        self._client = client
        self._cache = cache
        self._wheels = wheels
        self._hooks = hooks or NoHooks()

    def fetch(self, file: IndexFile) -> Path:
        """Return where the archive lies on this machine, fetched when it was not here.

        Raises:
            IndexAccessError, IntegrityError, StorageError: see `index.download`.
        """
        if file.url.startswith("file:"):
            return local_path(file.url)
        if file.sha256 is None:
            return self._place(self._first_seen(file))
        place = self._place(file)
        if not place.exists():
            self._hooks.pre_fetch(file)
        artifact = LockedArtifact(filename=file.filename, sha256=file.sha256, size_bytes=file.size_bytes)
        archive = download(self._client, (file.url,), artifact, place)
        self._hooks.post_fetch(file, archive)
        return archive

    def hashed(self, file: IndexFile) -> IndexFile:
        """Return the file with its hash and size, found out from its bytes where nobody stated them."""
        if file.sha256 is not None:
            return file
        if file.url.startswith("file:"):
            path = local_path(file.url)
            digest = Sha256(sha256_file(path))
            return replace(file, sha256=digest, size_bytes=path.stat().st_size)
        return self._first_seen(file)

    def _first_seen(self, file: IndexFile) -> IndexFile:
        """Fetch a file that nobody vouches for, and keep it under the hash that it turns out to have.

        What lies at the address may change, so it is asked for every time; offline, what it was last is used.
        """
        note = f"archive {file.url}"
        if self._client.settings.offline and (known := self._cache.note(note)) is not None:
            found = replace(file, sha256=Sha256(known))
            place = self._place(found)
            if place.is_file() and sha256_file(place) == known:
                return replace(found, size_bytes=place.stat().st_size)
        self._hooks.pre_fetch(file)
        scratch = self._wheels / f".{secrets.token_hex(8)}.part"
        digest = hashlib.sha256()
        size_bytes = 0
        with storage_errors(f"write `{scratch}`"):
            self._wheels.mkdir(parents=True, exist_ok=True)
            try:
                with self._client.stream(file.url) as answer, scratch.open("wb") as stream:
                    if answer.status != 200:
                        raise IndexAccessError(
                            f"`{redact(file.url)}` does not exist", reference="artifact-not-found"
                        )
                    for chunk in answer.chunks():
                        size_bytes += len(chunk)
                        if size_bytes > _MAX_UNVOUCHED_BYTES:
                            raise IndexAccessError(
                                f"`{redact(file.url)}` does not end", reference="index-answer-too-large"
                            )
                        digest.update(chunk)
                        stream.write(chunk)
                found = replace(file, sha256=Sha256(digest.hexdigest()), size_bytes=size_bytes)
                destination = self._place(found)
                destination.parent.mkdir(parents=True, exist_ok=True)
                scratch.replace(destination)
                self._cache.store_note(note, digest.hexdigest())
            finally:
                scratch.unlink(missing_ok=True)
        self._hooks.post_fetch(found, destination)
        return found

    def _place(self, file: IndexFile) -> Path:
        artifact = LockedArtifact(filename=file.filename, sha256=file.sha256)
        return archive_path(self._wheels, artifact)
