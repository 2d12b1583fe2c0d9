"""Inline script metadata: a script that says in a comment what it needs.

Source: PEP 723, and the inline script metadata specification.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import MappingProxyType

from packaging.utils import canonicalize_name

from pypm.codec.pyproject import parse_requires_python
from pypm.codec.settings import parse_settings
from pypm.codec.shape import Problems, Table
from pypm.codec.toml import parse_toml
from pypm.errors import ConfigurationError
from pypm.model.project import Project

_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
"""The specification's own expression."""
_KEYS = ("dependencies", "requires-python", "tool")


def parse_script(content: bytes, *, path: Path) -> Project:
    """Return the requirements of a script as a project that is never installed, rooted at its folder.

    What `[tool.pypm.sandbox]` would grant is refused: a script is often somebody else's, and must not open
    the sandbox that holds it.

    Raises:
        ConfigurationError: there is no such block, more than one, or it is malformed; `details` hold every
            problem with its path.
    """
    problems = Problems(path.name)
    document = Table(parse_toml(_metadata(content, path).encode(), file_name=path.name), "", problems)
    document.close(_KEYS)
    settings = parse_settings(document.table("tool").table("pypm"), extras=(), groups=())
    if settings.sandbox:
        problems.add("tool.pypm.sandbox", "a script grants itself nothing; use the flags of `pypm run`")
    if "plugins" in settings.rest:
        problems.add("tool.pypm.plugins", "a script has no lock to pin plugins in, so it cannot use any")
    project = Project(
        root=path.parent,
        name=canonicalize_name(re.sub(r"[^A-Za-z0-9]+", "-", path.stem).strip("-") or "script"),
        version=None,
        requires_python=parse_requires_python(document),
        dependencies=document.requirements("dependencies"),
        extras=MappingProxyType({}),
        groups=MappingProxyType({}),
        default_groups=(),
        indexes=settings.indexes,
        sources=MappingProxyType(settings.sources),
        settings=settings.resolution,
        build_system=None,
        is_package=False,
        dynamic=frozenset(),
        sandbox=settings.sandbox,
        tool=settings.rest,
    )
    problems.raise_if_any()
    return project


def _metadata(content: bytes, path: Path) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"`{path.name}` is not UTF-8, so its inline metadata cannot be read", reference="invalid-encoding"
        ) from error
    # Files of other systems end their lines otherwise; Python reads them all the same.
    blocks = [
        match["content"]
        for match in _BLOCK.finditer(text.replace("\r\n", "\n") + "\n")
        if match["type"] == "script"
    ]
    if len(blocks) != 1:
        count = f"{len(blocks)} blocks" if blocks else "a block that does not end"
        raise ConfigurationError(
            f"`{path.name}` has {count} of inline metadata",
            reference="invalid-inline-metadata",
            hint="write one block: `# /// script`, lines that begin with `# `, and `# ///`",
        )
    return "".join(line[2:] if line.startswith("# ") else line[1:] for line in blocks[0].splitlines(True))
