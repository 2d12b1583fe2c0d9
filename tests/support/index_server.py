"""A package index on the loopback interface, made of what a test says, with the faults that a test wants.

    with IndexServer() as server:
        wheel = make_wheel("demo", "1.0", requires=["other>=2"])
        server.add("demo", wheel)
        server.fault("/simple/demo/", Fault.status(503), times=2)
        ...
        assert server.count("/simple/demo/") == 3

Pages are written when they are asked for, so a test may add files and change how an index talks at any time.
"""

from __future__ import annotations

import hashlib
import html
import io
import json
import socket
import struct
import tarfile
import threading
import time
import zipfile
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal
from urllib.parse import unquote, urlsplit

_PIECE_BYTES = 1 << 20
JSON_TYPE = "application/vnd.pypi.simple.v1+json"
LOGIN_PAGE = b"""<!DOCTYPE html><html><head><title>Sign in</title></head><body><a href="/help">Help</a>
<form method="post" action="/session"><input type="text" name="user"><input type="password" name="secret">
</form></body></html>"""


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A wheel or sdist, with what the index says of it."""

    filename: str
    content: bytes = field(repr=False)
    metadata: bytes = field(default=b"", repr=False)
    requires_python: str | None = None
    yanked: str | None = None
    upload_time: str | None = None
    stated_sha256: str | None = None
    """What the page claims; the true hash unless a test lies."""
    path: str | None = None
    """Below the server's root; `files/<filename>` unless said otherwise."""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


def make_wheel(
    name: str,
    version: str,
    *,
    tag: str = "py3-none-any",
    requires: Iterable[str] = (),
    files: Mapping[str, bytes] | None = None,
    requires_python: str | None = None,
    extras: Iterable[str] = (),
) -> Archive:
    """Return a sound wheel: the same bytes for the same arguments."""
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = _metadata(name, version, requires=requires, requires_python=requires_python, extras=extras)
    members = dict(files if files is not None else {f"{name.replace('-', '_')}/__init__.py": b""})
    members[f"{stem}.dist-info/METADATA"] = metadata
    members[f"{stem}.dist-info/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode()
    )
    rows = [
        f"{path},sha256={urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b'=').decode()},{len(content)}\n"
        for path, content in members.items()
    ]
    members[f"{stem}.dist-info/RECORD"] = "".join([*rows, f"{stem}.dist-info/RECORD,,\n"]).encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in members.items():
            archive.writestr(zipfile.ZipInfo(path, (1980, 1, 1, 0, 0, 0)), content)
    return Archive(
        filename=f"{stem}-{tag}.whl",
        content=stream.getvalue(),
        metadata=metadata,
        requires_python=requires_python,
    )


def make_sdist(
    name: str,
    version: str,
    *,
    requires: Iterable[str] = (),
    requires_python: str | None = None,
    metadata_version: str = "2.2",
    dynamic: Iterable[str] = (),
    pyproject: str | None = None,
    files: Mapping[str, bytes] | None = None,
) -> Archive:
    """Return a sound source distribution: the same bytes for the same arguments."""
    stem = f"{name.replace('-', '_')}-{version}"
    metadata = _metadata(
        name,
        version,
        requires=requires,
        requires_python=requires_python,
        metadata_version=metadata_version,
        dynamic=dynamic,
    )
    members = {"PKG-INFO": metadata, **(files or {})}
    if pyproject is not None:
        members["pyproject.toml"] = pyproject.encode()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz", format=tarfile.PAX_FORMAT) as archive:
        for path, content in members.items():
            info = tarfile.TarInfo(f"{stem}/{path}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return Archive(
        filename=f"{stem}.tar.gz",
        content=stream.getvalue(),
        metadata=metadata,
        requires_python=requires_python,
    )


def _metadata(
    name: str,
    version: str,
    *,
    requires: Iterable[str],
    requires_python: str | None,
    extras: Iterable[str] = (),
    metadata_version: str = "2.1",
    dynamic: Iterable[str] = (),
) -> bytes:
    lines = [f"Metadata-Version: {metadata_version}", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Python: {requires_python}"] if requires_python else []
    lines += [f"Provides-Extra: {extra}" for extra in extras]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    lines += [f"Dynamic: {name}" for name in dynamic]
    return ("\n".join(lines) + "\n\nA package for tests.\n").encode()


@dataclass(frozen=True, kw_only=True)
class Fault:
    """How an answer goes wrong. Combine by `replace`, or use a named one."""

    status_code: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    """Sent instead of the true body."""
    truncate_at: int | None = None
    """The connection is cut after this many bytes of the body, although the length promises more."""
    delay_seconds: float = 0.0
    """Before the first byte."""
    drip_seconds: float = 0.0
    """Between pieces of `drip_bytes`."""
    drip_bytes: int = 1024
    endless: bool = False
    """The body is repeated, chunked, until the reader has enough."""
    resets: bool = False
    """With `truncate_at`: the connection ends with a reset."""
    drop: bool = False
    """The connection is closed without any answer."""
    ignore_range: bool = False
    """The whole file is sent with status 200."""

    @staticmethod
    def status(code: int, **headers: str) -> Fault:
        """Answer with a status; `retry_after="1"` becomes the header `retry-after`."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return Fault(status_code=code, headers=names, body=b"fault")

    @staticmethod
    def redirect(location: str, code: int = 302) -> Fault:
        """Answer with a redirect."""
        return Fault(status_code=code, headers={"location": location}, body=b"")

    @staticmethod
    def login() -> Fault:
        """Answer with a login form, status 200."""
        return Fault(headers={"content-type": "text/html"}, body=LOGIN_PAGE)

    @staticmethod
    def garbage() -> Fault:
        """Answer with bytes that are nothing, status 200."""
        return Fault(body=bytes(range(256)) * 8)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a client asked."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""


@dataclass(frozen=True, kw_only=True)
class _Reply:
    status: int
    content_type: str
    body: bytes
    etag: str | None = None
    ranged: bool = False


class IndexServer:
    """The index; see the module."""

    def __init__(self, *, page_format: Literal["html", "json"] = "json") -> None:
        self.page_format = page_format
        """JSON only to clients that accept it."""
        self.advertises_metadata = True
        """Pages say that `<url>.metadata` exists (PEP 658)."""
        self.serves_metadata = True
        """`<url>.metadata` exists."""
        self.states_sizes = True
        self.serves_ranges = True
        self.page_etags = False
        self.file_etags = True
        self.delay_seconds = 0.0
        """Before every answer."""
        self.login: tuple[str, str] | None = None
        """User name and password that every request must bring."""
        self.requests: list[Request] = []
        self.sent_bytes: Counter[str] = Counter()
        """Bytes of bodies handed to the network, by path."""
        self.most_in_flight = 0
        self._in_flight = 0
        self._projects: dict[str, list[Archive]] = {}
        self._raw: dict[str, _Reply] = {}
        self._faults: dict[str, list[tuple[Fault, int | None]]] = {}
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.index = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> IndexServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def host(self) -> str:
        """`127.0.0.1:<port>`."""
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def root(self) -> str:
        """The server's address, without a slash at its end."""
        return f"http://{self.host}"

    @property
    def url(self) -> str:
        """The index's URL, as a project configures it."""
        return f"{self.root}/simple"

    def add(self, name: str, *archives: Archive) -> None:
        """Offer archives under a normalized name; the page appears with the first."""
        with self._lock:
            self._projects.setdefault(name, []).extend(archives)

    def remove(self, name: str) -> None:
        """Forget a project and its files."""
        with self._lock:
            self._projects.pop(name, None)

    def add_raw(self, path: str, body: bytes, *, content_type: str = "text/html") -> None:
        """Serve these bytes at a path, instead of what would be there."""
        with self._lock:
            self._raw[path] = _Reply(status=200, content_type=content_type, body=body)

    def fault(self, path: str, fault: Fault, *, times: int | None = None) -> None:
        """Spoil the answers at a path (`*`: at every path), for ever or this many times; faults queue up."""
        with self._lock:
            self._faults.setdefault(path, []).append((fault, times))

    def heal(self) -> None:
        """Forget every fault."""
        with self._lock:
            self._faults.clear()

    def file_url(self, archive: Archive) -> str:
        """Return where an archive lies."""
        return f"{self.root}/{self.file_path(archive)}"

    @staticmethod
    def file_path(archive: Archive) -> str:
        """Return where an archive lies below the root."""
        return archive.path or f"files/{archive.filename}"

    def count(self, path: str | None = None, *, method: str | None = None) -> int:
        """Return how many requests there were, for one path or all."""
        with self._lock:
            return sum(
                (path is None or request.path == path) and (method is None or request.method == method)
                for request in self.requests
            )

    def begin(self, request: Request) -> Fault | None:
        """Note a request and return the fault that spoils its answer."""
        with self._lock:
            self.requests.append(request)
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
            for path in (request.path, "*"):
                queue = self._faults.get(path, [])
                while queue:
                    fault, times = queue[0]
                    if times is None:
                        return fault
                    if times > 0:
                        queue[0] = (fault, times - 1)
                        return fault
                    queue.pop(0)
        return None

    def count_sent(self, path: str, count_bytes: int) -> None:
        """Note what was sent of a body."""
        with self._lock:
            self.sent_bytes[path] += count_bytes

    def end(self) -> None:
        """Note that an answer is complete."""
        with self._lock:
            self._in_flight -= 1

    def reply(self, request: Request) -> _Reply:
        """Return the true answer."""
        with self._lock:
            raw = self._raw.get(request.path)
            projects = {name: tuple(archives) for name, archives in self._projects.items()}
        if raw is not None:
            return raw
        parts = request.path.strip("/").split("/")
        if len(parts) == 2 and parts[0] == "simple" and parts[1] in projects:
            return self._page(parts[1], projects[parts[1]], request.headers.get("accept", ""))
        for archives in projects.values():
            for archive in archives:
                path = self.file_path(archive)
                if request.path == f"/{path}":
                    etag = f'"{archive.sha256[:16]}"' if self.file_etags else None
                    return _Reply(
                        status=200,
                        content_type="application/octet-stream",
                        body=archive.content,
                        etag=etag,
                        ranged=self.serves_ranges,
                    )
                if request.path == f"/{path}.metadata" and self.serves_metadata and archive.metadata:
                    return _Reply(status=200, content_type="application/octet-stream", body=archive.metadata)
        return _Reply(status=404, content_type="text/plain", body=b"not found")

    def _page(self, name: str, archives: tuple[Archive, ...], accept: str) -> _Reply:
        if self.page_format == "json" and "json" in accept:
            body, content_type = self._json_page(name, archives), JSON_TYPE
        else:
            body, content_type = self._html_page(name, archives), "text/html"
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"' if self.page_etags else None
        return _Reply(status=200, content_type=content_type, body=body, etag=etag)

    def _json_page(self, name: str, archives: tuple[Archive, ...]) -> bytes:
        files = []
        for archive in archives:
            entry: dict[str, object] = {
                "filename": archive.filename,
                "url": self.file_url(archive),
                "hashes": {"sha256": archive.stated_sha256 or archive.sha256},
                "yanked": False if archive.yanked is None else (archive.yanked or True),
            }
            if archive.requires_python:
                entry["requires-python"] = archive.requires_python
            if archive.upload_time:
                entry["upload-time"] = archive.upload_time
            if self.states_sizes:
                entry["size"] = len(archive.content)
            if self.advertises_metadata and archive.filename.endswith(".whl"):
                entry["core-metadata"] = {"sha256": hashlib.sha256(archive.metadata).hexdigest()}
            files.append(entry)
        return json.dumps({"meta": {"api-version": "1.1"}, "name": name, "files": files}).encode()

    def _html_page(self, name: str, archives: tuple[Archive, ...]) -> bytes:
        lines = [f"<!DOCTYPE html><html><head><title>Links for {name}</title></head><body>"]
        for archive in archives:
            attributes = ""
            if archive.requires_python:
                attributes += f' data-requires-python="{html.escape(archive.requires_python)}"'
            if archive.yanked is not None:
                attributes += f' data-yanked="{html.escape(archive.yanked)}"'
            if archive.upload_time:
                attributes += f' data-upload-time="{archive.upload_time}"'
            if self.advertises_metadata and archive.filename.endswith(".whl"):
                attributes += f' data-core-metadata="sha256={hashlib.sha256(archive.metadata).hexdigest()}"'
            address = f"{self.file_url(archive)}#sha256={archive.stated_sha256 or archive.sha256}"
            lines.append(f'<a href="{address}"{attributes}>{archive.filename}</a><br/>')
        return "\n".join([*lines, "</body></html>"]).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    index: IndexServer

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients hang up in the middle of answers here; that is what they are tested for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._serve()

    def do_HEAD(self) -> None:
        self._serve()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class named it
        """Tests have their own ways to see requests."""

    def _serve(self) -> None:
        index = self.server.index
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(method=self.command, path=unquote(urlsplit(self.path).path), headers=headers)
        fault = index.begin(request)
        try:
            time.sleep(index.delay_seconds + (fault.delay_seconds if fault is not None else 0.0))
            if fault is not None and fault.drop:
                self.close_connection = True
                return
            self._answer(self._true_reply(request), fault or Fault(), request)
        finally:
            index.end()

    def _true_reply(self, request: Request) -> _Reply:
        index = self.server.index
        if index.login is not None:
            pair = urlsafe_b64encode(":".join(index.login).encode()).decode()
            if request.headers.get("authorization") != f"Basic {pair}":
                return _Reply(status=401, content_type="text/plain", body=b"who are you?")
        return index.reply(request)

    def _answer(self, reply: _Reply, fault: Fault, request: Request) -> None:
        headers: dict[str, str] = {"content-type": reply.content_type}
        status, body = reply.status, reply.body
        if reply.etag is not None:
            headers["etag"] = reply.etag
            if request.headers.get("if-none-match") == reply.etag:
                status, body = 304, b""
        if reply.ranged and status == 200:
            headers["accept-ranges"] = "bytes"
            if not fault.ignore_range:
                status, body, extra = _ranged(reply, request)
                headers.update(extra)
        if fault.body is not None:
            body = fault.body
        headers["content-length"] = str(len(body))
        headers.update(fault.headers)
        if fault.endless:
            del headers["content-length"]
            headers["transfer-encoding"] = "chunked"
        self.send_response(fault.status_code or status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if request.method != "HEAD":
            self._send_body(body, fault, request.path)

    def _send_body(self, body: bytes, fault: Fault, path: str) -> None:
        if fault.endless:
            piece = (body or b" ") * (1 + 65536 // max(1, len(body)))
            while True:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if fault.truncate_at is not None:
            self.close_connection = True
            body = body[: fault.truncate_at]
        step = fault.drip_bytes if fault.drip_seconds else _PIECE_BYTES
        view = memoryview(body)
        for start in range(0, len(body), step):
            self.wfile.write(view[start : start + step])
            self.wfile.flush()
            self.server.index.count_sent(path, len(view[start : start + step]))
            time.sleep(fault.drip_seconds)
        if fault.truncate_at is not None and fault.resets:
            # The client gets a reset instead of an orderly end, after it has read what there was: a reset
            # throws away what still lies in its buffers.
            time.sleep(0.2)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()


def _ranged(reply: _Reply, request: Request) -> tuple[int, bytes, dict[str, str]]:
    """Return status, body and headers for a request that may ask for a part (RFC 9110, section 14)."""
    total = len(reply.body)
    span = request.headers.get("range", "")
    condition = request.headers.get("if-range")
    if not span.startswith("bytes=") or (condition is not None and condition != reply.etag):
        return 200, reply.body, {}
    first, _, last = span.removeprefix("bytes=").partition("-")
    start = int(first) if first else max(0, total - int(last))
    end = min(total, int(last) + 1) if first and last else total
    if start >= total:
        return 416, b"", {"content-range": f"bytes */{total}"}
    return 206, reply.body[start:end], {"content-range": f"bytes {start}-{end - 1}/{total}"}


def lying(archive: Archive, sha256: str) -> Archive:
    """Return the archive with a hash on the page that is not its own."""
    return replace(archive, stated_sha256=sha256)
