"""How far down the ladder of isolations pypm's own steps go: unpacking, builds and plugins.

A command may be given less isolation by name, down to none. What comes from the internet and runs without
having been asked for never gets less than it must: the strongest that the host has, if that was named or
anything weaker, and never none.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import sandbox
from sandbox import Isolation


def own_isolation(named: Isolation | None, memory: Path, warn: Callable[[str], None]) -> Isolation | None:
    """Return the isolation of pypm's own steps where the user or the project has `named` one.

    None is the strongest, which fails where the host denies it. `memory` is where answers of the probe are
    kept for this boot.
    """
    if named is None or not named.in_place:
        return None
    host = sandbox.probe(memory)
    if host.namespaces:
        return None
    warn("builds, unpacking and plugins run with weaker isolation, too: `landlock`")
    return Isolation.LANDLOCK
