"""The user's consent to what a project grants its own runs, shells and builds.

It is to exactly these grants of one profile in this place; whatever of them changes is asked about anew. It
is kept beside the user's configuration; docs/design/0036-consent-to-grants.md tells why it is as it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pypm.consents import read_consents, write_consents
from pypm.digest import Sha256, content_digest
from pypm.errors import ConfigurationError, UsageError
from pypm.isolation import (
    Boundary,
    RunOptions,
    Settings,
    beyond_default,
    grant_content,
    grants,
    is_nothing,
    parse_settings,
    raised_limits,
)
from pypm.workflow.context import Context
from pypm.workflow.outside import editable_outside

VARIABLE = "PYPM_TRUST"
"""`sha256:DIGEST` of all that a project grants itself, as `pypm trust --show` prints it; several with spaces
or commas between."""

EVERYWHERE = "*"
"""Stands for what the table says beside the profiles: the isolation of unpacking and builds."""
BUILD = "build"
MODULES = "modules of "
"""Begins the name of a folder that did not come with the project and that an editable build of it writes
compiled modules into; from its own folder on, so that the same two projects beside each other are the same
consent on every machine."""

_WORD = re.compile(r"sha256:([0-9a-f]{64})")


class ConsentError(ConfigurationError):
    """The project grants itself more than the default policy, and its user has not consented."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What one profile, or one editable dependency, opens beyond the default policy."""

    profile: str
    """Its name; of an editable dependency `MODULES` and where it lies."""
    opened: RunOptions
    token: Sha256
    """Of all grants of the profile."""
    consented: bool

    def lines(self) -> tuple[str, ...]:
        """All of it in plain words, one thing a line."""
        return opened_lines(self.opened)


def opened_lines(opened: RunOptions) -> tuple[str, ...]:
    """Say in plain words what is opened, one thing a line."""
    return (*grants(opened), *raised_limits(opened))


def boundary(context: Context) -> Boundary:
    """Return the places that no grant may open."""
    return Boundary(
        root=context.root, home=context.home, cache=context.cache.root, consents=context.trust_folder
    )


def settings_of(context: Context) -> Settings:
    """Return the project's `[tool.pypm.sandbox]`, checked.

    Raises: ConfigurationError: it is malformed.
    """
    return parse_settings(context.project.sandbox, boundary(context))


def asked_for(context: Context) -> tuple[Asked, ...]:
    """Return everything that the project opens, in order, with whether the user consented to it.

    Raises:
        ConfigurationError: the table is malformed, or the file of consents.
        UsageError: `PYPM_TRUST` is malformed.
    """
    found = list(_opening(context))
    known = read_consents(context.consents_file).get(context.consent_place, {}) if found else {}
    vouched = _spoken(os.environ) if found else frozenset()
    everything = _digest_of_all(context, found)
    return tuple(
        replace(each, consented=everything in vouched or known.get(each.profile) == each.token)
        for each in found
    )


def digest_of_all(context: Context) -> Sha256:
    """Return what `PYPM_TRUST` takes: one digest of everything that is granted in any profile."""
    return _digest_of_all(context, list(_opening(context)))


def asked_to_write(context: Context, tree: Path) -> Asked:
    """Return whether the user consented that editable builds of `tree` write compiled modules there.

    Only what the project names itself can be consented to, not what a lock alone says.

    Raises: ConfigurationError, UsageError.
    """
    wanted = _writing(context, tree)
    return next((each for each in asked_for(context) if each.profile == wanted.profile), wanted)


def consented(context: Context, profile: str) -> bool:
    """Whether the user consented to all that this profile opens; true where it opens nothing."""
    return all(each.consented for each in asked_for(context) if each.profile == profile)


def give_consent(context: Context, profiles: tuple[Asked, ...]) -> None:
    """Keep the user's consent to exactly this, in place of any earlier one to these profiles.

    Raises: ConfigurationError, StorageError.
    """
    changes: dict[str, str | None] = {each.profile: each.token for each in profiles}
    write_consents(context.consents_file, context.consent_place, changes)


def withdraw_consent(context: Context) -> bool:
    """Forget every consent to grants of this place; return whether there was one.

    Raises: ConfigurationError, StorageError.
    """
    known = read_consents(context.consents_file).get(context.consent_place, {})
    if known:
        write_consents(context.consents_file, context.consent_place, dict.fromkeys(known))
    return bool(known)


def own_places(context: Context) -> Boundary:
    """Return the boundary with the folder that a run sees anyway; a script among others shows none."""
    return replace(boundary(context), root=context.root if context.shown_project is not None else None)


def opened_by(context: Context, options: RunOptions, profile: str) -> RunOptions:
    """Return what a profile's options open beyond the default policy."""
    return beyond_default(options, own_places(context), build=profile == BUILD)


def build_profile(context: Context, settings: Settings) -> RunOptions:
    """Return the `build` profile; an isolation that is named beside the profiles is no grant of it.

    That one reaches builds by `workflow.ladder`, as far as the host makes it necessary.
    """
    options = settings.profile(BUILD)
    named = "isolation" in context.project.sandbox.get(BUILD, {})
    return options if named else replace(options, isolation=None)


def _opening(context: Context) -> Iterator[Asked]:
    settings = settings_of(context)
    for profile in settings.profiles:
        options = build_profile(context, settings) if profile == BUILD else settings.profile(profile)
        yield from _asked(context, profile, options)
    yield from _asked(context, EVERYWHERE, settings.base)
    for tree in editable_outside(context):
        yield _writing(context, tree)


def _asked(context: Context, profile: str, options: RunOptions) -> Iterator[Asked]:
    opened = opened_by(context, options, profile)
    if is_nothing(opened):
        return
    content = grant_content(options, opened, own_places(context))
    token = content_digest({"project": context.project.name, "profile": profile, "grants": content})
    yield Asked(profile=profile, opened=opened, token=token, consented=False)


def _writing(context: Context, tree: Path) -> Asked:
    where = Path(os.path.relpath(tree, context.root.resolve())).as_posix()
    token = content_digest({"project": context.project.name, "modules": where})
    opened = RunOptions(allow_write=(tree,))
    return Asked(profile=f"{MODULES}{where}", opened=opened, token=token, consented=False)


def _digest_of_all(context: Context, found: list[Asked]) -> Sha256:
    return content_digest({"project": context.project.name, "profiles": {e.profile: e.token for e in found}})


def _spoken(variables: Mapping[str, str]) -> frozenset[str]:
    words = variables.get(VARIABLE, "").replace(",", " ").split()
    for word in words:
        if _WORD.fullmatch(word) is None:
            raise UsageError(
                f"`{word}` in `{VARIABLE}` is not `sha256:` and 64 hexadecimal digits",
                reference="malformed-trust",
                hint="`pypm trust --show` prints it",
            )
    return frozenset(word.removeprefix("sha256:") for word in words)
