"""The policy of a plugin's host: the interpreter, the plugin, its scratch folder, and what it was allowed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path

from pypm.isolation.interpreter import interpreter_places
from pypm.isolation.places import Places, show_granted
from pypm.isolation.variables import BUILD_VARIABLES, HOME, made
from pypm.model.target import Interpreter
from pypm.plugins.found import PythonFound
from pypm.plugins.library import Library
from pypm.plugins.permissions import Allowed
from pypm.plugins.settings import MEMORY_BYTES
from sandbox import Isolation, Limits, Network, Policy

INSIDE = Path(__file__).with_name("inside")
"""The host's own code."""

_PROCESSES = 256
_OPEN_FILES = 512
_FILE_BYTES = 8 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all hosts of a command share."""

    interpreter: Interpreter
    """Runs the hosts; for plugins in Python, the environment's own."""
    home: Path
    """The caller's, which is hidden."""
    root: Path
    """The project's folder, shown to those that may read it."""
    packages: tuple[Path, ...]
    """The folders that archives and trees lie in, shown to those that may read them."""
    scratch: Path
    """An existing folder of this command; each plugin gets one inside."""
    isolation: Isolation | None = None
    """How far down the ladder the hosts go; None is the strongest. See `workflow.ladder`."""

    @property
    def in_place(self) -> bool:
        """Whether the hosts see this machine's files where they lie, since nothing can be mounted."""
        return self.isolation is not None and self.isolation.in_place


def host_policy(
    library: Library,
    surroundings: Surroundings,
    *,
    allowed: Allowed,
    scratch: Path | None,
    memory_bytes: int,
) -> Policy:
    """Describe what the host may see and use.

    Raises:
        IsolationError: a path in the project leads out of it.
        sandbox.PolicyError: for what the sandbox refuses.
    """
    places = Places()
    # The folder above must be listed to import from it; as a mount point it is empty but for that.
    code = INSIDE.parent if surroundings.in_place else INSIDE
    places.show((*interpreter_places(surroundings.interpreter, home=surroundings.home), code))
    existing = [path for path in allowed.paths if path.exists()]
    show_granted(existing, surroundings.root, places, writable=False)
    if allowed.project:
        places.show((surroundings.root,))
    if allowed.packages:
        places.show(path for path in surroundings.packages if path.exists())
    if scratch is not None:
        places.show((scratch,), writable=True)
    plugin = library.plugin
    if isinstance(plugin, PythonFound):
        places.show((plugin.site_packages, *plugin.requires))
    variables = {**dict(allowed.variables), **made(None), **BUILD_VARIABLES}
    return Policy(
        mounts=(*places.mounts(), *library.mounts),
        network=Network.hosts(*allowed.hosts) if allowed.hosts else Network.NONE,
        environment=tuple(sorted(variables.items())),
        limits=Limits(
            memory_bytes=memory_bytes,
            processes=_PROCESSES,
            open_files=_OPEN_FILES,
            file_size_bytes=_FILE_BYTES,
        ),
        hostname="pypm",
        home=str(HOME),
        isolation=surroundings.isolation,
    )


@cache
def keep_bytecode(cache_tag: str) -> None:
    """Have the host's own code compiled beside its sources, as an import does: the host cannot write there.

    Where it is not, every host compiles it again, which takes as long as the start of its interpreter: in a
    folder that cannot be written, and for an interpreter of another version than the one that runs pypm.
    """
    if cache_tag == sys.implementation.cache_tag:
        for source in INSIDE.glob("*.py"):
            SourceFileLoader(source.stem, str(source)).get_code(source.stem)


def bare_policy(library: Library, surroundings: Surroundings) -> Policy:
    """Describe a host that may do nothing but load the plugin and read its descriptor."""
    return host_policy(library, surroundings, allowed=Allowed(), scratch=None, memory_bytes=MEMORY_BYTES)


def host_command(interpreter: Interpreter) -> Sequence[str]:
    """Return the argument vector of a host; `sys.path` does not keep the folder of our own code."""
    program = (
        f"import sys; sys.path.insert(0, {str(INSIDE.parent)!r}); from inside.worker import main; "
        "del sys.path[0]; main()"
    )
    return (str(interpreter.executable), "-I", "-S", "-B", "-c", program)
