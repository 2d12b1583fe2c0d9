"""Wheels that another machine built: taken when somebody whom the user or the project trusts signed for them.

The lock knows an sdist's hash and not that of the wheel that it becomes, so of a shared cache nothing would
vouch for the wheel but who can write there. Hence the machine that builds writes down from what and how, and
what came out, and signs that. Plugins only carry both; here, before anything of a record is used, it is asked
who signed it, and then whether it is about the very build that would be done here. Everything else builds.

docs/design/0036-built-wheels.md has the reasons.
"""

from __future__ import annotations

import platform
import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from packaging.tags import Tag
from packaging.utils import canonicalize_name, parse_wheel_filename
from packaging.version import Version

from pypm.codec.buildrecord import (
    LARGEST_BYTES,
    BuildRecord,
    BuiltWheel,
    Circumstances,
    dump_record,
    join_signed,
    load_record,
    split_signed,
)
from pypm.digest import content_digest, sha256_file, sha256_hex
from pypm.errors import ConfigurationError, IntegrityError, PypmError
from pypm.files import remove_tree, storage_errors, write_atomically
from pypm.isolation import RunOptions, grants
from pypm.model.artifact import Sha256
from pypm.model.environment import Environment
from pypm.model.wheel import StoredWheel
from pypm.signing import BUILD_NAMESPACE, sign_unasked, who_signed
from pypm.store.adoption import Expected
from pypm.workflow.context import Context
from pypm.workflow.signatures import signing_of
from pypm.workflow.stages import Package, Stage
from pypm.workflow.supply import Supply

_RECORD = "build-record"
"""Beside the wheel: the signed record."""


def read_signed(
    text: bytes, expected: Circumstances, *, signers: bytes, tags: Sequence[str], root: Path
) -> BuildRecord | str:
    """Return the record of the expected build, or what is wrong with it, to go on from "the record".

    Nothing of it is read before its signature is found good. `tags` are those of wheels that can be used.
    """
    parts = split_signed(text)
    if parts is None:
        return "is not a signed record"
    content, signature = parts
    try:
        if who_signed(content, signature, signers, namespace=BUILD_NAMESPACE, root=root) is None:
            return "is signed by nobody who may, or was changed"
    except ConfigurationError as error:
        return f"cannot be verified: {error.message}"
    try:
        record = load_record(content)
    except ValueError as error:
        return f"is malformed: {error}"
    if record.circumstances != expected:
        return "is about another build"
    return record if _fits(record.wheel, expected, tags) else "names a wheel of something else"


def _fits(wheel: BuiltWheel, expected: Circumstances, usable: Sequence[str]) -> bool:
    name, version, _, tags = parse_wheel_filename(wheel.filename)
    return (
        name == canonicalize_name(expected.name)
        and (expected.version is None or version == Version(expected.version))
        and any(_text(tag) in usable for tag in tags)
    )


class Vouching:
    """What is taken of what other machines built, and what is told them. One for a command."""

    def __init__(self, supply: Supply, options: Callable[[], RunOptions]) -> None:
        self._supply = supply
        self._context: Context = supply.context
        self._options = options
        self._signers = signing_of(self._context).signers
        self._has_said = False
        self._has_failed = False

    @property
    def signers_digest(self) -> str | None:
        """What stands for those whose word counts."""
        return None if self._signers is None else sha256_hex(self._signers)

    def circumstances(self, source: Sha256, environment: Environment, subject: Package) -> Circumstances:
        """Return what a build of this source in this environment depends on."""
        interpreter = self._context.interpreter
        return Circumstances(
            source=source,
            name=subject.name,
            version=subject.version,
            requirements=environment.digest,
            interpreter=interpreter.identity,
            platform=interpreter.target.tags[0],
            system=_system(),
        )

    # Taking -------------------------------------------------------------------------------------------

    def find(self, circumstances: Circumstances) -> tuple[StoredWheel, Path] | None:
        """Return a wheel that was taken before and its file, if who signed for it is trusted still."""
        if self._signers is None:
            return None
        folder = self._folder(circumstances)
        try:
            text = (folder / _RECORD).read_bytes()
        except OSError:
            return None
        record = self._verified(text, circumstances)
        if isinstance(record, str):
            return None
        archive = folder / record.wheel.filename
        stored = self._supply.store.find(record.wheel.sha256, self._context.interpreter.cache_tag)
        if stored is not None:
            return (stored, archive) if stored.merkle_root == record.wheel.tree else None
        if archive.is_file() and sha256_file(archive) == record.wheel.sha256:
            return self._add(archive, record), archive
        return None

    def marked(self, subject: Package, circumstances: Circumstances) -> Package:
        """Return what plugins are told before a build: with its key, where a record would be taken."""
        if self._signers is None:
            if not self._has_said and self._context.stages.wants(Stage.PRE_BUILD):
                self._has_said = True
                self._context.reporter.detail(
                    "Wheels that other machines built are not asked for: nobody is named who may sign for "
                    "them (`allowed-signers`)"
                )
            return subject
        return replace(subject, build_key=circumstances.key) if self._is_hermetic() else subject

    def take(self, subject: Package, circumstances: Circumstances) -> tuple[StoredWheel, Path] | None:
        """Call `pre-build`; return the wheel of a record that plugins offer, if it is good in every respect.

        Raises: PluginError: a plugin ended the command.
        """
        stages = self._context.stages
        for offer, _ in stages.call(Stage.PRE_BUILD, [self.marked(subject, circumstances)]):
            text = offer.read(LARGEST_BYTES)
            record = "is too large" if text is None else self._verified(text, circumstances)
            if isinstance(record, str):
                self._refuse(offer.plugin, subject, f"the record that it offered {record}")
                continue
            assert text is not None, "a record that was verified was read"
            taken = self._fetched(record, text, circumstances)
            if taken is not None:
                self._context.reporter.step("Took", f"{record.wheel.filename}, built and signed elsewhere")
                return taken
            self._context.reporter.detail(
                f"{offer.plugin}: has a record of `{subject.name}` and not its wheel; it is built here"
            )
        return None

    def _verified(self, text: bytes, expected: Circumstances) -> BuildRecord | str:
        assert self._signers is not None, "without signers there is no record"
        tags = self._context.interpreter.target.tags
        return read_signed(text, expected, signers=self._signers, tags=tags, root=self._context.root)

    def _fetched(
        self, record: BuildRecord, text: bytes, circumstances: Circumstances
    ) -> tuple[StoredWheel, Path] | None:
        folder, wheel = self._folder(circumstances), record.wheel
        beside = self._context.cache.scratch / f"vouched-{secrets.token_hex(8)}"
        package = Package(
            name=circumstances.name,
            version=circumstances.version,
            artifact=wheel.filename,
            sha256=wheel.sha256,
            size_bytes=wheel.size_bytes,
        )
        with storage_errors(f"make `{beside}`"):
            beside.mkdir(parents=True)
        try:
            offers = self._context.stages.call(Stage.PRE_FETCH, [package])
            if not any(
                self._took(offer.take(beside / wheel.filename), offer.plugin, package) for offer, _ in offers
            ):
                return None
            with storage_errors(f"write `{folder}`"):
                folder.mkdir(parents=True, exist_ok=True)
                (beside / wheel.filename).replace(folder / wheel.filename)
        finally:
            remove_tree(beside)
        archive = folder / wheel.filename
        try:
            stored = self._add(archive, record)
        except IntegrityError as error:
            self._refuse(
                offers[0][0].plugin, package, f"the wheel that was signed for is no good: {error.message}"
            )
            archive.unlink()
            return None
        write_atomically(folder / _RECORD, text)  # Last: it says that the wheel is there and good.
        return stored, archive

    def _took(self, done: bool, plugin: str, package: Package) -> bool:
        if not done:
            self._refuse(plugin, package, "the wheel that it offered is another one than was signed for")
        return done

    def _add(self, archive: Path, record: BuildRecord) -> StoredWheel:
        wheel = record.wheel
        name, version, _, _ = parse_wheel_filename(wheel.filename)
        expected = Expected(
            name=name,
            version=record.circumstances.version or str(version),
            sha256=wheel.sha256,
            merkle_root=wheel.tree,
        )
        return self._supply.add(archive, expected)

    def _refuse(self, plugin: str, subject: Package, why: str) -> None:
        self._context.reporter.warn(f"{plugin}: `{subject.name}`: {why}; it is built here")

    # Telling ------------------------------------------------------------------------------------------

    def sign(self, stored: StoredWheel, archive: Path, circumstances: Circumstances) -> Path | None:
        """Write the signed record of a build beside its wheel and return its path; None where nobody signs.

        A key that cannot sign is one warning: what was built is good here.
        """
        key = self._context.settings.build_signing_key
        carried = self._context.stages.wants(Stage.POST_BUILD)
        if key is None or not carried or self._has_failed or not self._is_hermetic():
            return None
        wheel = BuiltWheel(
            filename=archive.name,
            sha256=stored.sha256,
            size_bytes=archive.stat().st_size,
            tree=stored.merkle_root,
        )
        content = dump_record(BuildRecord(circumstances=circumstances, wheel=wheel))
        try:
            signature = sign_unasked(content, key, namespace=BUILD_NAMESPACE, root=self._context.root)
        except PypmError as error:
            self._has_failed = True
            self._context.reporter.warn(f"what is built here is not signed: {error.message}", hint=error.hint)
            return None
        path = archive.with_name(_RECORD)
        write_atomically(path, join_signed(content, signature))
        return path

    # Where --------------------------------------------------------------------------------------------

    def _is_hermetic(self) -> bool:
        """Whether builds see nothing but what a record names. Others are neither signed nor taken."""
        options = self._options()
        return not options.in_place and not grants(options)

    def _folder(self, circumstances: Circumstances) -> Path:
        """Where it is kept: another project, which trusts others, finds nothing of it."""
        assert self._signers is not None, "without signers nothing is taken"
        name = content_digest({"vouched": circumstances.key, "signers": self.signers_digest})
        return self._context.cache.builds / name[:2] / name


def _system() -> str:
    """Return distribution and version. Source: os-release(5)."""
    try:
        told = platform.freedesktop_os_release()
    except OSError:
        return platform.system()
    return f"{told['ID']} {told.get('VERSION_ID', '')}".strip()


def _text(tag: Tag) -> str:
    return f"{tag.interpreter}-{tag.abi}-{tag.platform}"
