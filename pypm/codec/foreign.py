"""Projects of other package managers, translated: what poetry, pdm and uv keep in their own tables.

The file stays as it is, comments and the other tool's tables included; what pypm reads is added. Whatever has
no equivalent is noted, so that nothing is lost without a word.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import tomlkit
from packaging.utils import canonicalize_name

from pypm.codec import poetry
from pypm.codec.toml import parse_toml
from pypm.errors import ConfigurationError

_EDITABLE = re.compile(r"-e\s+file:///\$\{PROJECT_ROOT\}/(?P<path>[^#]*)#egg=(?P<name>[\w.-]+).*")
_SAME_IN_UV = (
    *("default-groups", "environments", "required-environments", "conflicts", "resolution", "exclude-newer"),
    *("no-build", "no-build-package", "no-binary", "no-binary-package", "package", "exclude-newer-package"),
)
_RENAMED_FROM_UV = {
    "constraint-dependencies": "constraints",
    "override-dependencies": "overrides",
    "exclude-dependencies": "exclusions",
}
_INDEX_KEYS = ("name", "url", "explicit", "default", "format")
_SOURCE_KEYS = {
    *(
        "index",
        "git",
        "rev",
        "tag",
        "branch",
        "subdirectory",
        "path",
        "editable",
        "url",
        "workspace",
        "marker",
    )
}


@dataclass(slots=True)
class Found:
    """What is added, table by table. Mutable: readers fill it."""

    project: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, list[Any]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    indexes: list[dict[str, Any]] = field(default_factory=list)
    sources: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def source(self, name: str, tables: list[dict[str, Any]]) -> None:
        """Add the sources of a package."""
        if tables:
            self.sources[name] = tables[0] if len(tables) == 1 else tables

    def index(self, name: str, url: str, **more: Any) -> None:
        """Add an index, without the credentials that its address may hold."""
        parts = urlsplit(url)
        if "@" in parts.netloc:
            self.notes.append(f"the credentials of index `{name}` are left out; keep them in `~/.netrc`")
            url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self.indexes.append(
            {"name": name, "url": url, **{key: value for key, value in more.items() if value}}
        )

    def rest(self, tool: str, table: Mapping[str, Any], known: set[str]) -> None:
        """Note every key that was not translated."""
        self.notes += [
            f"`tool.{tool}.{key}` has no equivalent and stays as it is" for key in sorted(set(table) - known)
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """A pyproject.toml that pypm understands."""

    tool: str
    """Whose project it was."""
    text: str
    notes: tuple[str, ...]
    """What has no equivalent, for the user to know."""


def translate(content: bytes, *, file_name: str) -> Translation | None:
    """Return the translated file; None when no table of a known tool is in it.

    Raises:
        ConfigurationError: it is not TOML, or speaks to pypm already.
    """
    values = parse_toml(content, file_name=file_name)
    tools = values.get("tool", {})
    tool = next((name for name in _READERS if name in tools), None)
    if tool is None:
        return None
    if "pypm" in tools:
        raise ConfigurationError(
            f"`{file_name}` has a `[tool.pypm]` table already", reference="project-exists"
        )
    found = Found()
    _READERS[tool](tools[tool], values, found)
    document = tomlkit.parse(content.decode("utf-8-sig"))
    _add(document, found)
    return Translation(tool=tool, text=tomlkit.dumps(document), notes=tuple(found.notes))


def _add(document: Any, found: Found) -> None:
    if found.project:
        document["project"] = found.project
    if found.groups:
        groups = document.setdefault("dependency-groups", tomlkit.table())
        for name, requirements in found.groups.items():
            groups[name] = [*groups.get(name, ()), *requirements]
    settings = {**found.settings}
    if found.indexes:
        settings["index"] = found.indexes
    if found.sources:
        settings["sources"] = found.sources
    if settings:
        document["tool"]["pypm"] = settings


def _read_poetry(table: Mapping[str, Any], values: Mapping[str, Any], found: Found) -> None:
    dependencies = dict(table.get("dependencies", {}))
    python = dependencies.pop("python", None)
    optional: dict[str, list[str]] = {}
    texts: list[str] = []
    for name, value in dependencies.items():
        wanted, sources = poetry.requirements(name, value, found.notes.append)
        found.source(name, sources)
        if isinstance(value, dict) and value.get("optional"):
            optional[canonicalize_name(name)] = wanted
        else:
            texts += wanted
    if "project" not in values:
        found.project = {
            "name": table.get("name", "project"),
            "version": str(table.get("version", "0")),
            **{key: table[key] for key in ("description", "readme", "keywords") if key in table},
            **_python(python, found),
            "dependencies": texts,
        }
        if table.get("extras") or optional:
            found.project["optional-dependencies"] = _poetry_extras(table.get("extras", {}), optional, found)
        scripts = table.get("scripts", {})
        found.project |= {"scripts": dict(scripts)} if scripts else {}
    _poetry_groups(table, found)
    for source in table.get("source", ()):
        _poetry_source(source, found)
    found.rest(
        "poetry",
        table,
        {
            *("name", "version", "description", "readme", "keywords", "dependencies", "extras", "scripts"),
            *("group", "dev-dependencies", "source"),
        },
    )


def _python(wanted: Any, found: Found) -> dict[str, str]:
    if wanted is None:
        return {}
    try:
        return {"requires-python": poetry.specifiers(str(wanted))}
    except ValueError:
        found.notes.append(f'`python = "{wanted}"` has no equivalent: write `requires-python` by hand')
        return {}


def _poetry_extras(
    extras: Mapping[str, list[str]], optional: Mapping[str, list[str]], found: Found
) -> dict[str, list[str]]:
    asked = {canonicalize_name(name) for names in extras.values() for name in names}
    for name in sorted(set(optional) - asked):
        found.notes.append(f"`{name}` is optional and in no extra; it is in the extra `{name}` now")
    named = {
        extra: [text for name in names for text in optional.get(canonicalize_name(name), [name])]
        for extra, names in extras.items()
    }
    return named | {name: optional[name] for name in sorted(set(optional) - asked)}


def _poetry_groups(table: Mapping[str, Any], found: Found) -> None:
    groups = dict(table.get("group", {}))
    if "dev-dependencies" in table:
        old = {"dependencies": table["dev-dependencies"]}
        groups["dev"] = {
            "dependencies": {**old["dependencies"], **groups.get("dev", {}).get("dependencies", {})}
        }
    for group, content in groups.items():
        texts: list[Any] = [{"include-group": name} for name in content.get("include-groups", ())]
        for name, value in content.get("dependencies", {}).items():
            wanted, sources = poetry.requirements(name, value, found.notes.append)
            found.source(name, sources)
            texts += wanted
        found.groups[group] = texts
    if groups:
        found.settings["default-groups"] = [name for name, one in groups.items() if not one.get("optional")]


def _poetry_source(source: Mapping[str, Any], found: Found) -> None:
    priority = str(source.get("priority", "default" if source.get("default") else "primary")).lower()
    if "url" not in source:
        found.notes.append(f"the source `{source.get('name')}` is the public index, which is asked last")
        return
    found.index(
        str(source["name"]),
        str(source["url"]),
        explicit=priority == "explicit",
        default=priority == "default",
    )
    if priority in ("secondary", "supplemental"):
        found.notes.append(f"the index `{source['name']}` is asked before the public one, not after it")


def _read_pdm(table: Mapping[str, Any], values: Mapping[str, Any], found: Found) -> None:
    for group, lines in table.get("dev-dependencies", {}).items():
        found.groups[group] = [text for line in lines if (text := _pdm_requirement(line, found))]
    if found.groups:
        # pdm installs all of them unless asked otherwise.
        found.settings["default-groups"] = sorted({*found.groups, *values.get("dependency-groups", {})})
    for source in table.get("source", ()):
        name = str(source.get("name", "source"))
        found.index(
            name,
            str(source["url"]),
            default=name == "pypi",
            format="flat" if source.get("type") == "find_links" else "",
        )
        found.rest(f"pdm.source `{name}`", source, {"name", "url", "type"})
    resolution = table.get("resolution", {})
    if resolution.get("allow-prereleases"):
        found.settings["prerelease"] = "allow"
    overrides = resolution.get("overrides", {})
    if overrides:
        found.settings["overrides"] = [
            name + (text if text[:1] in "<>=!~" else f"=={text}") for name, text in overrides.items()
        ]
    if resolution.get("excludes"):
        found.settings["exclusions"] = list(resolution["excludes"])
    found.rest("pdm.resolution", resolution, {"allow-prereleases", "overrides", "excludes"})
    found.rest("pdm", table, {"dev-dependencies", "source", "resolution"})


def _pdm_requirement(line: str, found: Found) -> str | None:
    if match := _EDITABLE.fullmatch(line):
        found.source(match["name"], [{"path": unquote(match["path"]) or ".", "editable": True}])
        return match["name"]
    if line.startswith("-"):
        found.notes.append(f"`{line}` has no equivalent")
        return None
    return line


def _read_uv(table: Mapping[str, Any], values: Mapping[str, Any], found: Found) -> None:
    if "dev-dependencies" in table:
        found.groups["dev"] = list(table["dev-dependencies"])
    found.settings |= {key: table[key] for key in _SAME_IN_UV if key in table}
    found.settings |= {new: table[old] for old, new in _RENAMED_FROM_UV.items() if old in table}
    if "prerelease" in table:
        found.settings["prerelease"] = str(table["prerelease"]).removesuffix("-or-explicit")
    for number, index in enumerate(table.get("index", ()), start=1):
        known = {key: index[key] for key in _INDEX_KEYS if key in index}
        found.index(known.pop("name", f"index-{number}"), known.pop("url"), **known)
        found.rest(f"uv.index `{index.get('name', number)}`", index, set(_INDEX_KEYS))
    for number, url in enumerate(table.get("extra-index-url", ()), start=1):
        found.index(f"extra-{number}", url)
    for number, url in enumerate(table.get("find-links", ()), start=1):
        found.index(f"find-links-{number}", url, format="flat")
    if "index-url" in table:
        found.index("main", table["index-url"], default=True)
    for name, source in table.get("sources", {}).items():
        entries = source if isinstance(source, list) else [source]
        for entry in entries:
            found.rest(f"uv.sources.{name}", entry, _SOURCE_KEYS)
        found.source(name, [{key: entry[key] for key in entry if key in _SOURCE_KEYS} for entry in entries])
    translated = {"dev-dependencies", "prerelease", "index", "extra-index-url", "find-links", "index-url"}
    found.rest("uv", table, {*_SAME_IN_UV, *_RENAMED_FROM_UV, "sources", *translated})


_READERS: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any], Found], None]] = {
    "poetry": _read_poetry,
    "pdm": _read_pdm,
    "uv": _read_uv,
}
