"""A plugin that behaves, in a real sandbox: what it is told, and what it may."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path

import pytest

from pypm.digest import Sha256
from pypm.errors import PluginError
from pypm.plugins.descriptor import inspect
from pypm.plugins.inside.context import Package, Stage
from pypm.plugins.link import Link
from pypm.plugins.permissions import Grants
from tests.plugins.bench import Scene, needs_compiler, needs_sandbox

pytestmark = [needs_sandbox, needs_compiler]


def test_a_descriptor_is_read_and_remembered(scene: Scene, tmp_path: Path) -> None:
    found, folder = scene.find("polite"), tmp_path / "new"
    said = inspect(found, scene.surroundings, kept=folder)
    assert (said.name, said.version, said.summary) == ("polite", "1.2", "says what it was told")
    assert [item.text for item in said.permissions] == ["read:project", "env:PLUGIN_TOKEN", "net"]
    assert all(item.optional for item in said.permissions)
    assert said.stages == {Stage.PRE_FETCH, Stage.POST_FETCH, Stage.PRE_RUN}
    (remembered,) = folder.iterdir()
    assert remembered.name.startswith(found.sha256)
    remembered.write_text(remembered.read_text().replace("1.2", "1.3"))
    assert inspect(found, scene.surroundings, kept=folder).version == "1.3", "no host was started"
    remembered.write_text("{")
    assert inspect(found, scene.surroundings, kept=folder).version == "1.2"


def test_a_hook_is_told_everything(scene: Scene) -> None:
    package = Package(
        name="sample",
        version="1.0",
        artifact="sample-1.0-py3-none-any.whl",
        url="https://host.test/sample.whl",
        sha256="a" * 64,
        path="/archive",
        tree="/tree",
        size_bytes=(1 << 40) + 1,
    )
    context = scene.context(
        Stage.POST_FETCH,
        lock_digest="b" * 64,
        environment_digest="c" * 64,
        interpreter="/usr/bin/python3",
        interpreter_version="3.12.1",
        platform_tags=("py3-none-any", "cp312-cp312-linux_x86_64"),
        packages=(package, Package(name="other")),
    )
    with scene.session("polite", options={"strict": "true", "name": "caf\u00e9"}) as session:
        assert session.wants(Stage.POST_FETCH)
        assert not session.wants(Stage.POST_RUN)
        assert session.call(context) == ()
    told = [line.split("=", 1) for _, line in scene.heard.lines]
    assert told == [
        ["calls", "1"],
        ["stage", "post-fetch"],
        ["pypm", "9.9"],
        ["root", str(scene.root)],
        ["lock", str(scene.root / "pypm.lock")],
        ["lock-digest", "b" * 64],
        ["environment", str(scene.root / ".venv")],
        ["environment-digest", "c" * 64],
        ["interpreter", "/usr/bin/python3"],
        ["interpreter-version", "3.12.1"],
        ["token", "(null)"],
        ["tag", "py3-none-any"],
        ["tag", "cp312-cp312-linux_x86_64"],
        ["name", "caf\u00e9"],
        ["strict", "true"],
        ["name", "sample"],
        ["version", "1.0"],
        ["artifact", "sample-1.0-py3-none-any.whl"],
        ["url", "https://host.test/sample.whl"],
        ["sha256", "a" * 64],
        ["path", "/archive"],
        ["tree", "/tree"],
        ["size", str((1 << 40) + 1)],
        ["name", "other"],
        *([name, "(null)"] for name in ("version", "artifact", "url", "sha256", "path", "tree")),
        ["size", "0"],
    ]
    assert [(d.package, d.level, d.message, d.hint) for d in scene.heard.diagnostics] == [
        ("sample", "warning", "look at this", "or do not"),
        ("other", "warning", "look at this", "or do not"),
    ]
    assert scene.heard.progressed == [(1, 2, "half way")]


def test_one_host_serves_a_whole_command(scene: Scene) -> None:
    with scene.session("polite") as session:
        for _ in range(3):
            session.call(scene.context())
        assert list(scene.scratch.iterdir()), "its folder is there while it runs"
    assert [line for _, line in scene.heard.lines if line.startswith("calls")] == [
        "calls=1",
        "calls=2",
        "calls=3",
    ]
    assert not list(scene.scratch.iterdir())


def test_many_packages_do_not_fill_the_line(scene: Scene) -> None:
    packages = tuple(Package(name=f"p{number}", url="u" * 900) for number in range(800))
    with scene.session("polite") as session:
        session.call(scene.context(packages=packages))
    assert len(scene.heard.diagnostics) == 800


@pytest.mark.parametrize(("content", "taken"), [(b"wheel", True), (b"other", False)])
def test_an_offer_is_taken_only_with_the_locked_hash(scene: Scene, content: bytes, taken: bool) -> None:
    sha256 = hashlib.sha256(content).hexdigest()
    with scene.session("polite") as session:
        context = scene.context(Stage.PRE_FETCH, packages=(Package(name="sample", sha256=sha256),))
        (offer,) = session.call(context)
        destination = scene.root / "taken"
        assert offer.take(destination) is taken
        assert destination.exists() is taken
        if taken:
            assert destination.read_bytes() == b"wheel"
        (offer.scratch / "offered").unlink()
        (offer.scratch / "offered").symlink_to("/etc/passwd")
        assert not replace(offer, sha256=Sha256(sha256)).take(scene.root / "again"), "changed after the offer"
        assert not (scene.root / "again").exists()


def test_a_variable_reaches_it_when_it_is_wanted_and_granted(scene: Scene) -> None:
    scene.variables = {"PLUGIN_TOKEN": "t0ken", "OTHER_TOKEN": "secret", **os.environ}
    with scene.session("polite", grants=Grants(variables=("*_TOKEN", "PLUGIN_*"))) as session:
        session.call(scene.context())
    assert ("note", "token=t0ken") in scene.heard.lines


@pytest.mark.parametrize(
    ("how", "path"), [("read", "{root}/pypm.lock"), ("read", "/root/.bashrc"), ("environment", "")]
)
def test_nothing_is_within_reach_by_default(
    scene: Scene, how: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    scene.variables = {"SECRET_TOKEN": "hunter2"}
    scene.misbehave(how, options={"path": path.format(root=scene.root)})


def test_what_it_writes_elsewhere_is_gone(scene: Scene) -> None:
    with pytest.raises(PluginError):
        scene.misbehave("write", options={"path": "/tmp/made-by-a-plugin"})
    assert not Path("/tmp/made-by-a-plugin").exists()
    scene.misbehave("write", options={"path": "/usr/lib/made-by-a-plugin"})


def test_callbacks_refuse_another_thread(scene: Scene) -> None:
    scene.misbehave("thread")
    assert not scene.heard.lines


def test_a_process_that_is_waited_for_is_no_offence(scene: Scene) -> None:
    scene.misbehave("fork-and-wait")


def test_a_host_can_be_started_ahead(scene: Scene) -> None:
    with scene.session("polite") as session:
        session.warm(Stage.POST_RUN)
        assert not list(scene.scratch.iterdir()), "nobody wants this stage"
        session.warm(Stage.PRE_RUN)
        session.warm(Stage.PRE_RUN, Stage.POST_FETCH)
        (started,) = scene.scratch.iterdir()
        session.call(scene.context())
        assert [started] == list(scene.scratch.iterdir())


def test_an_interrupt_asks_the_hook_to_stop_and_goes_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, object]] = []
    send = Link._send
    monkeypatch.setattr(Link, "_send", lambda link, request: (asked.append(request), send(link, request))[1])

    def interrupt(plugin: str, level: str, message: str) -> None:
        raise KeyboardInterrupt

    scene.heard.log = interrupt  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        scene.misbehave("obedient")
    assert [request["do"] for request in asked][-3:] == ["load", "hook", "cancel"]
