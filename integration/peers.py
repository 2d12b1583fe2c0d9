"""The programs that pypm is measured against, as their own registries ship them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
PYPM = CHECKOUT / ".venv" / "bin" / "pypm"


def uv() -> Path:
    """Return uv; it is in the `dev` group, so it lies beside the interpreter that runs this.

    Raises:
        SystemExit: it is nowhere.
    """
    beside = Path(sys.executable).parent / "uv"
    found = beside if beside.exists() else shutil.which("uv")
    if found is None:
        raise SystemExit("uv is not installed: run `make setup`, which installs the dev group")
    return Path(found)


def uv_environment(folder: Path) -> dict[str, str]:
    """Return the variables with which uv knows a project's own settings and none of this machine or its user.

    Its cache lies in `folder`. `UV_NO_CONFIG` would do away with the project's `[tool.uv]` as well.
    """
    nowhere = str(folder / "no-settings")
    return {
        "UV_CACHE_DIR": str(folder / "cache"),
        "UV_NO_SYSTEM_CONFIG": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "XDG_CONFIG_DIRS": nowhere,
        "XDG_CONFIG_HOME": nowhere,
    }


def pip(folder: Path) -> Path:
    """Return pip, installed into an environment of its own in `folder` by uv, which asks the usual index."""
    program = folder / "bin" / "pip"
    if not program.exists():
        subprocess.run([uv(), "venv", "--quiet", "--python", sys.executable, folder], check=True)
        subprocess.run([uv(), "pip", "install", "--quiet", "--python", folder, "pip"], check=True)
    return program


def bubblewrap() -> Path | None:
    """Return bubblewrap, installing it with apt where that is allowed; None where it cannot be had."""
    found = shutil.which("bwrap")
    if found is None and shutil.which("apt-get") is not None:
        subprocess.run(
            ["apt-get", "install", "-y", "-q", "--no-install-recommends", "bubblewrap"],
            check=False,
            capture_output=True,
        )
        found = shutil.which("bwrap")
    return Path(found) if found else None


def version(program: Path) -> str:
    """Return the first line of `PROGRAM --version`."""
    printed = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    return printed.splitlines()[0].strip()
