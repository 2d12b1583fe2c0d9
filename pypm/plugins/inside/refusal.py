"""Why a plugin cannot be used, found before any hook of it runs."""

from __future__ import annotations


class Refusal(Exception):  # noqa: N818 - an answer to pypm, not a fault of the host
    """`code` is stable and kebab-case; `message` goes on from "the plugin `x`"."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
