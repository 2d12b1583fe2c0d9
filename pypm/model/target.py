"""One interpreter on one platform: what markers and wheel tags are evaluated against."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct


class Target(Struct, frozen=True, kw_only=True):
    """Enough to choose artifacts for an interpreter without running it again."""

    marker_environment: Mapping[str, str]
    """The eleven variables of PEP 508, as `packaging.markers.default_environment` names them."""
    tags: tuple[str, ...]
    """Wheel tags (`cp311-cp311-manylinux_2_17_x86_64`), most specific first."""


class Interpreter(Struct, frozen=True, kw_only=True):
    """A Python on this machine, described by asking it once."""

    executable: Path
    """The real binary, symbolic links resolved, outside any virtual environment."""
    version: str
    """`3.11.7`."""
    implementation: str
    """`cpython`, as `sys.implementation.name`."""
    cache_tag: str
    """`cpython-311`, as `sys.implementation.cache_tag`; names compiled bytecode and store trees."""
    base_prefix: Path
    exec_prefix: Path
    stdlib: Path
    include: Path
    """C headers, needed by builds."""
    platform: str
    """`linux-x86_64`, as `sysconfig.get_platform`."""
    library_paths: tuple[Path, ...]
    """Folders outside the prefix that the binary needs to start (a shared libpython elsewhere)."""
    target: Target
    identity: str
    """One line that two machines with the same build of Python share; part of the environment digest."""

    @property
    def is_windows(self) -> bool:
        """Whether environments have the layout of Windows."""
        return self.platform.startswith("win")

    @property
    def site_packages(self) -> str:
        """Where modules lie below an environment's root."""
        return "Lib/site-packages" if self.is_windows else f"lib/{self.python_tag}/site-packages"

    @property
    def programs(self) -> str:
        """The folder of programs below an environment's root."""
        return "Scripts" if self.is_windows else "bin"

    @property
    def program(self) -> str:
        """The interpreter below an environment's root."""
        return "Scripts/python.exe" if self.is_windows else "bin/python"

    @property
    def python_tag(self) -> str:
        """`python3.11`: the folder below `lib/` that holds site-packages."""
        major, minor, *_ = self.version.split(".")
        return f"python{major}.{minor}"
