"""Environments written to disk for isolations that cannot mount one: see `docs/design/0030-landlock-rung.md`.

They lie in the cache beside the generated layers and are named by all that they are made from. The project's
own `.venv` is left alone: a run with another selection would have to replace what the last sync wrote.
"""

from __future__ import annotations

import os

from pypm.environment.overlay import describe
from pypm.environment.writer import read_state, write
from pypm.files import storage_errors
from pypm.model.environment import Environment
from pypm.paths import Cache


def written(environment: Environment, cache: Cache) -> Environment:
    """Return the same environment at a place of its own, written there if it was not.

    Files are hard links to the store's, as in `.venv`.

    Raises:
        IntegrityError: a file of the store is not what was unpacked.
        StorageError: the disk refused.
    """
    placed = describe(
        environment.interpreter,
        environment.wheels,
        cache.environments / f"written-{environment.base.name}",
        cache=cache.root,
        project_layers=environment.project_layers,
        direct_urls=dict(environment.direct_urls),
    )
    state = read_state(placed.location)
    if state is None or (state.digest, state.base) != (placed.digest, placed.base.name):
        write(placed)
    with storage_errors(f"mark `{placed.location}` as used"):
        os.utime(placed.location)  # `cache prune` goes by it.
    return placed
