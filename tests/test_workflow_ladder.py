"""pypm on a host that denies user namespaces: what it refuses, and what works when less is named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import sandbox
from pypm.workflow.ladder import own_isolation
from sandbox import Host, Isolation
from tests.support.index_server import IndexServer, make_wheel

CHECKOUT = Path(__file__).resolve().parent.parent
_host = sandbox.probe()
needs_rungs = pytest.mark.skipif(
    not (_host.namespaces and _host.landlock),
    reason=f"the rungs are not both here: {_host.cause or _host.landlock_cause}",
)

_BACKEND = """\
import os, zipfile

def _record(name, content):
    return f"{name},,\\n"

def build_editable(directory, config_settings=None, metadata_directory=None):
    try:
        open(os.path.expanduser("~root/.profile")).read()
        raise SystemExit("the build reads a home")
    except OSError:
        pass
    name = "demo-1-py3-none-any.whl"
    files = {
        "demo.pth": os.getcwd() + "/src\\n",
        "demo-1.dist-info/METADATA": "Metadata-Version: 2.1\\nName: demo\\nVersion: 1\\n",
        "demo-1.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    import base64, hashlib
    rows = ""
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows += f"{path},sha256={digest},{len(text.encode())}\\n"
    files["demo-1.dist-info/RECORD"] = rows + "demo-1.dist-info/RECORD,,\\n"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return name

build_wheel = build_editable
"""


@dataclass(frozen=True)
class Denied:
    """A project on a host where a container's filter denies user namespaces."""

    root: Path
    environ: dict[str, str]

    def pypm(self, *words: str, kind: str = "filter", **variables: str) -> subprocess.CompletedProcess[str]:
        launcher = [sys.executable, "-m", "tests.sandbox.denials", kind] if kind else []
        command = [*launcher, sys.executable, "-m", "pypm", "--directory", str(self.root), *words]
        return subprocess.run(
            command,
            cwd=CHECKOUT,
            env={**self.environ, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture(scope="module")
def denied(tmp_path_factory: pytest.TempPathFactory) -> Denied:
    folder = tmp_path_factory.mktemp("ladder")
    root = folder / "project"
    (root / "src" / "demo").mkdir(parents=True)
    (root / "src" / "demo" / "__init__.py").write_text("import a\n")
    (root / "backend.py").write_text(_BACKEND)
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "demo"\nversion = "1"\ndependencies = ["a"]\n'
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYPM_")}
    environ |= {"PYTHONPATH": str(CHECKOUT), "PYPM_CACHE_DIR": str(folder / "cache"), "SECRET": "s3cret"}
    environ |= {"PYTHONDONTWRITEBYTECODE": "1"}
    with IndexServer() as server:
        server.add("a", make_wheel("a", "1.0", files={"a.py": b"print('a')\n"}))
        environ["PYPM_DEFAULT_INDEX"] = server.url
        made = Denied(root, environ)
        done = made.pypm("lock", kind="")
        assert done.returncode == 0, done.stderr
        refused = made.pypm("sync")
        assert refused.returncode == 125, refused.stderr
        assert "a system call filter" in refused.stderr and "PYPM_ISOLATION=landlock" in refused.stderr
        assert not (root / ".venv").exists()
        done = made.pypm("run", "--isolation", "landlock", "true")
        assert done.returncode == 0, done.stderr
        assert "weaker isolation: `landlock`" in done.stderr
        assert "builds, unpacking and plugins run with weaker isolation, too" in done.stderr
    return made


@needs_rungs
def test_a_run_is_refused_with_cause_mend_and_what_else_there_is(denied: Denied) -> None:
    done = denied.pypm("run", "true")
    assert (done.returncode, done.stdout) == (125, "")
    assert done.stderr.startswith("error: the sandbox could not be made (at `clone`): a system call filter")
    assert "hint: start the container" in done.stderr and "--isolation landlock" in done.stderr


@needs_rungs
def test_the_environment_is_written_beside_the_store_and_the_editable_wheel_points_at_the_tree(
    denied: Denied,
) -> None:
    script = "import demo, a, sys, os; print(demo.__file__, a.__file__, sys.prefix, os.environ.get('SECRET'))"
    done = denied.pypm("run", "--isolation", "landlock", "python", "-c", script)
    assert done.returncode == 0, done.stderr
    project, package, prefix, secret = done.stdout.splitlines()[-1].split()
    assert project == str(denied.root / "src" / "demo" / "__init__.py")
    assert package.startswith(prefix) and "environments-v1/written-" in prefix
    assert secret == "None"
    assert not (denied.root / ".venv").exists()


@needs_rungs
def test_what_decides_over_runs_stays_as_it_is(denied: Denied) -> None:
    script = (
        "echo x >> pyproject.toml; echo x > .envrc; echo x > $VIRTUAL_ENV/x; echo x >> src/demo/__init__.py"
    )
    before = (denied.root / "pyproject.toml").read_text()
    module = denied.root / "src" / "demo" / "__init__.py"
    try:
        denied.pypm("run", "--isolation", "landlock", "sh", "-c", script)
        assert module.read_text() == "import a\nx\n", "sources may be written"
    finally:
        module.write_text("import a\n")
    assert (denied.root / "pyproject.toml").read_text() == before
    assert not (denied.root / ".envrc").exists()


@needs_rungs
def test_the_variable_names_it_for_every_command(denied: Denied) -> None:
    done = denied.pypm("sync", "--frozen", PYPM_ISOLATION="landlock")
    assert done.returncode == 0, done.stderr
    assert (denied.root / ".venv" / "pyvenv.cfg").exists()
    shutil.rmtree(denied.root / ".venv")
    wrong = denied.pypm("sync", PYPM_ISOLATION="chroot")
    assert wrong.returncode == 2 and "there is no isolation `chroot`" in wrong.stderr


_PROBE = """\
#include "pypm_plugin.h"
#include <stdio.h>
const pypm_descriptor pypm_plugin = {PYPM_DESCRIPTOR_HEAD, "probe", "1", NULL, NULL, PYPM_PRE_RUN, 0};
int pypm_hook(const pypm_context *context) {
    char path[4096];
    const char *told = "reads a home";
    snprintf(path, sizeof path, "%s/secret", context->project_root);
    if (fopen(path, "r") == NULL) {
        snprintf(path, sizeof path, "%s/own", context->scratch);
        told = fopen(path, "w") == NULL ? "has nothing to write to" : "writes its own folder alone";
    }
    context->host->diagnostic(context->host->user, PYPM_WARNING, NULL, told, NULL);
    return 0;
}
"""


@needs_rungs
@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_hosts_of_plugins_go_down_the_ladder_by_name_and_are_refused_without(
    denied: Denied, tmp_path: Path
) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "uses"\nversion = "0"\n[tool.pypm]\npackage = false\nplugins = ["probe"]\n'
    )
    (tmp_path / "secret").write_text("x")
    (tmp_path / "plugins").mkdir()
    (tmp_path / "probe.c").write_text(_PROBE)
    library = tmp_path / "plugins" / "pypm_probe.so"
    compiler = ["cc", "-shared", "-fPIC", f"-I{CHECKOUT}/pypm/plugins", "-o", str(library)]
    subprocess.run([*compiler, str(tmp_path / "probe.c")], check=True)
    uses = Denied(tmp_path, {**denied.environ, "PYPM_CACHE_DIR": str(tmp_path / "cache")})
    done = uses.pypm("lock", kind="")
    assert done.returncode == 0, done.stderr
    refused = uses.pypm("run", "echo", "it ran")
    assert (refused.returncode, refused.stdout) == (125, ""), refused.stderr
    done = uses.pypm("run", "echo", "it ran", PYPM_ISOLATION="landlock")
    assert (done.returncode, done.stdout) == (0, "it ran\n"), done.stderr
    assert "probe: writes its own folder alone" in done.stderr
    assert not list((tmp_path / "cache" / "scratch").iterdir()), "library and folder are removed"


@needs_rungs
def test_what_the_project_requires_is_not_given_up(denied: Denied) -> None:
    path = denied.root / "pyproject.toml"
    before = path.read_text()
    path.write_text(before + '[tool.pypm.sandbox]\nrequire = ["metadata"]\n')
    try:
        done = denied.pypm("run", "--frozen", "--isolation", "landlock", "true")
    finally:
        path.write_text(before)
    assert done.returncode == 125
    assert "`landlock` does not guarantee what is required: metadata" in done.stderr


@pytest.mark.parametrize(
    ("named", "namespaces", "expected"),
    [
        (None, False, None),
        (Isolation.NAMESPACES, False, None),
        (Isolation.LANDLOCK, True, None),
        (Isolation.NONE, True, None),
        (Isolation.LANDLOCK, False, Isolation.LANDLOCK),
        (Isolation.NONE, False, Isolation.LANDLOCK),
    ],
)
def test_pypms_own_steps_get_what_the_host_has_and_never_none(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    named: Isolation | None,
    namespaces: bool,
    expected: Isolation | None,
) -> None:
    host = Host(platform="linux", machine="x", kernel="6", boot_id="", namespaces=namespaces)
    monkeypatch.setattr(sandbox, "probe", lambda memory=None: host)
    told: list[str] = []
    assert own_isolation(named, tmp_path, told.append) is expected
    assert bool(told) is (expected is not None), "what is weaker is said"
