"""What `import sandbox` and `replay` may load: each module costs more than a mount."""

from __future__ import annotations

import subprocess
import sys

import pytest

import sandbox
from tests.sandbox.conftest import ROOT, policy, run_replayed

_REPORT = (
    "import os, sys; sys.path.insert(0, {root!r}); before = set(sys.modules); {body}; "
    "print(*sorted(set(sys.modules) - before))"
)
"""`os` is loaded by every ordinary start of the interpreter."""
EXPENSIVE = {
    "dataclasses",
    "re",
    "typing",
    "enum",
    "contextlib",
    "socket",
    "json",
    "signal",
    "subprocess",
    "pathlib",
    "logging",
    "inspect",
    "functools",
    "collections",
    "resource",
    "prctl",
    "psutil",
    "pyroute2",
    "threading",
}


def _loaded(body: str) -> set[str]:
    script = _REPORT.format(root=str(ROOT), body=body)
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, check=True)
    return set(done.stdout.decode().split())


def test_importing_the_package_loads_nothing_else() -> None:
    assert _loaded("import sandbox") == {"sandbox", "__future__"}


def test_replay_loads_no_expensive_module() -> None:
    loaded = _loaded("from sandbox import replay")
    assert not loaded & EXPENSIVE
    foreign = {name for name in loaded if not name.startswith("sandbox")}
    assert foreign <= {"__future__", "_ctypes", "errno", "gc"}


@pytest.mark.usefixtures("namespaces")
def test_a_whole_replay_loads_nothing_more() -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import marshal; from sandbox import replay;"
        "plan = marshal.loads(sys.stdin.buffer.read()); before = set(sys.modules);"
        "code = replay(plan, ('/bin/true',), '/'); print(code, *(set(sys.modules) - before))"
    )
    import marshal

    plan = marshal.dumps(sandbox.prepare(policy()))
    words = [sys.executable, "-I", "-S", "-c", script, str(ROOT)]
    done = subprocess.run(words, input=plan, capture_output=True, check=True)
    assert done.stdout.split() == [b"0"]


@pytest.mark.usefixtures("namespaces")
def test_a_plan_of_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = sandbox.prepare(policy())
    with pytest.raises(sandbox.SetupError, match="another version"):
        sandbox.replay({**plan, "version": 0}, ("true",), "/")
    with pytest.raises(sandbox.SetupError, match="another version"):
        sandbox.replay({**plan, "machine": "riscv64"}, ("true",), "/")
    assert run_replayed(policy(), ("true",)).returncode == 0


def test_every_public_name_resolves() -> None:
    assert sorted(sandbox.__all__) == dir(sandbox)
    for name in sandbox.__all__:
        assert getattr(sandbox, name).__name__ == name
    with pytest.raises(AttributeError, match="nonsense"):
        _ = sandbox.nonsense
