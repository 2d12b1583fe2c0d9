"""Requirements of a build to artifacts for this interpreter: a small resolution of its own."""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType

from msgspec.structs import replace
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pypm.model.artifact import Sha256
from pypm.model.plan import Pick, Selection
from pypm.workflow.builds import Builder
from pypm.workflow.dates import absolute
from pypm.workflow.grants import build_options
from pypm.workflow.select import select
from pypm.workflow.supply import Supply

_NOT_WRITTEN = Sha256("0" * 64)
"""Stands for the content-hash of a lock that is never written."""


def open_builder(supply: Supply) -> Builder:
    """Return a builder that resolves build requirements from the project's indexes."""
    context = supply.context

    def pick(requirements: Sequence[Requirement]) -> tuple[Pick, ...]:
        return resolve_for_interpreter(supply, requirements, builder)

    builder = Builder(supply, pick, options=build_options(context))
    return builder


def resolve_for_interpreter(
    supply: Supply, requirements: Sequence[Requirement], builder: Builder
) -> tuple[Pick, ...]:
    """Return the artifacts that satisfy `requirements` on the context's interpreter, the newest that fit.

    Raises:
        ResolutionError: nothing does.
        IndexAccessError: an index could not be asked.
    """
    # The resolver and the network client are heavy, and most commands build nothing.
    from pypm.resolve.inputs import Inputs
    from pypm.resolve.solve import resolve
    from pypm.workflow.answers import completed, open_provider, path_hint
    from pypm.workflow.freeze import freeze

    context = supply.context
    own = context.project
    limit = own.settings.exclude_newer
    settings = replace(
        own.settings,
        strategy="highest",
        exclude_newer=None if limit is None else absolute(limit),
        constraints=(),
        overrides=(),
        exclusions=(),
        environments=(),
        required_environments=(),
        conflicts=(),
    )
    project = replace(
        own,
        name=canonicalize_name("build-requirements"),
        dependencies=tuple(requirements),
        extras=MappingProxyType({}),
        groups=MappingProxyType({}),
        default_groups=(),
        settings=settings,
    )
    inputs = Inputs(
        project=project.name,
        requires_python=project.requires_python,
        dependencies=project.dependencies,
        sources=project.sources,
        settings=settings,
        subject="the build",
        environment=context.interpreter.target,
    )
    with open_provider(context, project, builder.metadata) as provider:
        resolution = completed(context, project, resolve(inputs, provider), None, every_size=False)
    lock = freeze(project, resolution, content_hash=_NOT_WRITTEN, exclude_newer=None, path_hint=path_hint)
    return select(lock, context.interpreter.target, Selection(project=False))
