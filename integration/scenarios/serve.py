"""A scenario's universe as an index on loopback: project pages as JSON (PEP 691), files, and their
metadata."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from packaging.utils import canonicalize_name

from integration.scenarios.files import content, file_names, metadata
from integration.scenarios.model import Release

JSON = "application/vnd.pypi.simple.v1+json"
UPLOADED = "2020-01-01T00:00:00.000000Z"
"""Every file is as old as the others, so a date limit changes nothing."""


@contextmanager
def serving(packages: Mapping[str, Mapping[str, Release]]) -> Iterator[str]:
    """Serve a universe while the block runs; yield the address of its project pages."""
    answers = _answers(packages)
    server = _QuietServer(("127.0.0.1", 0), _handler(answers))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple"
    finally:
        server.shutdown()
        server.server_close()


class _QuietServer(ThreadingHTTPServer):
    """Clients drop connections that they do not need any more; that is no news."""

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def _answers(packages: Mapping[str, Mapping[str, Release]]) -> dict[str, tuple[str, bytes]]:
    """Return every path with its content type and body."""
    answers: dict[str, tuple[str, bytes]] = {}
    for written, releases in packages.items():
        name = canonicalize_name(written)
        entries: list[dict[str, Any]] = []
        for version, release in releases.items():
            described = metadata(name, version, release)
            for filename in file_names(name, version, release):
                data = content(filename, name, version, release)
                answers[f"/files/{filename}"] = ("application/octet-stream", data)
                entry: dict[str, Any] = {
                    "filename": filename,
                    "url": f"../../files/{filename}",
                    "hashes": {"sha256": hashlib.sha256(data).hexdigest()},
                    "size": len(data),
                    "upload-time": UPLOADED,
                    "yanked": release.yanked,
                }
                if release.requires_python:
                    entry["requires-python"] = release.requires_python
                if filename.endswith(".whl"):
                    entry["core-metadata"] = {"sha256": hashlib.sha256(described).hexdigest()}
                    answers[f"/files/{filename}.metadata"] = ("text/plain", described)
                entries.append(entry)
        page = {
            "meta": {"api-version": "1.1"},
            "name": name,
            "versions": sorted(releases),
            "files": entries,
        }
        answers[f"/simple/{name}"] = (JSON, json.dumps(page).encode())
    return answers


def _handler(answers: Mapping[str, tuple[str, bytes]]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, *, with_body: bool) -> None:
            kind, body = answers.get(self.path.rstrip("/"), ("text/plain", b"not found"))
            self.send_response(200 if self.path.rstrip("/") in answers else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
            """Say nothing: the harness prints rows."""

    return Handler
