"""Which extras and groups of the lock a command wants, from its flags."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from packaging.utils import NormalizedName, canonicalize_name

from pypm.errors import UsageError
from pypm.model.lock import Lock
from pypm.model.plan import Selection

_DEV = canonicalize_name("dev")


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectionRequest:
    """The selection flags as they were given. Source: PEP 735 for groups; uv's names for the flags."""

    extra: tuple[str, ...] = ()
    all_extras: bool = False
    no_extra: tuple[str, ...] = ()
    group: tuple[str, ...] = ()
    no_group: tuple[str, ...] = ()
    only_group: tuple[str, ...] = ()
    all_groups: bool = False
    no_default_groups: bool = False
    no_dev: bool = False
    only_dev: bool = False
    no_install_project: bool = False


def choose_selection(request: SelectionRequest, lock: Lock) -> Selection:
    """Return what the flags mean for this lock.

    Raises:
        UsageError: a name is neither an extra nor a group of the lock, or flags contradict each other.
    """
    only = _names(request.only_group, lock.dependency_groups, "group")
    if request.only_dev:
        only |= _names(("dev",), lock.dependency_groups, "group")
    without = _names(request.no_group, lock.dependency_groups, "group") | (
        {_DEV} if request.no_dev else set()
    )
    if only:
        if request.extra or request.all_extras:
            raise UsageError(
                "`--only-group` leaves the project out, so there are no extras to include",
                reference="contradicting-flags",
                hint="use `--group` to have the group beside the project",
            )
        asked = _names(request.group, lock.dependency_groups, "group")
        return Selection(groups=frozenset((only | asked) - without), project=False, dependencies=False)
    extras = set(lock.extras) if request.all_extras else set()
    extras |= _names(request.extra, lock.extras, "extra")
    extras -= _names(request.no_extra, lock.extras, "extra")
    groups = set() if request.no_default_groups else set(lock.default_groups)
    groups |= set(lock.dependency_groups) if request.all_groups else set()
    groups |= _names(request.group, lock.dependency_groups, "group")
    return Selection(
        extras=frozenset(extras),
        groups=frozenset(groups - without),
        project=not request.no_install_project,
    )


def _names(given: Iterable[str], known: tuple[NormalizedName, ...], kind: str) -> set[NormalizedName]:
    names = set()
    for text in given:
        name = canonicalize_name(text)
        if name not in known:
            import difflib

            close = difflib.get_close_matches(name, known, n=1)
            listed = ", ".join(f"`{one}`" for one in known) or "none"
            raise UsageError(
                f"the project has no {kind} `{text}`",
                reference=f"unknown-{kind}",
                hint=f"did you mean `{close[0]}`?" if close else f"it has: {listed}",
            )
        names.add(name)
    return names
