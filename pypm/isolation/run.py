"""The policy of `run` and `shell`: a project, its environment, and what was granted besides."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pypm.errors import IsolationError
from pypm.isolation import limits as limited
from pypm.isolation.interpreter import interpreter_places
from pypm.isolation.options import RunOptions
from pypm.isolation.places import Places, show_granted
from pypm.isolation.protection import BARE_MARKER, PROTECTED, Protected
from pypm.isolation.repository import folders_elsewhere
from pypm.isolation.variables import HOME, made, passed
from sandbox import Mount, Policy, Terminal

if TYPE_CHECKING:
    from pypm.model.environment import Environment


class Rooted(Protocol):
    """A project, as far as a policy is concerned."""

    @property
    def root(self) -> Path:
        """Its folder, absolute."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who starts the run: what the policy takes from the machine instead of from the project."""

    variables: Mapping[str, str]
    home: Path
    cache: Path
    """Downloads and store; never writable inside, even where it lies in the project."""
    consents: Path | None = None
    """Where the user's settings and consents lie; never writable inside either."""
    terminal: bool = False
    """Standard input and output are a terminal: the payload gets one of its own."""


def run_policy(
    project: Rooted | None,
    environment: Environment,
    options: RunOptions,
    caller: Caller,
    *,
    trees: Iterable[Path] = (),
) -> Policy:
    """Describe what a command of the project may see and use.

    `project` is None for a tool or script that belongs to none. `trees` are source trees outside the project
    that the environment points into (editable path dependencies), behind all links as they were judged; they
    are shown read-only.

    The environment is mounted straight from the store, at its own place, on top of whatever lies there.
    Protected files come after every grant, so that no grant of a folder opens them by the way.

    Raises: IsolationError where the project's own folder holds the caller's home;
    sandbox.PolicyError for what the sandbox itself refuses.
    """
    # A project that is reached through a link: the link leads to the one view of it, so mounts go there.
    location = environment.location.parent.resolve() / environment.location.name
    places = Places()
    places.show(interpreter_places(environment.interpreter, home=caller.home))
    for tree in trees:
        places.show_real(tree, writable=False)
    if project is not None:
        _refuse_home(project.root, caller.home)
        _show_project(project.root, places, options)
    root = None if project is None else project.root
    show_granted(options.allow_read, root, places, writable=False)
    show_granted(options.allow_write, root, places, writable=True)
    _show_in_home((*options.allow_read, *options.allow_write), places, caller.home)
    return Policy(
        mounts=(
            *places.mounts(),
            *_protections(project, location, places, options, caller),
            _environment(environment, location, options),
            *limited.devices(options),
        ),
        network=limited.network(options),
        environment=_variables(environment.location, options, caller),
        limits=limited.limits(options),
        temporary_size_bytes=limited.temporary_size(options),
        terminal=Terminal.PTY if caller.terminal else Terminal.DETACHED,
        hostname="pypm",
        home=str(HOME),
        require=limited.guarantees(options),
        isolation=options.isolation,
    )


def _environment(environment: Environment, location: Path, options: RunOptions) -> Mount:
    """Mounted from the store, or as it lies on disk where nothing can be mounted."""
    if options.in_place:
        return Mount.bind(str(location))
    return Mount.overlay(str(location), [str(layer) for layer in environment.layers])


def _refuse_home(root: Path, home: Path) -> None:
    """A project that is the home folder would show every secret in it to the program."""
    if home.resolve().is_relative_to(root.resolve()):
        raise IsolationError(
            f"the project's folder `{root}` holds your home folder, whose secrets would be visible inside",
            reference="project-holds-home",
            hint="move the project into a folder of its own",
        )


def _show_project(root: Path, places: Places, options: RunOptions) -> None:
    places.show([root], writable=not options.read_only)
    places.show(folders_elsewhere(root))


def _show_in_home(granted: Iterable[Path], places: Places, home: Path) -> None:
    """Let what was granted below the caller's home be found below the home inside as well (`~/.netrc`)."""
    for path in granted:
        if path.is_relative_to(home) and path != home:
            places.name(path, HOME / path.relative_to(home))


def _protections(
    project: Rooted | None, location: Path, places: Places, options: RunOptions, caller: Caller
) -> tuple[Mount, ...]:
    """What stays read-only whatever is writable around it: the cache, and the files of the table."""
    own = [path.resolve() for path in (caller.cache, caller.consents) if path is not None]
    mounts = [Mount.protect(str(path), directory=True) for path in own if places.is_writable(path)]
    if project is None:
        return tuple(mounts)
    root = project.root.resolve()
    granted = {path.resolve() for path in options.allow_write}
    # The environment is mounted where it appears, and a mount can be neither written nor moved away.
    closed = {location}
    for protected in PROTECTED:
        path = root / protected.path
        is_granted = protected.grantable and path in granted
        is_closed = path in closed or not closed.isdisjoint(path.parents)
        if is_granted or is_closed or not places.is_writable(path):
            continue
        if os.path.lexists(path) or (_is_needed(protected, root) and path.parent.is_dir()):
            closed.add(path)
            folder = protected.folder and not path.is_file()
            mounts.append(Mount.protect(str(path), directory=folder))
    return tuple(mounts)


def _is_needed(protected: Protected, root: Path) -> bool:
    """Whether a protected path that does not exist needs a stand-in: git looks for `.git` before `HEAD`."""
    git = root / ".git"
    # A folder without `HEAD` is no repository, but perhaps another sandbox's stand-in.
    is_repository = git.is_file() or (git / "HEAD").exists()
    return protected.always and not (protected.path == BARE_MARKER and is_repository)


def _variables(location: Path, options: RunOptions, caller: Caller) -> tuple[tuple[str, str], ...]:
    variables = {**passed(caller.variables, options.allow_env), **made(location)}
    return tuple(sorted(variables.items()))


def policy_facts(root: Path) -> tuple[Path, ...]:
    """Return the paths on which a project's policy depends besides its own files.

    A policy that is kept for the next run holds as long as none of them comes, goes or is another file: what
    `.git` is, and the protected files that did not exist.
    """
    git = root / ".git"
    # The folder itself changes with every command of git, whether it is one does not.
    marker = git / "HEAD" if git.is_dir() else git
    candidates = (root / protected.path for protected in PROTECTED if not protected.always)
    return (marker, *(path for path in candidates if not os.path.lexists(path)))
