"""Sizes of files where the index does not tell them: asked of the servers, in parallel."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from msgspec.structs import replace

from pypm.index.client import Client
from pypm.index.pages import local_path
from pypm.model.artifact import IndexFile


def fill_sizes(client: Client, files: Sequence[IndexFile]) -> tuple[IndexFile, ...]:
    """Return the files in their order, with the size of each; None stays where a server does not say.

    Raises:
        IndexAccessError: a server could not be asked.
    """
    with ThreadPoolExecutor(client.settings.connections, thread_name_prefix="sizes") as pool:
        return tuple(pool.map(lambda file: _with_size(client, file), files))


def _with_size(client: Client, file: IndexFile) -> IndexFile:
    if file.size_bytes is not None:
        return file
    if file.url.startswith("file:"):
        return replace(file, size_bytes=local_path(file.url).stat().st_size)
    answer = client.head(file.url)
    length = answer.headers.get("content-length", "")
    encoded = answer.headers.get("content-encoding", "identity") != "identity"
    if answer.status != 200 or encoded or not (length.isascii() and length.isdigit() and len(length) < 19):
        return file
    return replace(file, size_bytes=int(length))
