"""The user's consent to what a project grants its plugins: docs/design/0034-plugin-consent.md tells why.

Consent is to one plugin's bytes with one set of grants and options, in one project. Whatever of it changes,
the consent is gone. It is kept beside the user's configuration, which no run can write by default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pypm.consents import read_consents, write_consents
from pypm.digest import Sha256, content_digest
from pypm.errors import UsageError
from pypm.plugins.found import Found
from pypm.plugins.settings import Enabled

FILE_NAME = "trusted-plugins.json"
VARIABLE = "PYPM_TRUST_PLUGINS"
"""`NAME@TOKEN`, or `NAME` for whatever a project grants it; several with spaces or commas between."""

_WORD = re.compile(r"(?P<name>[a-z][a-z0-9_-]*)(?:@(?P<token>[0-9a-f]{64}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What the user has consented to."""

    known: frozenset[tuple[str, str, Sha256]]
    """Project root, plugin, token."""
    spoken: frozenset[tuple[str, str | None]]
    """Plugin and token, or None for any, of the environment variable."""

    def covers(self, root: Path, plugin: str, token: Sha256) -> bool:
        """Whether the user consented to this plugin as it is, in this project."""
        place = str(root.resolve())
        return (
            (plugin, None) in self.spoken
            or (plugin, token) in self.spoken
            or (place, plugin, token) in self.known
        )


def token_of(found: Found, enabled: Enabled) -> Sha256:
    """Return the digest of what consent is given to: the bytes, every grant, and the options.

    The options belong to it because they tell a plugin where to send what it may read.
    """
    grants = enabled.grants
    return content_digest(
        {
            "plugin": enabled.name,
            "sha256": found.sha256,
            "net": sorted(
                f"{place.host}:{'' if place.port is None else place.port}" for place in grants.hosts
            ),
            "read": sorted(str(path) for path in grants.paths),
            "env": sorted(grants.variables),
            "project": grants.project,
            "packages": grants.packages,
            "options": [list(pair) for pair in enabled.options],
        }
    )


def read_trust(folder: Path, variables: Mapping[str, str]) -> Trust:
    """Return the consents that are kept in `folder`, and those of the environment.

    Raises:
        ConfigurationError: the file is malformed, or another user could have written it.
        UsageError: the variable is malformed.
    """
    known = {
        (root, plugin, Sha256(str(token)))
        for root, plugins in read_consents(folder / FILE_NAME).items()
        for plugin, token in plugins.items()
    }
    spoken = set()
    for word in variables.get(VARIABLE, "").replace(",", " ").split():
        match = _WORD.fullmatch(word)
        if match is None:
            raise UsageError(
                f"`{word}` in `{VARIABLE}` is neither `NAME` nor `NAME@TOKEN`",
                reference="malformed-trust",
                hint="`pypm plugin trust NAME --show` prints it",
            )
        spoken.add((match["name"].replace("_", "-"), match["token"]))
    return Trust(known=frozenset(known), spoken=frozenset(spoken))


def remember(folder: Path, root: Path, plugin: str, token: Sha256 | None) -> None:
    """Keep a consent, or with None as `token` forget it.

    Raises: ConfigurationError, StorageError.
    """
    write_consents(folder / FILE_NAME, str(root.resolve()), {plugin: token})
