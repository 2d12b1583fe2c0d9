"""A small S3 server of our own, for what a real one does not do on demand: faults of every kind.

It verifies signatures (AWS Signature Version 4) and hashes of contents as S3 does, and knows one bucket.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import shutil
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

ACCESS_KEY = "AKIDEXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
REGION = "eu-test-1"
_SKEW = timedelta(minutes=15)
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?"
    r"SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})"
)
Fault = Callable[["Request"], bool]
"""Answers a request in its own way and returns True, or returns False."""


class Server(ThreadingHTTPServer):
    """One bucket in memory."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.bucket = "wheels"
        self.objects: dict[str, bytes] = {}
        self.is_public = False
        self.lists = True
        """Whether a missing object is told as missing: to those who may list the bucket."""
        self.session_token: str | None = None
        self.clock_ahead = timedelta()
        self.knows_conditions = True
        self.fault: Fault | None = None
        self.requests: list[tuple[str, str, int]] = []
        self.connections = 0
        self.most_at_once = 0
        self.at_once = 0
        self.lock = threading.Lock()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def count(self, method: str, status: int | None = None) -> int:
        """How many requests of a method were answered, with a status."""
        return sum(1 for verb, _, told in self.requests if verb == method and status in (None, told))

    def process_request(self, request: object, client_address: object) -> None:
        self.connections += 1
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are what is tested here; anything else is a mistake of this file."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class Request(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base names it so
        """Nothing: the requests are kept."""

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_HEAD(self) -> None:
        self._answer(self._get)

    def do_PUT(self) -> None:
        self._answer(self._put)

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send one whole answer."""
        self.server.requests.append((self.command, self.path, status))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status: int, code: str, **headers: str) -> None:
        """Send an error as S3 words it, with things in it that must not be shown."""
        told = f"<Error><Code>{code}</Code><Message>{ACCESS_KEY} {SECRET_KEY}</Message></Error>"
        self.reply(status, told.encode(), Content_Type="application/xml", **headers)

    def content(self) -> bytes:
        """Read what was sent."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self, how: Callable[[str], None]) -> None:
        server = self.server
        with server.lock:
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            if server.fault is None or not server.fault(self):
                self._checked(how)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with server.lock:
                server.at_once -= 1

    def _checked(self, how: Callable[[str], None]) -> None:
        server = self.server
        path = urlsplit(self.path).path
        host = self.headers["Host"]
        if host.startswith(f"{server.bucket}."):
            bucket, key = server.bucket, path.lstrip("/")
        else:
            bucket, _, key = path.lstrip("/").partition("/")
        body = self.content() if self.command == "PUT" else b""
        signature = self.headers.get("Authorization")
        problem = None if signature is None else self._problem(signature, body)
        if problem is not None:
            self.refuse(*problem)
        elif bucket != server.bucket:
            self.refuse(404, "NoSuchBucket")
        elif signature is None and not (server.is_public and self.command != "PUT"):
            self.refuse(403, "AccessDenied")
        else:
            self._body = body
            how(key)

    def _get(self, key: str) -> None:
        content = self.server.objects.get(key)
        if content is not None:
            self.reply(200, content)
        elif self.server.lists:
            self.refuse(404, "NoSuchKey")
        else:
            self.refuse(403, "AccessDenied")

    def _put(self, key: str) -> None:
        condition = self.headers.get("If-None-Match")
        if condition is not None and not self.server.knows_conditions:
            self.refuse(501, "NotImplemented")
        elif condition == "*" and key in self.server.objects:
            self.refuse(412, "PreconditionFailed")
        else:
            self.server.objects[key] = self._body
            self.reply(200, ETag='"etag"')

    def _problem(self, authorization: str, body: bytes) -> tuple[int, str] | None:
        """What is wrong with a signature, as S3 says it."""
        found = _AUTHORIZATION.fullmatch(authorization)
        if found is None or found[3] != REGION:
            return 400, "AuthorizationHeaderMalformed"
        access_key, day, region, names, signature = found.groups()
        signed = names.split(";")
        amazon = {name.lower() for name in self.headers if name.lower().startswith("x-amz-")}
        moment = datetime.strptime(self.headers["x-amz-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
        needed = {"host", "x-amz-date", "x-amz-content-sha256"} | amazon
        problems = (
            (403, "InvalidAccessKeyId", access_key != ACCESS_KEY),
            (403, "InvalidToken", self.headers.get("x-amz-security-token") != self.server.session_token),
            (403, "AccessDenied", not needed <= set(signed)),
            (
                403,
                "RequestTimeTooSkewed",
                abs(datetime.now(timezone.utc) + self.server.clock_ahead - moment) > _SKEW,
            ),
            (403, "SignatureDoesNotMatch", self._signature(signed, day, region) != signature),
            (
                400,
                "XAmzContentSHA256Mismatch",
                self.headers["x-amz-content-sha256"] != hashlib.sha256(body).hexdigest(),
            ),
        )
        return next(((status, code) for status, code, is_so in problems if is_so), None)

    def _signature(self, signed: list[str], day: str, region: str) -> str:
        parts = urlsplit(self.path)
        query = sorted((quote(name, "-_.~"), quote(value, "-_.~")) for name, value in parse_qsl(parts.query))
        canonical = "\n".join(
            (
                self.command,
                quote(parts.path, "/-_.~"),
                "&".join(f"{name}={value}" for name, value in query),
                *(f"{name}:{self.headers[name].strip()}" for name in signed),
                "",
                ";".join(signed),
                self.headers["x-amz-content-sha256"],
            )
        )
        scope = f"{day}/{region}/s3/aws4_request"
        text = "\n".join(
            (
                "AWS4-HMAC-SHA256",
                self.headers["x-amz-date"],
                scope,
                hashlib.sha256(canonical.encode()).hexdigest(),
            )
        )
        key = f"AWS4{SECRET_KEY}".encode()
        for part in scope.split("/"):
            key = hmac.new(key, part.encode(), "sha256").digest()
        return hmac.new(key, text.encode(), "sha256").hexdigest()


@contextmanager
def serving() -> Iterator[Server]:
    """Run a server on a free port of loopback."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def certify(server: Server, folder: Path) -> str | None:
    """Make a server speak TLS with a certificate for 127.0.0.1 of its own; return it as PEM text."""
    if shutil.which("openssl") is None:
        return None
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subject = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"]
    argv = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *subject]
    subprocess.run([*argv, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return certificate.read_text()


# Faults -----------------------------------------------------------------------------------------------


def status(number: int, code: str, **headers: str) -> Fault:
    """Always answer with an error."""

    def fault(request: Request) -> bool:
        request.content()
        request.refuse(number, code, **headers)
        return True

    return fault


def times(count: int, inner: Fault) -> Fault:
    """Only the first few times."""
    left = [count]

    def fault(request: Request) -> bool:
        left[0] -= 1
        return left[0] >= 0 and inner(request)

    return fault


def hang(request: Request) -> bool:
    """Take the request and say nothing until the client has gone."""
    with suppress(OSError):
        request.connection.settimeout(20)
        request.connection.recv(1)
    request.close_connection = True
    return True


def drip(request: Request) -> bool:
    """Send a byte now and then."""
    request.send_response(200)
    request.send_header("Content-Length", "100000")
    request.end_headers()
    for _ in range(200):
        request.wfile.write(b"x")
        time.sleep(0.1)
    return True


def truncate(request: Request) -> bool:
    """Promise the whole and break off in the middle."""
    content = request.server.objects.get(request.path.lstrip("/").partition("/")[2], b"0" * 1000)
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content[: len(content) // 2])
    request.close_connection = True
    return True


def endless(request: Request) -> bool:
    """Send without an end, without saying how much it will be."""
    request.send_response(200)
    request.send_header("Connection", "close")
    request.end_headers()
    while True:
        request.wfile.write(b"x" * 65536)


def endless_error(request: Request) -> bool:
    """The same as an error."""
    request.send_response(500)
    request.send_header("Connection", "close")
    request.end_headers()
    while True:
        request.wfile.write(b"x" * 65536)


def garbage(request: Request) -> bool:
    """Speak no HTTP."""
    request.wfile.write(b"220 mail.example.test ESMTP\r\n")
    request.close_connection = True
    return True


def drop(request: Request) -> bool:
    """Close the connection without an answer."""
    request.close_connection = True
    return True
