"""An environment: an interpreter and the wheels on it. Immutable; a change makes another one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pypm.model.artifact import Sha256
from pypm.model.target import Interpreter
from pypm.model.wheel import StoredWheel


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What `run` mounts and `sync` writes to disk."""

    digest: Sha256
    """Merkle root over the locked wheels' roots and the interpreter's identity. The project itself and other
    editable trees are not part of it: their content is the working tree's."""
    location: Path
    """Where it appears: `<project>/.venv`, inside the sandbox as outside."""
    interpreter: Interpreter
    wheels: tuple[StoredWheel, ...]
    """Sorted by name."""
    project_layers: tuple[StoredWheel, ...] = ()
    """The project itself and other editable trees, as their editable wheels; not part of the digest."""
    base: Path
    """A small generated layer: `pyvenv.cfg`, `bin/python`, scripts with their shebang, RECORD rows."""
    direct_urls: tuple[tuple[str, str], ...] = ()
    """Package and the content of its `direct_url.json` (PEP 610), sorted; part of the generated layer."""

    @property
    def installed(self) -> tuple[StoredWheel, ...]:
        """All wheels, in the order in which they win where two bring the same file."""
        return (*self.project_layers, *self.wheels)

    @property
    def layers(self) -> tuple[Path, ...]:
        """Overlay layers, the topmost first."""
        return (self.base, *(wheel.prefix for wheel in self.installed))
