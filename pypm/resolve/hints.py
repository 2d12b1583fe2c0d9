"""One concrete thing to try when there is no solution."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches

from packaging.specifiers import SpecifierSet

from pypm.model.project import IndexSource
from pypm.resolve.guards import leaves
from pypm.resolve.incompatibility import FromDependency, FromUnusable
from pypm.resolve.markers import lower_bound
from pypm.resolve.packages import Package
from pypm.resolve.universal import RegionUnsolvableError, UniversalSolver
from pypm.resolve.well_known import WELL_KNOWN


class Findings:
    """The premises of a failed resolution, by what they are."""

    def __init__(self, solver: UniversalSolver, failure: RegionUnsolvableError) -> None:
        self.solver = solver
        causes = [leaf.cause for leaf in leaves(failure.root)]
        self.dependencies = [cause for cause in causes if isinstance(cause, FromDependency)]
        self.refusals = [cause for cause in causes if isinstance(cause, FromUnusable)]

    def package(self, number: int) -> Package:
        """Return a package by its number."""
        return self.solver.packages.all[number]

    def refused(self, kind: str) -> list[FromUnusable]:
        """Return the refusals of one kind."""
        return [cause for cause in self.refusals if cause.refusal.kind == kind]


def hint_for(solver: UniversalSolver, failure: RegionUnsolvableError) -> str | None:
    """Return the most specific hint that the premises support."""
    findings = Findings(solver, failure)
    for rule in RULES:
        hint = rule(findings)
        if hint is not None:
            return hint
    return None


def _missing_package(findings: Findings) -> str | None:
    for cause in findings.dependencies:
        package = findings.package(cause.target)
        if package.absence is None:
            continue
        known = [other.name for other in findings.solver.packages.all if other.versions.versions]
        close = get_close_matches(package.name, sorted({*WELL_KNOWN, *known} - {package.name}), 1, 0.8)
        if close:
            return f"did you mean `{close[0]}`?"
        return package.absence.hint or f"check the name `{package.name}`, and which index it is on"
    return None


def _left_out(findings: Findings) -> str | None:
    """A version that would match was left out by the date limit, or because builds or wheels are off."""
    for cause in findings.dependencies:
        package = findings.package(cause.target)
        excluded = package.offer.excluded if package.offer is not None else {}
        fitting = sorted(v for v in excluded if cause.dependency.specifier.contains(v, prereleases=True))
        if fitting and not package.versions.mask(cause.dependency.specifier):
            version = max(fitting, key=lambda v: (not v.is_prerelease, v))
            said = left_out_text(excluded[version])
            return f"{package.name}=={version} would fit, but it {said}: {_remedy(package.name, said)}"
    return None


def _remedy(name: str, reason: str) -> str:
    """Say how a limit that leaves a version out is lifted for its package alone."""
    if "exclude-newer" in reason:
        return f"`exclude-newer-package = {{ {name} = false }}` in `[tool.pypm]` lifts that limit for it"
    return "lift that limit to use it"


def left_out_text(reason: str) -> str:
    """Say why a version is left out so that it follows the version, or an "it", in a sentence."""
    said = reason.removeprefix("it ")
    return said if said.startswith(("has ", "was ", "is ", "needs ")) else f"is left out ({reason})"


def _python(findings: Findings) -> str | None:
    refused = findings.refused("python")
    if not refused:
        return None
    target = findings.solver.inputs.environment
    if target is not None:
        cause = refused[-1]
        return (
            f"{findings.package(cause.package).name}=={cause.version} {cause.refusal.reason}, and this is for"
            f" {target.marker_environment['python_full_version']}: use another Python or another version"
        )
    bounds = []
    for cause in refused:
        written = cause.refusal.reason.removeprefix("requires Python ")
        bound = lower_bound(SpecifierSet(written))
        if bound is not None:
            bounds.append((bound, cause, written))
    (release, _), cause, written = min(bounds, key=lambda row: row[0])
    name = findings.package(cause.package).name
    floor = ".".join(str(number) for number in (*release, 0)[: max(2, len(release))])
    return (
        f"`requires-python` (`{findings.solver.inputs.requires_python}`) admits Pythons that"
        f" {name}=={cause.version} does not ({written}): raise it to `>={floor}`, or require another version"
    )


def _yanked(findings: Findings) -> str | None:
    for cause in findings.refused("yanked"):
        name = findings.package(cause.package).name
        return f"to use the yanked version all the same, require exactly `{name}=={cause.version}`"
    return None


def _prerelease(findings: Findings) -> str | None:
    for cause in findings.refused("prerelease"):
        name = findings.package(cause.package).name
        return f'{name}=={cause.version} is a pre-release: allow it with `prerelease = "allow"`'
    return None


def _wheels(findings: Findings) -> str | None:
    if (cause := _newest(findings, "wheels")) is not None:
        name = findings.package(cause.package).name
        return (
            f"{name}=={cause.version} is published for other platforms alone: narrow `environments` to those"
            f" that it serves, or require {name} only there, with a marker"
        )
    return None


def _required(findings: Findings) -> str | None:
    if (cause := _newest(findings, "required")) is None:
        return None
    name = findings.package(cause.package).name
    return (
        f"{name}=={cause.version} is published for other platforms alone: take the environment out of"
        f" `required-environments`, or require {name} only elsewhere, with a marker"
    )


def _other_pythons(findings: Findings) -> str | None:
    if (cause := _newest(findings, "python-wheels")) is None:
        return None
    name = findings.package(cause.package).name
    return (
        f"`requires-python` (`{findings.solver.inputs.requires_python}`) admits no Python that"
        f" {name}=={cause.version} is published for: require another version, or another package"
    )


def _newest(findings: Findings, kind: str) -> FromUnusable | None:
    """Return the refusal of the version that a user would expect: the newest, no pre-release where that can
    be."""
    refused = findings.refused(kind)
    return max(refused, key=lambda c: (not c.version.is_prerelease, c.version)) if refused else None


def _metadata(findings: Findings) -> str | None:
    return next((cause.refusal.hint for cause in findings.refused("metadata") if cause.refusal.hint), None)


def _no_match(findings: Findings) -> str | None:
    for cause in findings.dependencies:
        package = findings.package(cause.target)
        if package.kind != "package" or not package.versions.versions:
            continue
        if not package.versions.mask(cause.dependency.specifier):
            newest = package.versions.versions[-1]
            there = on_index(package)
            return (
                f"`{cause.dependency.text}` matches nothing{there}; the newest version of {package.name}"
                f" {'there ' if there else ''}is {newest}"
            )
    return None


def on_index(package: Package) -> str:
    """Say which index was asked, where that is one alone."""
    return f" on index `{package.source.index}`" if isinstance(package.source, IndexSource) else ""


def _root_batches(findings: Findings) -> str | None:
    """Extras or groups that contradict each other can be declared so."""
    used = {
        f'{{{package.kind} = "{package.extra}"}}'
        for package in (findings.package(cause.parent) for cause in findings.dependencies)
        if package.kind in ("extra", "group")
    }
    if len(used) < 2:
        return None
    items = ", ".join(sorted(used))
    return f"if they are never installed together, declare `conflicts = [[{items}]]` in `[tool.pypm]`"


def _own_requirements(findings: Findings) -> str | None:
    mine: dict[str, None] = {}
    limits: dict[str, None] = {}
    for cause in findings.dependencies:
        dependency = cause.dependency
        is_own = findings.package(cause.parent).kind in ("project", "extra", "group")
        says_something = dependency.specifier or dependency.extras
        if is_own and says_something and findings.package(cause.target).kind == "package":
            (limits if dependency.is_constraint else mine)[f"`{dependency.text}`"] = None
    said = [f"{' or '.join(sorted(mine))} in the project's requirements"] if mine else []
    said += [f"the constraint {' or '.join(sorted(limits))}"] if limits else []
    return f"loosen {', or '.join(said)}" if said else None


RULES: tuple[Callable[[Findings], str | None], ...] = (
    _missing_package,
    _left_out,
    _python,
    _yanked,
    _prerelease,
    _wheels,
    _required,
    _other_pythons,
    _metadata,
    _no_match,
    _root_batches,
    _own_requirements,
)
"""The most specific first."""
