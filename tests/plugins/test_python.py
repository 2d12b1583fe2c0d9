"""Plugins in Python: the same host, the same rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from pypm.errors import PluginError
from pypm.plugins.inside.context import Stage
from tests.plugins.bench import Scene, needs_sandbox

pytestmark = needs_sandbox

POLITE = """
import os, sys

class Plugin:
    name = "snake"
    version = "3"
    summary = "in Python"
    stages = ("post-fetch", "pre-run", "pre-fetch")
    permissions = ("env:TOKEN?",)
    calls = 0

    def hook(self, context, host):
        self.calls += 1
        print("this is no answer")
        host.log(f"{self.calls} {context.stage.value} {context.options} {type(context).__name__}", level=2)
        for package in context.packages:
            host.diagnostic("hm", package=package, level=1, hint="look")
        host.progress(1, 3, "one")
        try:
            context.stage = None
        except AttributeError as error:
            host.log(type(error).__name__)
        if context.stage.value == "pre-fetch":
            with open(os.path.join(context.scratch, "file"), "w") as stream:
                stream.write("x")
            host.offer(context.packages[0], "file")
        how = dict(context.options).get("how")
        if how == "raise":
            raise ValueError("something is wrong")
        if how == "exit":
            sys.exit(5)
        if how == "seven":
            host.diagnostic("seven is too much", hint="take six", package=context.packages[0])
            return 7
        if how == "read":
            open(context.lock_path)

PLUGIN = Plugin()
"""


def install(scene: Scene, code: str, reference: str = "snake_plugin:PLUGIN") -> None:
    info = scene.folder / "snake-3.dist-info"
    info.mkdir()
    (scene.folder / "snake_plugin.py").write_text(code)
    (info / "RECORD").write_text("")
    (info / "entry_points.txt").write_text(f"[pypm.plugins]\nsnake = {reference}\n")


def test_a_hook_in_python(workshop: Scene) -> None:
    install(workshop, POLITE)
    with workshop.session("snake", options={"a": "b"}) as session:
        session.call(workshop.context(Stage.POST_FETCH))
        (offer,) = session.call(workshop.context(Stage.PRE_FETCH))
        assert not offer.take(workshop.root / "taken"), "the hash is another"
    assert workshop.heard.lines == [
        ("warning", "1 post-fetch (('a', 'b'),) Context"),
        ("note", "FrozenInstanceError"),
        ("warning", "2 pre-fetch (('a', 'b'),) Context"),
        ("note", "FrozenInstanceError"),
    ]
    assert [(d.level, d.package, d.hint) for d in workshop.heard.diagnostics] == [
        ("note", "sample", "look")
    ] * 2
    assert workshop.heard.progressed[0] == (1, 3, "one")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raise", "stopped at `pre-run`: ValueError: something is wrong"),
        ("exit", "failed at `pre-run`: it ended its host by itself, with exit status 5"),
        ("seven", "stopped at `pre-run`: `sample`: seven is too much"),
        ("read", "stopped at `pre-run`: FileNotFoundError"),
    ],
)
def test_a_hook_in_python_that_fails(workshop: Scene, how: str, message: str) -> None:
    install(workshop, POLITE)
    (workshop.root / "pypm.lock").write_text("locked")
    with workshop.session("snake", options={"how": how}) as session, pytest.raises(PluginError) as caught:
        session.call(workshop.context())
    assert caught.value.message.startswith(f"the plugin `snake` {message}")


BROKEN = {
    "syntax": ("def", "unloadable", "SyntaxError"),
    "import": ("import nowhere_to_be_found", "unloadable", "ModuleNotFoundError"),
    "ours": ("import pypm", "unloadable", "No module named 'pypm'"),
    "host": ("import inside.worker; PLUGIN = 1", "malformed-descriptor", "does not describe itself"),
    "missing": ("x = 1", "unloadable", "AttributeError"),
    "stage": ("class PLUGIN:\n name='snake'; version='1'; stages=('noon',)", "unknown-stage", "noon"),
    "name": ("class PLUGIN:\n name='eel'; version='1'; stages=()\n def hook(): 0", "wrong-name", "`eel`"),
    "hook": ("class PLUGIN:\n name='snake'; version='1'; stages=()", "missing-symbol", "no `hook`"),
    "exits": ("import os; os._exit(4)", "exited", "exit status 4 while it was loaded"),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_plugin_in_python_that_does_not_load(workshop: Scene, how: str) -> None:
    code, reference, cause = BROKEN[how]
    install(workshop, code)
    with pytest.raises(PluginError, match=cause) as caught:
        workshop.session("snake")
    assert caught.value.reference == f"plugin-{reference}"
    assert not list(Path(workshop.scratch).iterdir())
