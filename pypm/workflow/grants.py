"""What the project and the command line grant beyond the default policy.

A flag is the user's own word. What the project grants itself counts with the user's consent, see
`workflow.trust`; without it a command that is to be run is refused, for it may not work without.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import sandbox
from pypm.isolation import (
    RunOptions,
    as_flags,
    is_nothing,
    merge,
    not_covered,
    parse_flags,
    read_only,
    withhold,
)
from pypm.workflow.context import Context
from pypm.workflow.outside import came_along
from pypm.workflow.settings import working_folder
from pypm.workflow.trust import (
    BUILD,
    EVERYWHERE,
    ConsentError,
    asked_for,
    asked_to_write,
    boundary,
    build_profile,
    consented,
    give_consent,
    opened_by,
    opened_lines,
    own_places,
    settings_of,
)
from sandbox import Isolation


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """The options of one run."""

    options: RunOptions
    """What counts."""
    waiting: RunOptions
    """What the project grants besides, and the user has not consented to."""

    def waiting_lines(self) -> tuple[str, ...]:
        """What waits in plain words, one thing a line."""
        return opened_lines(self.waiting)


def build_options(context: Context) -> Callable[[], RunOptions]:
    """Return what gives the project's `build` profile, as far down the ladder as `workflow.ladder` says.

    Less than that is given only where the profile itself names it, and the user consents. It is asked for
    when something is to be built: what was built before needs no grant any more.
    """
    found: list[RunOptions] = []

    def give() -> RunOptions:
        if not found:
            found.append(_build_options(context))
        return found[0]

    return give


def run_options(
    context: Context, profile: str, flags: Mapping[str, Any], *, without: bool = False
) -> RunOptions:
    """Return a profile of the project with the sandbox flags of the command line on top.

    `without` leaves out what waits for consent (`--no-grants`).

    Raises:
        ConfigurationError: `[tool.pypm.sandbox]` is malformed.
        ConsentError: it opens more than the default policy without the user's consent.
        UsageError: a flag is malformed, or there is no such profile.
    """
    found = granted(context, profile, flags)
    if without or is_nothing(found.waiting):
        return found.options
    named = f"`{context.consent_place}` grants its profile `{profile}` more than the default policy"
    if context.ask is not None:
        # All that the consent is to is shown, and the consent is to what was shown.
        (asked,) = (each for each in asked_for(context) if each.profile == profile)
        if context.ask(f"{named}:", asked.lines()):
            give_consent(context, (asked,))
            return granted(context, profile, flags).options
    same = as_flags(found.waiting)
    raise _refusal(
        f"{named}, and you have not consented to it",
        found.waiting,
        "`pypm trust` shows all of it and asks you"
        + (f"; for this one time: `{same}`" if same else "")
        + "; `--no-grants` goes without",
    )


def granted(context: Context, profile: str, flags: Mapping[str, Any]) -> Granted:
    """Return what counts of a profile and the flags, and what waits for the user's consent.

    Raises: ConfigurationError, UsageError.
    """
    given = parse_flags(flags, boundary(context), working_directory=working_folder())
    settings = settings_of(context)
    own = build_profile(context, settings) if profile == BUILD else settings.profile(profile)
    if given.read_only:
        own = read_only(own, own_places(context))
    waiting = RunOptions()
    opened = opened_by(context, own, profile)
    if not is_nothing(opened) and not consented(context, profile):
        # Whoever takes a weaker isolation for every command has said so, too.
        said = replace(given, isolation=given.isolation or context.settings.isolation)
        waiting = not_covered(opened, said)
    options = merge(withhold(own, waiting), given)
    if options.isolation is None:
        options = replace(options, isolation=context.settings.isolation)
    return Granted(options=options, waiting=waiting)


def require_writable(context: Context, tree: Path, modules: tuple[Path, ...]) -> None:
    """Refuse compiled modules that an editable build would write into a folder that is not the project's.

    Raises: ConsentError: the user has not consented to it, and does not when asked.
    """
    if came_along(context, tree):
        return
    asked = asked_to_write(context, tree)
    if asked.consented:
        return
    lines = tuple(map(str, modules))
    named = f"`{context.consent_place}` has compiled modules built that belong into `{tree}`, outside of it"
    if context.ask is not None and context.ask(f"{named}:", lines):
        give_consent(context, (asked,))
        return
    raise ConsentError(
        f"{named}, and you have not consented to it",
        reference="modules-not-trusted",
        details=lines,
        hint="`pypm trust` in the project asks you; without `editable` nothing is written there",
    )


def _build_options(context: Context) -> RunOptions:
    settings = settings_of(context)
    options = build_profile(context, settings)
    opened = opened_by(context, options, BUILD)
    if not is_nothing(opened) and not consented(context, BUILD):
        if context.without_grants:
            return replace(withhold(options, opened), isolation=context.own_isolation)
        raise _refusal(
            f"`{context.consent_place}` grants its builds more than the default policy,"
            " and you have not consented to it",
            opened,
            "`pypm trust` shows all of it and asks you",
        )
    if options.isolation is not None:
        return options
    return replace(options, isolation=context.own_isolation)


def project_isolation(context: Context) -> Isolation | None:
    """Return the isolation that the project names for all that is run in it, as far as the user consented.

    It matters where the host denies namespaces, and there alone its absence is an error.

    Raises: ConfigurationError, ConsentError.
    """
    base = settings_of(context).base
    opened = opened_by(context, base, EVERYWHERE)
    if is_nothing(opened) or consented(context, EVERYWHERE):
        return base.isolation
    if context.without_grants or sandbox.probe(context.cache.hosts).namespaces:
        return None
    raise _refusal(
        f"`{context.consent_place}` asks for a weaker isolation, and you have not consented to it",
        opened,
        "`pypm trust` asks you; `PYPM_ISOLATION` or your own `pypm.toml` says it for every project",
    )


def _refusal(message: str, waiting: RunOptions, hint: str) -> ConsentError:
    return ConsentError(message, reference="grants-not-trusted", details=opened_lines(waiting), hint=hint)
