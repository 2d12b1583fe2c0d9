"""What a plugin wants, what the project grants, and what it therefore gets: never more than both say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pypm.isolation.options import HostPort
from pypm.isolation.values import MalformedError, parse_host, parse_variable
from pypm.plugins.failures import plugin_error, printable
from pypm.plugins.variables import granted_variables, matches

PROJECT = "project"
PACKAGES = "packages"
_WEB_PORTS = (443, 80)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One permission of a descriptor."""

    text: str
    """As the descriptor has it, without the `?`."""
    kind: str
    """`net`, `read` or `env`."""
    what: str
    """Host, path, `project`, `packages`, name of a variable; empty for whatever is granted of the kind."""
    optional: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Grants:
    """What `[tool.pypm.plugins.NAME]` allows; by default nothing."""

    hosts: tuple[HostPort, ...] = ()
    paths: tuple[Path, ...] = ()
    project: bool = False
    packages: bool = False
    variables: tuple[str, ...] = ()
    """Names, or prefixes that end in `*`."""

    def of_the_project(self, root: Path) -> Grants:
        """Return what a project may grant by itself: reading its own files and its packages, no more.

        Everything else is the user's: variables, other files, and the network, over which it can leave.
        """
        real = root.resolve()
        inside = tuple(path for path in self.paths if path.resolve().is_relative_to(real))
        return Grants(paths=inside, project=self.project, packages=self.packages)

    def lines(self) -> tuple[str, ...]:
        """Say each grant in a few words, for the user to decide over."""
        return (
            *(
                f"network to `{host.host}{'' if host.port is None else f':{host.port}'}`"
                for host in self.hosts
            ),
            *(f"the variable{'s' if name.endswith('*') else ''} `{name}`" for name in self.variables),
            *(f"reading `{path}`" for path in self.paths),
            *(["reading the packages"] * self.packages),
            *(["reading the project"] * self.project),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowed:
    """What the plugin gets."""

    hosts: tuple[tuple[str, int], ...] = ()
    paths: tuple[Path, ...] = ()
    project: bool = False
    packages: bool = False
    variables: tuple[tuple[str, str], ...] = ()
    """Names and values."""


def parse_wanted(plugin: str, text: str) -> Wanted:
    """Read one permission of a descriptor.

    Raises: PluginError: it is not one that this pypm knows.
    """
    optional = text.endswith("?")
    body = text.removesuffix("?")
    kind, _, what = body.partition(":")
    try:
        _check(kind, what)
    except MalformedError as error:
        raise plugin_error(
            plugin,
            f"wants the permission `{printable(text, most_characters=200)}`, which {error}",
            reference="unknown-permission",
            hint="it may need a newer pypm",
        ) from error
    return Wanted(text=body, kind=kind, what=what, optional=optional)


def withheld(wanted: tuple[Wanted, ...], granted: Grants, consented: Grants) -> tuple[str, ...]:
    """Return what a plugin wants and the project grants, but the user has not consented to."""
    return tuple(item.text for item in wanted if _covers(granted, item) and not _covers(consented, item))


def allow(plugin: str, wanted: tuple[Wanted, ...], grants: Grants, variables: Mapping[str, str]) -> Allowed:
    """Return what is both wanted and granted; `variables` are the caller's.

    Raises: PluginError: something that the plugin cannot do without is not granted; all of it is named.
    """
    missing = tuple(item.text for item in wanted if not item.optional and not _covers(grants, item))
    if missing:
        raise plugin_error(
            plugin,
            "wants more than it is granted: " + ", ".join(f"`{text}`" for text in missing),
            reference="not-granted",
            hint=f"if you trust it with that, write to `[tool.pypm.plugins.{plugin}]`: {_recipe(missing)}",
        )
    given = tuple(item for item in wanted if _covers(grants, item))
    passed = granted_variables(variables, wanted_variables(given), grants.variables)
    return Allowed(
        hosts=tuple(sorted(_hosts(given, grants))),
        paths=tuple(Path(i.what) for i in given if i.kind == "read" and i.what not in (PROJECT, PACKAGES)),
        project=any(item.text == f"read:{PROJECT}" for item in given),
        packages=any(item.text == f"read:{PACKAGES}" for item in given),
        variables=tuple(sorted(passed.items())),
    )


def wanted_variables(wanted: Iterable[Wanted]) -> tuple[str, ...]:
    """Return the names and prefixes of the variables that a plugin wants."""
    return tuple(item.what for item in wanted if item.kind == "env")


def allowed_lines(allowed: Allowed) -> tuple[str, ...]:
    """Say in one line each what a plugin gets; nothing for one that gets nothing."""
    lines: list[str] = []
    if allowed.hosts:
        lines.append("network to " + ", ".join(f"`{host}:{port}`" for host, port in allowed.hosts))
    lines += ["reading the packages"] * allowed.packages + ["reading the project"] * allowed.project
    lines += [f"reading `{path}`" for path in allowed.paths]
    lines += [f"the variable `{name}`" for name, _ in allowed.variables]
    return tuple(lines)


def _check(kind: str, what: str) -> None:
    """Raises: MalformedError that goes on from "which"."""
    if kind == "net":
        if what:
            parse_host(what)
    elif kind == "env":
        parse_variable(what)
    elif kind != "read":
        raise MalformedError("is not known")
    elif what not in (PROJECT, PACKAGES) and not Path(what).is_absolute():
        raise MalformedError("names no absolute path")


def _covers(grants: Grants, item: Wanted) -> bool:
    if item.kind == "net":
        return bool(grants.hosts) and (not item.what or _ports(parse_host(item.what)) <= _granted(grants))
    if item.kind == "env":
        prefix = item.what.removesuffix("*")
        if item.what.endswith("*"):
            return any(name.startswith(prefix) or matches(prefix, name) for name in grants.variables)
        return any(matches(item.what, name) for name in grants.variables)
    if item.what == PROJECT:
        return grants.project
    if item.what == PACKAGES:
        return grants.packages
    real = Path(item.what).resolve()
    return any(real.is_relative_to(path.resolve()) for path in grants.paths)


def _hosts(given: tuple[Wanted, ...], grants: Grants) -> set[tuple[str, int]]:
    if any(item.text == "net" for item in given):
        return _granted(grants)
    named = {pair for item in given if item.kind == "net" for pair in _ports(parse_host(item.what))}
    return named & _granted(grants)


def _granted(grants: Grants) -> set[tuple[str, int]]:
    return {pair for place in grants.hosts for pair in _ports(place)}


def _ports(place: HostPort) -> set[tuple[str, int]]:
    return {(place.host, port) for port in (_WEB_PORTS if place.port is None else (place.port,))}


def _recipe(missing: tuple[str, ...]) -> str:
    """The lines that would grant it."""
    keys: dict[str, list[str]] = {}
    for text in missing:
        kind, _, what = text.partition(":")
        keys.setdefault(f"allow-{kind}", []).append(what or "HOST")
    return "; ".join(
        f"{key} = [{', '.join(f'{value!r}'.replace(chr(39), chr(34)) for value in values)}]"
        for key, values in keys.items()
    )
