"""Pypm's own plugins, built with sanitizers, in the sandboxed host that every command gives them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pypm.errors import PluginError
from pypm.plugins.inside.context import Stage
from tests.plugins.bench import Scene, needs_compiler, needs_sandbox
from tests.plugins.s3_fake import Server
from tests.plugins.test_auditwheel import ALMOST, audit, libraries, wheel
from tests.plugins.test_s3cache import FAULTS, HAS_CURL_HEADERS, packages, sandboxed, server
from tests.support import sanitizers

__all__ = ["libraries", "server"]
pytestmark = [
    needs_sandbox,
    needs_compiler,
    pytest.mark.skipif(sanitizers.runtime() is None, reason="this compiler has no sanitizers"),
    pytest.mark.skipif(not HAS_CURL_HEADERS, reason="no headers of libcurl on this machine"),
]


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both plugins, built with sanitizers."""
    return sanitizers.build(tmp_path_factory.mktemp("sanitized"))


@pytest.fixture
def hosts(scene: Scene) -> Iterator[Scene]:
    """A project whose hosts load the sanitizers."""
    scene.kept = None
    with sanitizers.sanitized_hosts():
        yield scene


def test_auditwheel_reads_whatever_libraries_there_are(hosts: Scene, native: Path, libraries: Path) -> None:
    whole = (libraries / "newer.so").read_bytes()
    for length in (0, 3, 4, 16, 52, 64, 200, len(whole) // 2, len(whole) - 1):
        (libraries / f"short-{length}.so").write_bytes(whole[:length])
    files = {path.name: path for path in libraries.glob("[!l]*.so")}
    found = audit(hosts, native, wheel(hosts.root, files, ALMOST))
    assert any("needs `GLIBC_2.99`" in finding.message for finding in found)
    assert any("malformed" in finding.message for finding in found)


def test_s3cache_fills_a_machine(hosts: Scene, native: Path, server: Server) -> None:
    told = packages(hosts, 40)
    with sandboxed(hosts, native, server) as session:
        for stage in (Stage.PRE_FETCH, Stage.POST_FETCH, Stage.POST_BUILD):
            session.call(hosts.context(stage, packages=told))
    assert len(server.objects) == 40
    with sandboxed(hosts, native, server) as session:
        offers = session.call(hosts.context(Stage.PRE_FETCH, packages=told))
        assert all(offer.take(hosts.root / f"taken-{offer.package}") for offer in offers)
        session.call(hosts.context(Stage.POST_FETCH, packages=told))
    assert len(offers) == 40
    assert not hosts.heard.diagnostics


@pytest.mark.parametrize(
    "name", ["broken", "no bucket", "other region", "truncates", "endless error", "garbage"]
)
def test_s3cache_with_a_failing_server(hosts: Scene, native: Path, server: Server, name: str) -> None:
    server.fault = FAULTS[name][0]
    told = packages(hosts, 5)
    with sandboxed(hosts, native, server) as session:
        for stage in (Stage.PRE_FETCH, Stage.POST_FETCH):
            assert session.call(hosts.context(stage, packages=told)) == ()
    (finding,) = hosts.heard.diagnostics
    assert FAULTS[name][1] in finding.message


def test_s3cache_with_poisoned_objects(hosts: Scene, native: Path, server: Server) -> None:
    told = packages(hosts, 3)
    for package, poison in zip(told, (b"", b"x", b"x" * (1 << 20)), strict=True):
        server.objects[f"pypm/v1/{(package.sha256 or '')[:2]}/{package.sha256}"] = poison
    with sandboxed(hosts, native, server) as session:
        assert session.call(hosts.context(Stage.PRE_FETCH, packages=told)) == ()


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both plugins with mistakes, built with sanitizers."""
    return sanitizers.build(tmp_path_factory.mktemp("broken"), broken=True)


@pytest.mark.parametrize("bug", sanitizers.BUGS)
def test_a_mistake_in_either_plugin_is_caught(
    hosts: Scene, broken: Path, libraries: Path, server: Server, bug: str
) -> None:
    told = wheel(hosts.root, {"x.so": libraries / "clean.so"}, ALMOST)
    audit(hosts, broken, told)
    with pytest.raises(PluginError) as caught:
        audit(hosts, broken, replace(told, name=bug))
    assert sanitizers.BUGS[bug][1] in "\n".join(caught.value.details)
    told = replace(*packages(hosts, 1), name=bug)
    with sandboxed(hosts, broken, server) as session, pytest.raises(PluginError) as caught:
        session.call(hosts.context(Stage.PRE_FETCH, packages=(told,)))
    assert sanitizers.BUGS[bug][1] in "\n".join(caught.value.details)


def test_without_sanitizers_the_mistakes_go_unnoticed(scene: Scene, tmp_path: Path, libraries: Path) -> None:
    """So it is the sanitizers that see them."""
    broken = sanitizers.build(tmp_path / "plain", broken=True, sanitized=False)
    told = wheel(scene.root, {"x.so": libraries / "clean.so"}, ALMOST)
    for bug in ("heap", "undefined"):
        assert audit(scene, broken, replace(told, name=bug)) == []
