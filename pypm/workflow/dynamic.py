"""Dependencies that a project leaves to its build backend: asked of a build, in the sandbox.

Source: PEP 621, `dynamic`.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import MappingProxyType

from msgspec.structs import replace
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import NormalizedName

from pypm.errors import ConfigurationError
from pypm.index.direct import DirectOffer
from pypm.index.provider import IndexProvider
from pypm.model.project import PathSource, Project
from pypm.resolve.diagram import FALSE, TRUE
from pypm.resolve.marker_text import simplified
from pypm.resolve.markers import Markers
from pypm.resolve.provider import Unavailable

LEFT_TO_THE_BUILD = frozenset({"dependencies", "optional-dependencies"})


def with_built_dependencies(project: Project, provider: IndexProvider) -> Project:
    """Return the project with what its build backend says that it requires, where the file leaves that to it.

    Raises:
        ConfigurationError: no build may tell, or it tells something else.
    """
    left = LEFT_TO_THE_BUILD & project.dynamic
    if not left:
        return project
    try:
        offer = provider.offer(project.name, PathSource(path="."))
    except Unavailable as refusal:
        raise ConfigurationError(
            f"the project leaves its {' and '.join(sorted(left))} to its build, and {refusal.reason}",
            reference="dynamic-dependencies",
            hint=refusal.hint or "list them in `[project]`",
        ) from refusal
    assert isinstance(offer, DirectOffer)
    assert offer.metadata is not None
    required = offer.metadata.requires_dist
    extras = {
        extra: tuple(_under(required, extra))
        for extra in sorted({*offer.metadata.provides_extra, *project.extras})
    }
    return replace(
        project,
        dependencies=tuple(_under(required, None)) if "dependencies" in left else project.dependencies,
        extras=MappingProxyType(extras) if "optional-dependencies" in left else project.extras,
    )


def _under(required: tuple[Requirement, ...], extra: NormalizedName | None) -> Iterator[Requirement]:
    """Yield what is required without any extra, or what one adds; `extra` is taken out of the markers."""
    markers = Markers()
    for requirement in required:
        node = markers.parse(requirement.marker)
        where = markers.without_extras(node)
        if extra is not None:
            where = markers.diagram.difference(markers.with_extra(node, extra), where)
        if where != FALSE:
            yield _with_marker(requirement, simplified(markers, where, TRUE))


def _with_marker(requirement: Requirement, marker: Marker | None) -> Requirement:
    found = Requirement(str(requirement))
    found.marker = marker
    return found
