"""What must hold, a function each; they raise AssertionError with what was seen instead."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from integration.s3cache.built import tampered_builds
from integration.s3cache.commands import Project, cache_folder
from integration.s3cache.machine import Artifact, Machine, Outcome
from integration.s3cache.server import S3Server
from pypm.errors import PluginError
from tests.plugins import s3_fake
from tests.support import sanitizers

_FAKE_KEYS = {"AWS_ACCESS_KEY_ID": s3_fake.ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": s3_fake.SECRET_KEY}


@dataclass(kw_only=True)
class Arena:
    """What the trials share."""

    folder: Path
    plugins: Path
    python: Path
    """The interpreter of the server's environment."""
    artifacts: tuple[Artifact, ...]
    server: S3Server
    machines: int = 0

    def machine(self, **changes: object) -> Machine:
        """A new machine with an empty cache and keys that may write."""
        self.machines += 1
        made = Machine(
            folder=self.folder / f"machine-{self.machines}",
            plugins=self.plugins,
            endpoint=self.server.endpoint,
            keys=self.server.writer,
        )
        return replace(made, **changes)  # type: ignore[arg-type]

    def filled(self) -> None:
        """Begin with a bucket that holds everything."""
        self.server.empty()
        self.machine().sync(self.artifacts)

    def key(self, artifact: Artifact) -> str:
        """Where an object lies in the bucket."""
        return f"pypm/v1/{artifact.sha256[:2]}/{artifact.sha256}"

    def all_from_index(self, machine: Machine, *causes: str) -> Outcome:
        """Sync, and hold that the bucket gave nothing, nothing is missing, and it was said once why."""
        outcome = machine.sync(self.artifacts)
        _hold(outcome, bucket=0, index=len(self.artifacts))
        assert machine.holds(self.artifacts)
        assert len(outcome.warnings) == 1, outcome.warnings
        for cause in causes:
            assert cause in outcome.warnings[0], outcome.warnings[0]
        return outcome


def _hold(outcome: Outcome, *, bucket: int, index: int) -> None:
    seen = (outcome.from_bucket, outcome.from_index)
    assert seen == (bucket, index), f"{seen} from bucket and index: {outcome.warnings}"


def first_stores_second_is_filled(arena: Arena) -> str:
    """Two machines: what the first downloads the second has from the bucket."""
    arena.server.empty()
    first, second, third = arena.machine(), arena.machine(), arena.machine()
    outcome = first.sync(arena.artifacts)
    _hold(outcome, bucket=0, index=len(arena.artifacts))
    assert not outcome.warnings, outcome.warnings
    assert arena.server.sizes() == {arena.key(one): one.size_bytes for one in arena.artifacts}
    cold = second.sync(arena.artifacts)
    _hold(cold, bucket=len(arena.artifacts), index=0)
    assert second.holds(arena.artifacts)
    third.sync(arena.artifacts[::2])
    half = third.sync(arena.artifacts)
    _hold(half, bucket=len(arena.artifacts) // 2, index=0)
    size = sum(one.size_bytes for one in arena.artifacts)
    return f"{len(arena.artifacts)} artifacts, {size / 1e6:.0f} MB: {cold.seconds:.1f} s from the bucket"


def typed_commands(arena: Arena) -> str:
    """`pypm sync` on two machines: the second downloads nothing from the index and gets the same."""
    arena.server.empty()
    project = Project(source=arena.python.parents[2], place=arena.folder / "commands")
    first, second = (project.sync(name, arena.server) for name in ("first", "second"))
    count = first.stored
    assert first.from_bucket == 0 < count, first.said
    assert (second.from_bucket, second.stored) == (count, 0), second.said
    assert "Downloading" not in second.said, second.said
    assert first.digest == second.digest
    project.forget("first", "second")
    return f"took {count} of {count} artifacts, {second.digest[:20]}..."


def signed_builds(arena: Arena) -> str:
    """What one machine built and signed others take from the bucket; what was tampered with they build."""
    arena.server.empty()
    return tampered_builds(arena.folder / "built", arena.server)


def two_store_at_once(arena: Arena) -> str:
    """Two machines that begin together store the same artifacts, and neither is troubled."""
    arena.server.empty()
    outcomes: list[Outcome] = []
    threads = [
        threading.Thread(target=lambda machine=machine: outcomes.append(machine.sync(arena.artifacts)))
        for machine in (arena.machine(), arena.machine())
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.warnings for one in outcomes] == [[], []]
    assert set(arena.server.sizes()) == {arena.key(one) for one in arena.artifacts}
    return "both stored, no warning"


def readers_do_not_write(arena: Arena) -> str:
    """Keys that may only read: one warning where it would write, none with `read-only`."""
    arena.filled()
    arena.server.empty()
    outcome = arena.all_from_index(arena.machine(keys=arena.server.reader), "(403)", "read-only = true")
    quiet = arena.machine(keys=arena.server.reader, options={"read-only": "true"}).sync(arena.artifacts)
    assert not quiet.warnings, quiet.warnings
    assert not arena.server.sizes()
    return outcome.warnings[0]


def _poisoned(arena: Arena, spoil: Callable[[bytes], bytes]) -> str:
    arena.filled()
    victims = arena.artifacts[:3]
    for one in victims:
        arena.server.put(arena.key(one), spoil(one.source.read_bytes()))
    machine = arena.machine()
    outcome = machine.sync(arena.artifacts)
    _hold(outcome, bucket=len(arena.artifacts) - 3, index=3)
    assert machine.holds(arena.artifacts)
    assert len(outcome.warnings) == 1, outcome.warnings
    for one in victims:
        assert arena.server.get(arena.key(one)) == one.source.read_bytes(), "the next machine finds it mended"
    return outcome.warnings[0]


def wrong_bytes(arena: Arena) -> str:
    """Objects of the right size with other content: downloaded from the index, and mended."""
    return _poisoned(arena, lambda content: bytes(len(content)))


def half_written(arena: Arena) -> str:
    """Objects that break off: the same."""
    return _poisoned(arena, lambda content: content[: len(content) // 2])


def too_long(arena: Arena) -> str:
    """Objects with more behind them: the same."""
    return _poisoned(arena, lambda content: content + b"more")


def wrong_secret(arena: Arena) -> str:
    """A secret that is not the key's: every request is refused, one warning."""
    keys = {**arena.server.writer, "AWS_SECRET_ACCESS_KEY": "not-the-secret"}
    return arena.all_from_index(arena.machine(keys=keys), "SignatureDoesNotMatch").warnings[0]


def unknown_key(arena: Arena) -> str:
    """A key that nobody has: one warning."""
    keys = {**arena.server.writer, "AWS_ACCESS_KEY_ID": "AKIAUNKNOWNUNKNOWN00"}
    return arena.all_from_index(arena.machine(keys=keys), "InvalidAccessKeyId").warnings[0]


def vanished_bucket(arena: Arena) -> str:
    """The bucket is removed: one warning, and the server is not asked again."""
    arena.server.ask(do="remove")
    try:
        return arena.all_from_index(arena.machine(), "no bucket of this name").warnings[0]
    finally:
        arena.server.ask(do="make")


def frozen_server(arena: Arena) -> str:
    """The server takes requests and answers none: given up after the stall."""
    arena.server.freeze(frozen=True)
    try:
        outcome = arena.all_from_index(arena.machine(options={"stall-timeout": "2", "connect-timeout": "2"}))
    finally:
        arena.server.freeze(frozen=False)
    assert outcome.seconds < 20, outcome.seconds
    return f"{outcome.seconds:.1f} s: {outcome.warnings[0]}"


def killed_in_the_middle(arena: Arena) -> str:
    """The server dies while it is read from: what arrived is used, the rest comes from the index."""
    arena.filled()
    with _another_server(arena) as server:
        arena.machine(endpoint=server.endpoint, keys=server.writer).sync(arena.artifacts)
        machine = arena.machine(endpoint=server.endpoint, keys=server.writer, options={"concurrency": "1"})
        killer = threading.Thread(target=_kill_after, args=(server, machine.folder / "scratch", 6))
        killer.start()
        outcome = machine.sync(arena.artifacts)
        killer.join()
    assert outcome.from_bucket > 0
    assert outcome.from_bucket + outcome.from_index == len(arena.artifacts)
    assert machine.holds(arena.artifacts)
    assert len(outcome.warnings) <= 1, outcome.warnings
    return f"{outcome.from_bucket} from the bucket, {outcome.from_index} from the index"


def server_that_is_down(arena: Arena) -> str:
    """Nobody listens: one warning."""
    return arena.all_from_index(arena.machine(endpoint="http://127.0.0.1:9")).warnings[0]


def required_and_down(arena: Arena) -> str:
    """`required = true`: the command ends with one error."""
    machine = arena.machine(endpoint="http://127.0.0.1:9", options={"required": "true"})
    try:
        machine.sync(arena.artifacts)
    except PluginError as error:
        assert "the shared cache `wheels` at" in error.message, error.message
        return error.message
    raise AssertionError("it went on")


def without_a_grant(arena: Arena) -> str:
    """The project grants no network: nothing is reached, and it is said what to grant."""
    return arena.all_from_index(arena.machine(is_granted=False), "allow-net").warnings[0]


def anonymous_reader(arena: Arena) -> str:
    """No keys, a public bucket: filled, and nothing is written."""
    with s3_fake.serving() as fake:
        fake.is_public = True
        fake.objects = {arena.key(one): one.source.read_bytes() for one in arena.artifacts}
        outcome = arena.machine(endpoint=fake.endpoint, keys={}).sync(arena.artifacts)
        assert fake.count("PUT") == 0
    _hold(outcome, bucket=len(arena.artifacts), index=0)
    return "filled"


FAKED = {
    "answers 500": (s3_fake.status(500, "InternalError"), "answered 500 InternalError"),
    "answers 503": (s3_fake.status(503, "SlowDown"), "answered 503 SlowDown"),
    "answers 403": (s3_fake.status(403, "AccessDenied"), "refused every request"),
    "clock is wrong": (s3_fake.status(403, "RequestTimeTooSkewed"), "set the clock"),
    "redirects": (s3_fake.status(307, "x", Location="http://127.0.0.1:1/"), "are not followed"),
    "truncates": (s3_fake.truncate, "cannot be used"),
    "drips": (s3_fake.drip, "Operation too slow"),
    "never ends": (s3_fake.endless, "something else than its name says"),
    "speaks no HTTP": (s3_fake.garbage, "cannot be used"),
    "hangs up": (s3_fake.drop, "cannot be used"),
}
"""Faults that a real server has not on demand, and a part of the warning."""


def faked(name: str) -> Callable[[Arena], str]:
    """Return the trial of one of these faults."""

    def trial(arena: Arena) -> str:
        fault, cause = FAKED[name]
        with s3_fake.serving() as fake:
            fake.fault = fault
            options = {"region": s3_fake.REGION, "stall-timeout": "1"}
            started = time.monotonic()
            outcome = arena.all_from_index(
                arena.machine(endpoint=fake.endpoint, keys=_FAKE_KEYS, options=options), cause
            )
            assert time.monotonic() - started < 30
        return outcome.warnings[0]

    return trial


def _kill_after(server: S3Server, scratch: Path, files: int) -> None:
    """Kill a server as soon as some files have arrived from it."""
    while len(list(scratch.glob("plugin-*/*"))) < files:
        time.sleep(0.005)
    server.kill()


@contextmanager
def _another_server(arena: Arena) -> Iterator[S3Server]:
    with S3Server(arena.python) as server:
        yield server


def auditwheel_on_real_wheels(arena: Arena) -> str:
    """The other plugin of pypm's own goes through the libraries of all wheels, and stays on its feet."""
    count, said = arena.machine().audit(arena.artifacts, cache=cache_folder())
    assert count == len(arena.artifacts), count
    return f"{count} wheels, {len(said)} findings"


def mistakes_under_sanitizers(arena: Arena) -> str:
    """Plugins with mistakes that do no visible harm: the sanitizers in their hosts tell of each."""
    broken = sanitizers.build(arena.folder / "broken", broken=True)
    with sanitizers.sanitized_hosts():
        for bug, (_, said) in sanitizers.BUGS.items():
            victim = replace(arena.artifacts[0], name=bug)
            for call in (Machine.sync, partial(Machine.audit, cache=cache_folder())):
                try:
                    call(arena.machine(plugins=broken), (victim,))
                except PluginError as error:
                    assert said in "\n".join(error.details), error.details
                else:
                    raise AssertionError(f"nobody noticed: {bug}")
    return f"{len(sanitizers.BUGS)} in each of two plugins, all seen"


TRIALS: dict[str, Callable[[Arena], str]] = {
    "two machines": first_stores_second_is_filled,
    "pypm sync": typed_commands,
    "signed builds": signed_builds,
    "auditwheel": auditwheel_on_real_wheels,
    "sanitizers": mistakes_under_sanitizers,
    "two at once": two_store_at_once,
    "anonymous": anonymous_reader,
    "readers": readers_do_not_write,
    "wrong bytes": wrong_bytes,
    "half written": half_written,
    "too long": too_long,
    "wrong secret": wrong_secret,
    "unknown key": unknown_key,
    "bucket vanished": vanished_bucket,
    "server frozen": frozen_server,
    "server killed": killed_in_the_middle,
    "server down": server_that_is_down,
    "required": required_and_down,
    "not granted": without_a_grant,
    **{name: faked(name) for name in FAKED},
}
TYPED = ("pypm sync", "signed builds")
"""Trials of commands, which build the plugin for themselves and load no sanitizers."""
