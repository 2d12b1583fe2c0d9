"""The one exception by which the inside refuses an archive."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - it is an answer to the host, which raises the error of that name
    """An archive that will not be unpacked: a kebab-case code and one sentence that names the file."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
