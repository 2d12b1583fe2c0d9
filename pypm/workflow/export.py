"""Translating the lock for other installers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pypm.codec.pylock import export_pylock
from pypm.errors import IndexAccessError
from pypm.model.artifact import LockedArtifact
from pypm.model.lock import Lock, LockedPackage
from pypm.model.plan import Selection
from pypm.model.project import DEFAULT_INDEX_NAME, DEFAULT_INDEX_URL, PathSource, UrlSource, VcsSource
from pypm.workflow.context import Context
from pypm.workflow.prepare import Preparation, current_lock
from pypm.workflow.selection import choose_selection
from pypm.workflow.supply import Supply, required_hash

_HEADER = "# Made by `pypm export --format requirements` out of pypm.lock.\n"


def export(context: Context, form: str, preparation: Preparation) -> bytes:
    """Return the lock as `pylock` (PEP 751, all of it) or as `requirements` (what the selection needs).

    Raises:
        LockError: the lock cannot be used, or says what the format has no words for.
        IntegrityError: it holds a placeholder in place of a hash.
        IndexAccessError: a file that PEP 751 wants the address of is on no index any more.
    """
    lock = current_lock(context, preparation)
    if form == "requirements":
        selection = choose_selection(preparation.selection, lock)
        return requirements_text(lock, selection).encode("utf-8")
    default = next(
        (index.url for index in context.indexes if index.name == DEFAULT_INDEX_NAME), DEFAULT_INDEX_URL
    )
    with Supply(context) as supply:

        def address(package: LockedPackage, artifact: LockedArtifact) -> str:
            for url in supply.urls(package, artifact):
                return url
            raise IndexAccessError(
                f"no index offers `{artifact.filename}` any more",
                reference="artifact-not-found",
                hint="configure an index that has it, or run `pypm lock --upgrade`",
            )

        return export_pylock(lock, default_index_url=default, file_url=address)


def requirements_text(lock: Lock, selection: Selection) -> str:
    """Return what the selection needs as a requirements file in which every artifact carries its hash.

    pip knows neither extras nor groups of a lock, so their part of each marker is decided here and the
    platform's part is left to pip. Source: pip's requirements file format and hash-checking mode.
    """
    lines = [_HEADER]
    for package in lock.packages:
        condition = "" if package.marker is None else _decided(package.marker._markers, selection)
        if condition is not False:
            marker = f" ; {condition}" if isinstance(condition, str) and condition else ""
            hashes = "".join(f" \\\n    --hash=sha256:{required_hash(one)}" for one in _artifacts(package))
            lines.append(f"{_requirement(package)}{marker}{hashes}\n")
    return "".join(lines)


def _decided(items: Any, selection: Selection) -> str | bool:
    """Return what is left of a parsed marker when its extras and groups are decided.

    `items` is packaging's form: comparisons (left, operator, right), lists, and the words between them; `and`
    binds tighter than `or`.
    """
    if isinstance(items, tuple):
        return _comparison(items, selection)
    alternatives: list[list[str]] = [[]]
    never = [False]
    for item in items:
        if item == "or":
            alternatives.append([])
            never.append(False)
        elif item != "and":
            decided = _decided(item, selection)
            if decided is False:
                never[-1] = True
            elif isinstance(decided, str):
                alternatives[-1].append(decided)
    possible = [parts for parts, impossible in zip(alternatives, never, strict=True) if not impossible]
    if not possible:
        return False
    if not all(possible):
        return True
    texts = [" and ".join(parts) for parts in possible]
    return texts[0] if len(texts) == 1 else "(" + " or ".join(texts) + ")"


def _comparison(items: tuple[Any, Any, Any], selection: Selection) -> str | bool:
    left, operator, right = items
    chosen = {"extras": selection.extras, "dependency_groups": selection.groups}.get(str(right.value))
    if chosen is None:
        return " ".join(part.serialize() for part in items)
    is_chosen = str(left.value) in chosen
    return is_chosen if operator.value == "in" else not is_chosen


def _artifacts(package: LockedPackage) -> Iterator[LockedArtifact]:
    yield from package.wheels
    if package.sdist is not None:
        yield package.sdist


def _requirement(package: LockedPackage) -> str:
    source = package.source
    if isinstance(source, PathSource):
        return f"{'-e ' if source.editable else ''}./{source.path}"
    if isinstance(source, UrlSource):
        return f"{package.name} @ {source.url}"
    if isinstance(source, VcsSource):
        revision = f"@{source.commit}" if source.commit else ""
        return f"{package.name} @ {source.kind}+{source.url}{revision}"
    return f"{package.name}=={package.version}"
