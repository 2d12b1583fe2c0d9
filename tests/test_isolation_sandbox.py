"""The run policy in a real sandbox: what is denied, and the neighbouring thing that still works."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from pypm.isolation import Caller, RunOptions, run_policy
from pypm.model.environment import Environment
from sandbox import Command, run
from tests.support.builds import empty_environment

SECRET = "do-not-read-this"


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A user with a secret, a project, and an environment that is not on disk."""

    home: Path
    root: Path
    environment: Environment
    caller: Caller

    def run(self, code: str, **options: object) -> str:
        """Run Python code in the project; its output, or `denied` with the error's name."""
        policy = run_policy(self, self.environment, RunOptions(**options), self.caller)  # type: ignore[arg-type]
        guarded = (
            f"try:\n    exec({code!r})\nexcept OSError as error:\n    print('denied', type(error).__name__)"
        )
        with (self.home / "output").open("w+b") as output:
            argv = ("python", "-c", guarded)
            status = run(policy, Command(argv=argv, cwd=str(self.root), stdout=output.fileno()))
            output.seek(0)
            text = output.read().decode().strip()
        assert status.returncode == 0, text
        return text


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    home = tmp_path / "home"
    root = home / "project"
    cache = home / ".cache" / "pypm"
    for folder in (root / "src", home / ".ssh", cache / "layer" / "lib"):
        folder.mkdir(parents=True)
    (home / ".ssh" / "id").write_text(SECRET)
    (root / "pyproject.toml").write_text("[project]\n")
    (root / "src" / "code.py").write_text("x = 1\n")
    environment = empty_environment(root / ".venv", cache / "base")
    site_packages = environment.base / "lib" / environment.interpreter.python_tag / "site-packages"
    (site_packages / "installed.py").write_text("VALUE = 7\n")
    caller = Caller(variables={**os.environ, "TOKEN": SECRET}, home=home, cache=cache)
    return Scene(home=home, root=root, environment=environment, caller=caller)


def test_the_environment_is_there_without_a_venv_on_disk(scene: Scene) -> None:
    text = scene.run("import sys, installed; print(sys.prefix, sys.executable, installed.VALUE)")
    venv = scene.root / ".venv"
    assert text == f"{venv} {venv / 'bin' / 'python'} 7"
    assert not venv.exists(), "nothing stays on the disk"


def test_a_project_reached_through_a_link_runs(scene: Scene) -> None:
    link = scene.home / "link"
    link.symlink_to(scene.root)
    environment = empty_environment(link / ".venv", scene.environment.base)
    linked = Scene(home=scene.home, root=link, environment=environment, caller=scene.caller)
    assert linked.run("import sys, installed; print(sys.prefix)") == str(link / ".venv")
    assert linked.run("open('pyproject.toml', 'w')").startswith("denied")
    assert linked.run("open('.venv/new', 'w')").startswith("denied")
    assert linked.run("open('src/new.py', 'w'); print('written')") == "written"


def test_the_home_is_hidden_and_an_empty_one_is_there(scene: Scene) -> None:
    assert scene.run(f"open({str(scene.home / '.ssh' / 'id')!r})") == "denied FileNotFoundError"
    assert scene.run(f"import os; print(os.listdir({str(scene.home)!r}))") == "['project']"
    assert scene.run("import os; h = os.path.expanduser('~'); open(h + '/x', 'w'); print(h)") == "/home/user"


def test_a_granted_file_is_read_at_both_of_its_names(scene: Scene) -> None:
    secret = scene.home / ".ssh" / "id"
    code = f"import os; print(open({str(secret)!r}).read(), open(os.path.expanduser('~/.ssh/id')).read())"
    assert scene.run(code, allow_read=(secret,)) == f"{SECRET} {SECRET}"
    assert scene.run(f"open({str(secret)!r}, 'w')", allow_read=(secret,)).startswith("denied")


def test_variables(scene: Scene) -> None:
    assert scene.run("import os; print(os.environ.get('TOKEN'))") == "None"
    assert scene.run("import os; print(os.environ['TOKEN'])", allow_env=("TOKEN",)) == SECRET


def test_sources_are_written_and_protected_files_are_not(scene: Scene) -> None:
    assert scene.run("open('src/new.py', 'w').write('y'); print('written')") == "written"
    assert (scene.root / "src" / "new.py").read_text() == "y"
    for name in ("pyproject.toml", "pypm.lock", ".envrc", ".venv/bin/python", ".venv/new"):
        assert scene.run(f"open({name!r}, 'w')").startswith("denied"), name
    for name in (".vscode/tasks.json", ".git/hooks/pre-commit", ".github/workflows/x.yml"):
        code = f"from pathlib import Path; p = Path({name!r}); p.parent.mkdir(parents=True, exist_ok=True)"
        assert scene.run(f"{code}; p.touch()").startswith("denied"), name
    for name in ("pyproject.toml", ".venv", "pypm.lock", ".git"):
        assert scene.run(f"import os; os.rename({name!r}, 'moved')").startswith("denied"), name
    assert (scene.root / "pyproject.toml").read_text() == "[project]\n"
    assert sorted(path.name for path in scene.root.iterdir()) == ["pyproject.toml", "src"]


def test_git_reads_inside_and_cannot_be_led_elsewhere(scene: Scene) -> None:
    subprocess.run(["git", "init", "-q", str(scene.root)], check=True)
    assert "?? src/" in scene.run("import os; print(os.popen('git status --short').read())")
    for name in ("commondir", "config", "hooks/pre-commit", "HEAD"):
        assert scene.run(f"open('.git/{name}', 'w')").startswith("denied"), name
    assert scene.run("import os; os.rename('.git', 'moved')").startswith("denied")
    granted = (scene.root / ".git",)
    assert scene.run("open('.git/description', 'w'); print('opened')", allow_write=granted) == "opened"
    for name in ("config", "hooks/pre-commit", "config.worktree", "info/attributes"):
        assert scene.run(f"open('.git/{name}', 'w')", allow_write=granted).startswith("denied"), name
    assert scene.run("import os; os.rename('.git', 'moved')", allow_write=granted).startswith("denied")


def test_read_only(scene: Scene) -> None:
    (scene.root / ".venv").mkdir()
    assert scene.run("open('src/new.py', 'w')", read_only=True).startswith("denied")
    source = (scene.root / "src",)
    assert scene.run("open('src/new.py', 'w'); print('ok')", read_only=True, allow_write=source) == "ok"
    assert scene.run("open('new.py', 'w')", read_only=True, allow_write=source).startswith("denied")


def test_a_cache_in_the_project_cannot_be_written(scene: Scene) -> None:
    store = scene.root / "cache"
    store.mkdir()
    (store / "wheel").write_text("bytes")
    caller = Caller(variables={}, home=scene.home, cache=store)
    inside = Scene(home=scene.home, root=scene.root, environment=scene.environment, caller=caller)
    assert inside.run("open('cache/wheel', 'w')").startswith("denied")
    assert inside.run("print(open('cache/wheel').read())") == "bytes"


def test_ordinary_programs_work(scene: Scene) -> None:
    code = """
import multiprocessing, socket, subprocess, sys, tempfile, threading
with tempfile.TemporaryFile() as stream:
    stream.write(b"x")
with socket.create_server(("127.0.0.1", 0)) as server:
    threading.Thread(target=lambda: server.accept()[0].sendall(b"hello"), daemon=True).start()
    print(socket.create_connection(server.getsockname()).recv(9))
print(subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True).stdout)
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(pool.map(abs, [-1, -2]))
"""
    assert scene.run(code) == "b'hello'\nb'42\\n'\n[1, 2]"


def test_the_network_of_the_machine_is_out_of_reach(scene: Scene) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"import socket; socket.create_connection({server.getsockname()!r}, 2)"
        assert scene.run(code) == "denied ConnectionRefusedError"


def test_the_interpreter_of_the_tests_is_the_one_inside(scene: Scene) -> None:
    assert scene.run("import sys; print(sys.version)") == sys.version.strip()
