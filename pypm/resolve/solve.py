"""The door of the resolver."""

from __future__ import annotations

from pypm.errors import ResolutionError
from pypm.model.resolution import Resolution
from pypm.resolve.answer import Answer
from pypm.resolve.inputs import Inputs, Preference
from pypm.resolve.provider import Provider
from pypm.resolve.report import explain
from pypm.resolve.universal import RegionUnsolvableError, Reporter, UniversalSolver

__all__ = ["Inputs", "Preference", "Reporter", "resolve"]


def resolve(inputs: Inputs, provider: Provider, *, reporter: Reporter | None = None) -> Resolution:
    """Choose versions for every environment of the universe so that every requirement holds.

    Pure: everything it knows of the world comes from `provider`, and equal inputs and answers give equal
    results, in whatever order or time the answers come.

    Raises:
        ResolutionError: no choice of versions satisfies the requirements; its details derive why.
        IndexAccessError: the provider could not ask an index.
    """
    solver = UniversalSolver(inputs, provider, reporter)
    try:
        solved = solver.solve()
    except RegionUnsolvableError as failure:
        message, details, hint = explain(solver, failure)
        raise ResolutionError(message, reference="no-solution", hint=hint, details=details) from None
    return Answer(solver, solved).resolution()
