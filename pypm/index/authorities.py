"""Whose word on a server's certificate counts: the authorities that TLS connections are checked against."""

from __future__ import annotations

import contextlib
import os
import ssl
import sys
import threading
from pathlib import Path


class Authorities:
    """The authorities of this system or those that the environment names. Safe to share between threads.

    They lie in a folder, of which OpenSSL reads what it needs by the hash of a name, or in one file, which
    takes as long to load as the first page of an index takes to come; on most systems the same ones in both.
    So where there is a folder, the file is loaded only when a server's authority is not in it: what is
    trusted in the end is the same.
    """

    def __init__(self, *, trust_environment: bool) -> None:
        """Find them; with `trust_environment`, what `SSL_CERT_FILE` and `SSL_CERT_DIR` name comes first.

        Raises:
            OSError: what these name cannot be read.
        """
        self._lock = threading.Lock()
        environ = os.environ if trust_environment else {}
        file, folder = environ.get("SSL_CERT_FILE") or None, environ.get("SSL_CERT_DIR") or None
        if file is None and folder is None and sys.platform != "win32":
            file, folder = _of_the_system()
        if file is not None and folder is not None:
            with open(file, "rb"):  # noqa: PTH123 - what is named and not there is a mistake, needed or not
                pass
            self._file: str | None = file
            self.context = ssl.create_default_context(capath=folder)
        else:
            self._file = None
            self.context = ssl.create_default_context(cafile=file, capath=folder)
        self.context.set_alpn_protocols(["http/1.1"])

    @property
    def are_complete(self) -> bool:
        """Whether there is nothing left to load."""
        return self._file is None

    def complete(self) -> ssl.SSLContext:
        """Load what was left, and return the context with all of them.

        Raises:
            OSError: the file cannot be read or holds no certificates.
        """
        with self._lock:
            if self._file is not None:
                self.context.load_verify_locations(cafile=self._file)
                self._file = None
        return self.context


def _of_the_system() -> tuple[str | None, str | None]:
    """Return the file and the folder where OpenSSL was built to look; Mozilla's list if there is nothing.

    Its administrator may have added an authority of the network's own to them.
    Source: OpenSSL, SSL_CTX_set_default_verify_paths(3).
    """
    paths = ssl.get_default_verify_paths()
    cafile = capath = None
    with contextlib.suppress(OSError):
        if Path(paths.openssl_cafile).stat().st_size:
            cafile = paths.openssl_cafile
    with contextlib.suppress(OSError):
        if any(entry.suffix == ".0" for entry in Path(paths.openssl_capath).iterdir()):
            capath = paths.openssl_capath
    if cafile is None and capath is None:
        import certifi

        cafile = certifi.where()
    return cafile, capath
