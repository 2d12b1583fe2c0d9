"""Environments on disk: complete, verified while linked, swapped in at once, and venvs for their users."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pypm.codec.merkle import environment_digest
from pypm.digest import sha256_hex
from pypm.environment import linking, swap, writer
from pypm.environment.activation import activation_scripts
from pypm.environment.overlay import describe
from pypm.environment.writer import Overlap, read_state, remove, require_mountable, write
from pypm.errors import ConfigurationError, IntegrityError
from pypm.files import remove_tree
from pypm.model.environment import Environment
from pypm.model.wheel import StoredWheel
from pypm.paths import Cache
from pypm.store.wheels import Store

from .support.wheels import WheelBuilder, expected, interpreter, unpacker

SITE = f"lib/{interpreter().python_tag}/site-packages"
TOOL = "import sys\ndef main():\n    print('tool', sys.argv[1:], sys.prefix)\n    return 7\n"
FIRST = WheelBuilder(
    name="alpha",
    files={
        "alpha/__init__.py": TOOL.encode(),
        "shared.py": b"WHO = 'alpha'\n",
        "same.py": b"",
        "space/a.py": b"A = 1\n",
    },
    data={
        "scripts/script": b"#!python -u\nimport alpha; print('script', alpha.__name__)\n",
        "data/share/alpha": b"x",
    },
    entry_points="[console_scripts]\nalpha = alpha:main\n",
)
SECOND = WheelBuilder(
    name="beta",
    files={"beta.py": b"B = 1\n", "shared.py": b"WHO = 'beta'\n", "same.py": b"", "space/b.py": b"B = 2\n"},
)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    cache = Cache(tmp_path / "cache")
    yield cache
    remove_tree(tmp_path)


def stored(cache: Cache, *builders: WheelBuilder) -> list[StoredWheel]:
    folder = cache.root.parent / "archives"
    with unpacker(cache, folder) as pool:
        return [
            Store(cache).add(archive, expected(archive, builder.name, builder.version), pool)
            for builder in builders
            for archive in [builder.build(folder)]
        ]


def environment(cache: Cache, *builders: WheelBuilder, folder: str = "project") -> Environment:
    location = cache.root.parent / folder / ".venv"
    location.parent.mkdir(exist_ok=True)
    return describe(interpreter(), stored(cache, *builders), location, cache=cache.root)


def run(environment: Environment, *argv: str) -> subprocess.CompletedProcess[str]:
    program = str(environment.location / "bin" / argv[0])
    return subprocess.run([program, *argv[1:]], capture_output=True, text=True, check=False)


def beside(environment: Environment) -> list[str]:
    """What stands in the project."""
    return [path.name for path in environment.location.parent.iterdir()]


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file and link with its mode and content."""
    found = {}
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            found[str(path.relative_to(folder))] = (mode, str(path.readlink()))
        elif path.is_file():
            found[str(path.relative_to(folder))] = (mode, sha256_hex(path.read_bytes()))
    return found


def test_the_interpreter_takes_it_for_a_virtual_environment(cache: Cache) -> None:
    env = environment(cache, FIRST, SECOND)
    write(env)
    code = (
        "import sys, sysconfig, json, alpha, space.a, space.b;"
        "print(json.dumps([sys.prefix, sys.base_prefix, sysconfig.get_path('purelib'), alpha.__file__]))"
    )
    answer = json.loads(run(env, "python", "-c", code).stdout)
    site = str(env.location / SITE)
    assert answer == [str(env.location), sys.base_prefix, site, f"{site}/alpha/__init__.py"]
    listed = run(
        env,
        "python",
        "-c",
        "import importlib.metadata as m;"
        "print(sorted((d.name, d.version, d.read_text('INSTALLER')) for d in m.distributions()))",
    )
    assert listed.stdout.strip() == str([("alpha", "1.0", "pypm\n"), ("beta", "1.0", "pypm\n")])


def test_programs_run_under_the_environment(cache: Cache) -> None:
    env = environment(cache, FIRST)
    write(env)
    done = run(env, "alpha", "x")
    assert (done.returncode, done.stdout) == (7, f"tool ['x'] {env.location}\n")
    assert run(env, "script").stdout == "script alpha\n"
    assert (env.location / "bin/alpha").read_bytes().startswith(f"#!{env.location}/bin/python\n".encode())


@pytest.mark.parametrize("folder", ["with blank", "quo'te", "d" * 150, "ünï"])
def test_programs_run_from_folders_that_a_first_line_cannot_name(cache: Cache, folder: str) -> None:
    env = environment(cache, FIRST, folder=folder)
    write(env)
    done = run(env, "alpha", "a b", "")
    assert (done.returncode, done.stdout) == (7, f"tool ['a b', ''] {env.location}\n")


@pytest.mark.parametrize("folder", [b"caf\xe9", b"caf\xe9 and blank"])
def test_programs_run_from_folders_that_are_no_text(cache: Cache, folder: bytes) -> None:
    try:
        (cache.root.parent / os.fsdecode(folder)).mkdir()
    except OSError as error:
        pytest.skip(f"this file system has names of text alone: {error}")
    env = environment(cache, FIRST, folder=os.fsdecode(folder))
    write(env)
    for program, code in (("alpha", 7), ("script", 0)):
        done = subprocess.run([env.location / "bin" / program, "a b"], capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (code, b"")
        assert done.stdout.startswith({"alpha": b"tool", "script": b"script"}[program])


def test_record_rows_of_programs_are_right(cache: Cache) -> None:
    env = environment(cache, FIRST)
    write(env)
    code = (
        "import importlib.metadata as m; files = m.files('alpha');"
        "print([str(f) for f in files if not f.locate().exists()], sum('bin/' in str(f) for f in files))"
    )
    assert run(env, "python", "-c", code).stdout == "[] 2\n"


def test_files_are_links_into_the_store_and_folders_writable(cache: Cache) -> None:
    env = environment(cache, FIRST)
    write(env)
    module = env.location / SITE / "alpha/__init__.py"
    assert module.samefile(env.wheels[0].prefix / SITE / "alpha/__init__.py")
    assert stat.S_IMODE(module.parent.stat().st_mode) & 0o700 == 0o700
    assert (
        (env.location / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55")
    )
    assert (env.location / ".gitignore").read_text() == "*\n"


def test_activation_in_sh(cache: Cache) -> None:
    env = environment(cache, FIRST, folder="it's $HOME")
    write(env)
    script = (
        'PS1="$ "; old=$PATH; . "$1"; command -v alpha; echo "$VIRTUAL_ENV";'
        'deactivate; [ "$PATH" = "$old" ] && echo restored'
    )
    done = subprocess.run(
        ["sh", "-euc", script, "sh", str(env.location / "bin/activate")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [f"{env.location}/bin/alpha", str(env.location), "restored"], (
        done.stderr
    )


def test_a_shell_s_prompt_does_not_run_what_a_folder_is_called(tmp_path: Path) -> None:
    """Bash expands its prompt before it shows it, escapes first: `\\044` becomes a dollar sign."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    for number, name in enumerate(("$(touch ran)", "`touch ran`", "\\044(touch ran)", "${x:=$(touch ran)}")):
        script = tmp_path / str(number)
        script.write_text(activation_scripts(tmp_path / name / ".venv", name)["activate"])
        typed = f'. "{script}"\necho "$VIRTUAL_ENV"\n'
        done = subprocess.run(
            ["bash", "--norc", "-i"],
            input=typed,
            cwd=tmp_path,
            start_new_session=True,
            capture_output=True,
            text=True,
            check=True,
        )
        assert str(tmp_path / name / ".venv") in done.stdout
        assert "touch ran" in done.stderr, "the prompt shows the rest of it"
        assert not (tmp_path / "ran").exists(), name


def test_no_line_of_an_activation_script_is_what_a_folder_is_called() -> None:
    scripts = activation_scripts(Path("/work/a\rtouch ran\x0b\ntouch ran/.venv"), "x")
    for name, text in scripts.items():
        comments = [line for line in re.split(r"[\r\v\n]", text) if line.startswith("#")]
        assert any("a?touch ran??touch ran" in line for line in comments), name
    assert "\\\ntouch ran" in scripts["activate.csh"]


def test_the_digest_is_that_of_wheels_and_interpreter(cache: Cache) -> None:
    env = environment(cache, SECOND, FIRST)
    roots = [(wheel.name, wheel.version, wheel.merkle_root) for wheel in env.wheels]
    assert env.digest == environment_digest(roots, interpreter().identity)
    elsewhere = environment(cache, FIRST, SECOND, folder="elsewhere")
    assert elsewhere.digest == env.digest
    assert elsewhere.base != env.base
    assert [wheel.name for wheel in env.wheels] == ["alpha", "beta"]
    assert env.layers == (env.base, *(wheel.prefix for wheel in env.wheels))


def test_project_layers_are_linked_but_not_in_the_digest(cache: Cache) -> None:
    env = environment(cache, FIRST)
    layered = describe(
        interpreter(), env.wheels, env.location, cache=cache.root, project_layers=stored(cache, SECOND)
    )
    assert layered.digest == env.digest
    assert layered.base != env.base
    write(layered)
    assert run(layered, "python", "-c", "import beta; print(beta.B)").stdout == "1\n"


def test_one_package_twice_is_refused(cache: Cache) -> None:
    newer = replace(FIRST, version="2.0")
    with pytest.raises(IntegrityError, match="twice"):
        environment(cache, FIRST, newer)


def test_the_first_name_wins_an_overlap_and_it_is_told(cache: Cache) -> None:
    env = environment(cache, SECOND, FIRST)
    overlaps = write(env)
    bytecode = f"{SITE}/__pycache__/shared.{interpreter().cache_tag}.pyc"
    assert set(overlaps) == {
        Overlap(path=f"{SITE}/shared.py", winner="alpha", loser="beta"),
        Overlap(path=bytecode, winner="alpha", loser="beta"),
    }
    assert run(env, "python", "-c", "import shared; print(shared.WHO)").stdout == "alpha\n"


def test_a_file_where_another_has_a_folder_is_refused(cache: Cache) -> None:
    other = WheelBuilder(name="gamma", files={"space": b"a file\n"})
    env = environment(cache, FIRST, other)
    with pytest.raises(IntegrityError) as caught:
        write(env)
    assert caught.value.reference == "wheels-clash"
    assert beside(env) == []


def test_state(cache: Cache) -> None:
    env = environment(cache, FIRST)
    assert read_state(env.location) is None
    write(env, stamp="key 1")
    state = read_state(env.location)
    assert state is not None
    assert (state.digest, state.base, state.stamp) == (env.digest, env.base.name, "key 1")
    (env.location / "pypm-state").write_text("something")
    assert read_state(env.location) is None


@pytest.mark.parametrize("exchange", [True, False])
def test_the_new_environment_replaces_the_old_one_whole(
    cache: Cache, exchange: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchange:
        monkeypatch.setattr(swap, "_exchange", lambda one, other: False)
    env = environment(cache, FIRST)
    write(env)
    (env.location / "left-over").write_text("x")
    other = environment(cache, SECOND)
    write(other)
    assert beside(env) == [".venv"]
    assert not (env.location / "left-over").exists()
    assert not (env.location / SITE / "alpha").exists()
    clean = environment(cache, SECOND, folder="clean")
    write(clean)
    own = {
        "bin/activate",
        "bin/activate.fish",
        "bin/activate.csh",
        "bin/Activate.ps1",
        "pyvenv.cfg",
        "pypm-state",
    }
    one, two = snapshot(env.location), snapshot(clean.location)
    assert {p: v for p, v in one.items() if p not in own} == {p: v for p, v in two.items() if p not in own}


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_is_no_environment_is_not_replaced(cache: Cache, kind: str) -> None:
    env = environment(cache, FIRST)
    if kind == "folder":
        env.location.mkdir()
        (env.location / "thesis.txt").write_text("x")
    elif kind == "file":
        env.location.write_text("x")
    else:
        env.location.symlink_to(cache.root)
    before = snapshot(env.location.parent)
    for action in (lambda: write(env), lambda: remove(env.location)):
        with pytest.raises(ConfigurationError) as caught:
            action()
        assert caught.value.reference == "not-an-environment"
    assert snapshot(env.location.parent) == before


@pytest.mark.parametrize("kind", ["file", "link", "dangling"])
def test_what_is_no_folder_is_not_mounted_on(cache: Cache, kind: str) -> None:
    env = environment(cache, FIRST)
    require_mountable(env.location)
    if kind == "file":
        env.location.write_text("x")
    else:
        env.location.symlink_to(cache.root if kind == "link" else "nowhere")
    with pytest.raises(ConfigurationError) as caught:
        require_mountable(env.location)
    assert caught.value.reference == "not-an-environment"


def test_remove(cache: Cache) -> None:
    env = environment(cache, FIRST)
    write(env)
    remove(env.location)
    assert not env.location.exists()
    remove(env.location)


@pytest.mark.parametrize("how", ["through the link", "size", "missing", "mode", "link"])
def test_a_changed_store_is_named_and_nothing_is_written(cache: Cache, how: str) -> None:
    env = environment(cache, FIRST, SECOND)
    write(env)
    before = snapshot(env.location)
    victim = env.wheels[1].prefix / SITE / "beta.py"
    victim.parent.chmod(0o755)
    victim.chmod(0o444 if how != "mode" else 0o644)
    if how == "through the link":
        linked = env.location / SITE / "beta.py"
        linked.chmod(0o644)
        linked.write_bytes(b"B = 9\n")
        linked.chmod(0o444)
        before = snapshot(env.location)
    elif how == "size":
        victim.chmod(0o644)
        victim.write_bytes(b"")
        before = snapshot(env.location)
    elif how in ("missing", "link"):
        victim.unlink()
    if how == "link":
        victim.symlink_to("/etc/passwd")
    if how == "mode":
        before = snapshot(env.location)
    with pytest.raises(IntegrityError, match=r"beta\.py.*of `beta`") as caught:
        write(env)
    assert caught.value.reference == "store-changed"
    assert snapshot(env.location) == before
    assert beside(env) == [".venv"]


@pytest.mark.parametrize("number", sorted(linking._COPY_INSTEAD))
def test_where_links_are_impossible_files_are_copied(
    cache: Cache, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = environment(cache, FIRST)
    write(env)
    linked = snapshot(env.location)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    write(env)
    assert snapshot(env.location) == linked
    assert (env.location / SITE / "alpha/__init__.py").stat().st_nlink == 1


def test_an_interrupt_while_linking_leaves_the_old_environment(
    cache: Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = environment(cache, FIRST)
    write(env)
    before = snapshot(env.location)
    hard_link = os.link

    def interrupted(path: str, *rest: str, **options: int) -> None:
        if threading.current_thread() is threading.main_thread() and path.endswith("b.py"):
            raise KeyboardInterrupt
        hard_link(path, *rest, **options)

    monkeypatch.setattr(os, "link", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(environment(cache, SECOND))
    assert snapshot(env.location) == before
    assert beside(env) == [".venv"]


def test_a_project_inside_another_one_gets_copies(cache: Cache) -> None:
    """A run of the outer project may change all files in it that its user owns, also by a hard link."""
    for folder, links in (("outer", 2), ("outer/inner", 1)):
        env = environment(cache, FIRST, folder=folder)
        (env.location.parent / "pyproject.toml").touch()
        write(env)
        assert (env.location / SITE / "alpha/__init__.py").stat().st_nlink == links


def test_nothing_is_staged_where_a_run_could_see_it(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    env = environment(cache, FIRST)
    seen: list[list[str]] = []

    def look(staging: Path, location: Path) -> None:
        seen.append(beside(env))
        swap.swap_in(staging, location)

    monkeypatch.setattr(writer, "swap_in", look)
    write(env)
    assert seen == [[]]
    assert beside(env) == [".venv"]


def test_a_kill_at_any_moment_leaves_the_old_or_the_new_one(cache: Cache) -> None:
    files = {f"m{i}.py": b"x = %d\n" % i for i in range(400)}
    one = environment(cache, WheelBuilder(files={**files, "which.py": b"N = 1\n"}))
    two = environment(cache, WheelBuilder(version="2.0", files={**files, "which.py": b"N = 2\n"}))
    write(two)
    new = snapshot(two.location)
    write(one)
    old = snapshot(one.location)
    for delay_seconds in (0.0, 0.005, 0.01, 0.02, 0.03, 0.04):
        write(one)
        child = os.fork()
        if child == 0:
            write(two)
            os._exit(0)
        time.sleep(delay_seconds)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert snapshot(one.location) in (old, new)
    write(two)
    assert beside(two) == [".venv"]
    assert snapshot(two.location) == new


def test_two_writers_of_one_location_take_turns(cache: Cache) -> None:
    one, two = environment(cache, FIRST), environment(cache, SECOND)
    threads = [threading.Thread(target=write, args=(env,)) for env in (one, two) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert beside(one) == [".venv"]
    state = read_state(one.location)
    assert state is not None
    assert state.base in (one.base.name, two.base.name)


def test_the_mounted_layers_and_the_disk_show_the_same(cache: Cache) -> None:
    env = environment(cache, FIRST, SECOND)
    write(env)
    merged: dict[str, tuple[int, str]] = {}
    for layer in reversed(env.layers):
        merged |= snapshot(layer)
    on_disk = snapshot(env.location)
    del on_disk["pypm-state"]
    assert merged == on_disk


def test_uv_accepts_the_environment(cache: Cache) -> None:
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        pytest.skip("uv is not installed")
    env = environment(cache, FIRST, SECOND)
    write(env)
    done = subprocess.run(
        [uv, "pip", "list", "--offline", "--format=json", "--python", str(env.location / "bin/python")],
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": str(cache.root), "UV_CACHE_DIR": str(cache.root / "uv")},
    )
    assert json.loads(done.stdout) == [
        {"name": "alpha", "version": "1.0"},
        {"name": "beta", "version": "1.0"},
    ], done.stderr


def test_where_a_wheel_came_from_is_recorded(cache: Cache) -> None:
    env = environment(cache, FIRST, SECOND)
    text = '{"dir_info": {"editable": true}, "url": "file:///work"}'
    told = describe(interpreter(), env.wheels, env.location, cache=cache.root, direct_urls={"beta": text})
    assert told.base != env.base
    assert told.digest == env.digest
    write(told)
    code = (
        "import importlib.metadata as m; d = m.distribution('beta'); print(d.read_text('direct_url.json'));"
        "print([f.locate().exists() for f in d.files if 'direct_url' in str(f)])"
    )
    assert run(told, "python", "-c", code).stdout == f"{text}\n[True]\n"


def test_a_wheel_named_like_the_program_itself_is_installed(cache: Cache) -> None:
    env = environment(cache, WheelBuilder(name="pypm", files={"demo.py": b"D = 1\n"}))
    write(env)
    assert run(env, "python", "-c", "import demo; print(demo.D)").stdout == "1\n"
