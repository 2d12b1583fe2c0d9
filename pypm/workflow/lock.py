"""`pypm lock`: the project's requirements to pypm.lock, with the least change to what is locked already."""

from __future__ import annotations

import time
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from pypm.codec.lockfile import dump_lock, has_placeholders, load_lock
from pypm.errors import IntegrityError, LockError
from pypm.model.lock import Lock, LockedPlugin
from pypm.model.project import IndexSource, UrlSource, VcsSource
from pypm.paths import LOCK_FILE, SIGNATURE_FILE, signature_file
from pypm.workflow.cache import in_use
from pypm.workflow.changes import Change, compare
from pypm.workflow.context import Context
from pypm.workflow.lockfile import fits, read_lock_bytes, write_lock
from pypm.workflow.signatures import require_signature, signed, write_signature
from pypm.workflow.stages import Pins, Stage, locked_packages


class LockRequest(Struct, frozen=True, kw_only=True):
    """What `lock` was asked to do."""

    check: bool = False
    """Write nothing and say whether the lock would change."""
    dry_run: bool = False
    """Write nothing."""
    refresh: bool = False
    """Ask the indexes anew; no pin moves."""
    upgrade: bool = False
    """Forget every pin."""
    upgrade_packages: tuple[str, ...] = ()
    """Forget these pins; `NAME==VERSION` also says where to."""
    merkle: bool = False
    """State the Merkle root of every wheel, not only of those for the project's `environments`."""
    sign: bool = False
    """Sign the lock, also when it stays as it is."""
    key: Path | None = None
    """The key to sign with; the user's usual one when None."""
    renew_pins: bool = False
    """Pin the plugins that are there now, also where others are pinned: the user's own word, `pypm lock`."""

    @property
    def writes(self) -> bool:
        """Whether anything is written."""
        return not self.check and not self.dry_run


class LockOutcome(Struct, frozen=True, kw_only=True):
    """What came out of it."""

    lock: Lock
    changes: tuple[Change, ...]
    changed: bool
    """Whether the file's bytes differ from the lock; with `check` and `dry_run`, whether they would."""


def lock(context: Context, request: LockRequest) -> LockOutcome:
    """Resolve the project and write its lock, unless only asked what would happen.

    A lock that answers to what the project asks for stays as it is, without a question to any index: its pins
    would stay anyway.

    Raises:
        ResolutionError: nothing satisfies the requirements.
        IndexAccessError: an index could not be asked.
        ConfigurationError: the project is malformed.
    """
    before, is_trusted = _earlier(context, request)
    if request.writes:
        _open_stages(context, request, before)
    started = time.monotonic()
    if before is not None and is_trusted and _holds(context, request, before):
        after = before
    else:
        with in_use(context):
            after = _resolved(context, request, before)
        context.stages.check()
    if after is not before or request.merkle:
        with in_use(context):
            after = _with_roots(context, request, after, before)
    after = _with_pins(context, request, after, before)
    content = dump_lock(after)
    there = read_lock_bytes(context)
    if request.check and there is not None:
        there = there.replace(b"\r\n", b"\n")  # As git may check it out, which changes nothing of the lock.
    changed = there != content
    changes = compare(before, after)
    count = len(after.packages)
    seconds = time.monotonic() - started
    reporter = context.reporter
    reporter.step("Resolved", f"{count} package{'' if count == 1 else 's'} in {seconds:.2f} s")
    for change in changes:
        reporter.change(change.sign, str(change))
    if request.writes:
        _write(context, request, after, content, changed=changed)
        context.stages.call(Stage.POST_LOCK, locked_packages(after))
    return LockOutcome(lock=after, changes=changes, changed=changed)


def _open_stages(context: Context, request: LockRequest, before: Lock | None) -> None:
    """Call the first stage; a plugin whose package is not there yet is told of, and takes no part."""
    missing = context.stages.open(before, Pins.RENEWED if request.renew_pins else Pins.KNOWN)
    for one in missing:
        context.reporter.detail(
            f"the plugin `{one.plugin}` takes no part: `{one.package}` is not in the store"
        )
    context.stages.call(Stage.PRE_LOCK)


def _with_pins(context: Context, request: LockRequest, after: Lock, before: Lock | None) -> Lock:
    if not after.plugins and not context.project.tool.get("plugins"):
        return after
    from pypm.workflow.plugins import with_pins

    pinned = with_pins(context, after, before, renew=request.renew_pins)
    known = {} if before is None else {plugin.name: plugin for plugin in before.plugins}
    for plugin in pinned.plugins:
        if plugin != known.get(plugin.name):
            where = f"the package {plugin.package}" if plugin.package else ", ".join(_pin_texts(plugin))
            context.reporter.step("Pinned", f"the plugin `{plugin.name}`: {where}")
    return pinned


def _pin_texts(plugin: LockedPlugin) -> list[str]:
    return [
        f"{build.filename} sha256:{build.sha256[:16]}..."
        + (f" for {build.platform}" if build.platform else "")
        for build in plugin.builds
    ]


def _earlier(context: Context, request: LockRequest) -> tuple[Lock | None, bool]:
    """Read the lock whose pins should stay, and tell whether it is signed as required.

    One that cannot be read is made anew, and that is said. One that nobody vouches for is used by nobody but
    who is about to vouch for it: its pins stay, and everything else is asked for again.
    """
    content = read_lock_bytes(context)
    if content is None:
        return None, True
    is_trusted = True
    try:
        require_signature(context, content)
    except IntegrityError as error:
        if not request.sign and not request.upgrade:
            raise
        is_trusted = False
        context.reporter.warn(error.message, hint="look at what the lock holds before you sign it")
    try:
        earlier = load_lock(content)
        return (earlier if is_trusted else _pins_only(earlier)), is_trusted
    except (LockError, IntegrityError) as error:
        if request.check:
            raise
        context.reporter.warn(f"the lock is made anew, with every pin free to move: {error.message}")
        return None, True


def _pins_only(lock: Lock) -> Lock:
    """Return the lock without its artifacts, so that no hash or root of it is taken over."""
    packages = tuple(replace(package, wheels=(), sdist=None) for package in lock.packages)
    return replace(lock, packages=packages)


def _write(context: Context, request: LockRequest, after: Lock, content: bytes, *, changed: bool) -> None:
    """Write the lock and its signature; when it cannot be signed, nothing is written."""
    if request.sign:
        signature = signed(context, content, request.key)
        write_lock(context, after, content)
        write_signature(context, signature)
        context.reporter.step("Signed", f"`{LOCK_FILE}` in `{SIGNATURE_FILE}`")
        return
    write_lock(context, after, content)
    if changed and signature_file(context.root).exists():
        context.reporter.warn(
            f"`{SIGNATURE_FILE}` is of the earlier lock", hint="`pypm lock --sign` signs this one"
        )


def _holds(context: Context, request: LockRequest, before: Lock) -> bool:
    """Whether resolving anew would find this lock: nothing that it was made from can have changed.

    Sources on this machine and dependencies that only a build tells may have changed without a trace in
    `pyproject.toml`.
    """
    asks_anew = request.refresh or request.upgrade or request.upgrade_packages
    built = {"dependencies", "optional-dependencies"}.intersection(context.project.dynamic)
    if asks_anew or built or not fits(context, before) or has_placeholders(before):
        return False
    places = [index.url for index in context.indexes if index.flat or not index.url.startswith("http")]
    return not places and all(
        isinstance(package.source, IndexSource | UrlSource | VcsSource) for package in before.packages
    )


def _with_roots(context: Context, request: LockRequest, after: Lock, before: Lock | None) -> Lock:
    """State the Merkle roots that the earlier lock has, and those that are asked for."""
    if before is None and not after.environments and not request.merkle:
        return after  # Nothing to state, and what reads roots loads the whole room of the store.
    from pypm.workflow.roots import with_known_roots, with_roots

    known = after if request.refresh else with_known_roots(after, before)
    if not known.environments and not request.merkle:
        return known
    return with_roots(context, known, every=request.merkle)


def _resolved(context: Context, request: LockRequest, before: Lock | None) -> Lock:
    """Resolve. What that takes is imported while the first connections open."""
    from pypm.workflow.memory import collect_seldom, share_one_heap

    share_one_heap()
    collect_seldom()
    context.client.open_ahead(index.url for index in context.indexes)
    from pypm.workflow.resolving import resolved

    return resolved(context, request, before)
