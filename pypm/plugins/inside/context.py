"""What a hook is told, as frozen data: made by pypm, sent to the host, given to Python plugins as it is.

The fields are those of `pypm_context` in `pypm_plugin.h`, where each is explained.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any


class Stage(enum.Enum):
    """The stages of a command, in the order in which they come."""

    PRE_LOCK = "pre-lock"
    POST_LOCK = "post-lock"
    PRE_SYNC = "pre-sync"
    PRE_FETCH = "pre-fetch"
    POST_FETCH = "post-fetch"
    PRE_BUILD = "pre-build"
    POST_BUILD = "post-build"
    PRE_INSTALL = "pre-install"
    POST_INSTALL = "post-install"
    POST_SYNC = "post-sync"
    PRE_RUN = "pre-run"
    POST_RUN = "post-run"

    @property
    def bit(self) -> int:
        """The stage's constant in the header."""
        return 1 << list(Stage).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One package and the one artifact of it that a stage is about."""

    name: str
    version: str | None = None
    artifact: str | None = None
    """File name of the wheel or sdist; None for a source tree."""
    url: str | None = None
    """Without credentials."""
    sha256: str | None = None
    path: str | None = None
    """The archive on this machine; None before it is there."""
    tree: str | None = None
    """The unpacked tree, laid out like a virtual environment."""
    size_bytes: int = 0
    """0 where it is not known."""
    build_key: str | None = None
    """Stands for all that a built wheel depends on; None where one from elsewhere would not be taken."""
    build_record: str | None = None
    """The signed record of a build; None where nobody signs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What one hook call is told."""

    stage: Stage
    pypm_version: str
    project_root: str
    lock_path: str
    environment_path: str
    lock_digest: str | None = None
    environment_digest: str | None = None
    interpreter: str | None = None
    interpreter_version: str | None = None
    scratch: str = ""
    """Filled by the host: a folder that the plugin may write to."""
    platform_tags: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    """Filled by the host: pairs of key and value, a list as several pairs of one key."""
    packages: tuple[Package, ...] = ()

    def to_plain(self) -> dict[str, Any]:
        """As data for JSON."""
        plain: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        # `asdict` copies every text; a sync has hundreds of packages.
        packages = [{name: getattr(one, name) for name in Package.__slots__} for one in self.packages]
        return {**plain, "stage": self.stage.value, "packages": packages}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Context:
        """The inverse of `to_plain`."""
        return cls(
            **{
                **plain,
                "stage": Stage(plain["stage"]),
                "platform_tags": tuple(plain["platform_tags"]),
                "options": tuple((key, value) for key, value in plain["options"]),
                "packages": tuple(Package(**package) for package in plain["packages"]),
            }
        )
