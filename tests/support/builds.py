"""Interpreters, environments and source trees for tests of isolation and of builds."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from msgspec.structs import replace

from pypm.digest import Sha256
from pypm.model.environment import Environment
from pypm.model.target import Interpreter, Target

BACKEND = '''
"""A build backend that needs nothing: it zips the package folder, and does what `behaviour.py` says first."""
import os, zipfile
from pathlib import Path

def _behave():
    behaviour = Path("behaviour.py")
    if behaviour.exists():
        exec(compile(behaviour.read_text(), "behaviour.py", "exec"), {})

def _date():
    import time
    return time.gmtime(int(os.environ["SOURCE_DATE_EPOCH"]))[:6]

def _write(folder, name, files):
    with zipfile.ZipFile(Path(folder) / name, "w") as wheel:
        for path, text in files:
            wheel.writestr(zipfile.ZipInfo(path, _date()), text)
    return name

_METADATA = [
    ("sample-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: sample\\nVersion: 1.0\\n"),
    ("sample-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"),
    ("sample-1.0.dist-info/RECORD", ""),
]

def get_requires_for_build_wheel(config_settings=None):
    return ["wheel>=0.40", *((config_settings or {}).get("extra", "").split())]

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    _behave()
    Path("leftover.egg-info").write_text("a backend writes into its source")
    files = [(str(p), p.read_text()) for p in sorted(Path("sample").rglob("*.py"))]
    return _write(wheel_directory, "sample-1.0-py3-none-any.whl", files + _METADATA)
'''

EDITABLE_HOOK = """
def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    _behave()
    files = [("sample.pth", os.getcwd() + "\\n")]
    return _write(wheel_directory, "sample-1.0-py3-none-any.whl", files + _METADATA)
"""


def this_interpreter() -> Interpreter:
    """The Python that runs the tests, outside of its virtual environment."""
    paths = sysconfig.get_paths(vars={"base": sys.base_prefix, "installed_base": sys.base_prefix})
    version = ".".join(str(part) for part in sys.version_info[:3])
    return Interpreter(
        executable=Path(sys.executable).resolve(),
        version=version,
        implementation=sys.implementation.name,
        cache_tag=sys.implementation.cache_tag or "",
        base_prefix=Path(sys.base_prefix),
        exec_prefix=Path(sys.base_exec_prefix),
        stdlib=Path(paths["stdlib"]),
        include=Path(paths["include"]),
        platform=sysconfig.get_platform(),
        library_paths=(),
        target=Target(marker_environment={}, tags=()),
        identity=f"{sys.implementation.name} {version}",
    )


def empty_environment(location: Path, base: Path) -> Environment:
    """An environment without wheels: `pyvenv.cfg` and `bin/python`, as pypm makes them."""
    interpreter = this_interpreter()
    (base / "bin").mkdir(parents=True, exist_ok=True)
    (base / "lib" / interpreter.python_tag / "site-packages").mkdir(parents=True, exist_ok=True)
    (base / "bin" / "python").unlink(missing_ok=True)
    (base / "bin" / "python").symlink_to(interpreter.executable)
    home = f"home = {interpreter.executable.parent}\ninclude-system-site-packages = false\n"
    (base / "pyvenv.cfg").write_text(home, encoding="utf-8")
    return Environment(
        digest=Sha256("0" * 64), location=location, interpreter=interpreter, wheels=(), base=base
    )


def interpreter_at(prefix: Path) -> Interpreter:
    """An interpreter whose files are made below `prefix`; it is looked at, never started."""
    for folder in ("bin", "lib/python3.11", "include/python3.11"):
        (prefix / folder).mkdir(parents=True, exist_ok=True)
    (prefix / "bin" / "python3.11").touch()
    return replace(
        this_interpreter(),
        executable=prefix / "bin" / "python3.11",
        base_prefix=prefix,
        exec_prefix=prefix,
        stdlib=prefix / "lib" / "python3.11",
        include=prefix / "include" / "python3.11",
        version="3.11.7",
    )


def sample_tree(root: Path, *, behaviour: str = "", editable: bool = False) -> Path:
    """A source tree with its own backend (`backend-path`), so that building it needs no requirements."""
    (root / "sample").mkdir(parents=True)
    (root / "backend").mkdir()
    (root / "sample" / "__init__.py").write_text("VALUE = 1\n", encoding="utf-8")
    backend = BACKEND + (EDITABLE_HOOK if editable else "")
    (root / "backend" / "sample_backend.py").write_text(backend, encoding="utf-8")
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "sample_backend"\nbackend-path = ["backend"]\n',
        encoding="utf-8",
    )
    if behaviour:
        (root / "behaviour.py").write_text(behaviour, encoding="utf-8")
    return root
