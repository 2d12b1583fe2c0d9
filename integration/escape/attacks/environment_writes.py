"""Write into the environment, the interpreter and the system: a `.pth`, `sitecustomize`, byte code, a program.

Whatever lands there runs in every later process, outside too. Source: site(3), PEP 552; the store is shared.
"""

import os
import sys
import sysconfig
from pathlib import Path

from attempt import PLACE, PROJECT, denied, works


def inside():
    prefix, base = Path(sys.prefix), Path(sys.base_prefix)
    site = Path(sysconfig.get_path("purelib"))
    for path in (
        site / "planted.pth",
        site / "sitecustomize.py",
        prefix / "bin" / "planted",
        prefix / "pyvenv.cfg",
        Path(sys.base_exec_prefix) / "lib" / "planted",
        Path(os.__file__),
        Path(os.__file__).parent / "__pycache__" / "planted.pyc",
        Path("/usr/bin/planted"),
        Path("/etc/ld.so.cache"),
        Path("/etc/passwd"),
        Path("/usr/lib/planted.so"),
        Path(sys.executable).resolve(),
    ):
        where = "environment" if path.parent == prefix else path.parent.name
        denied(
            f"writing {path.name} in {where}",
            lambda path=path: os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)),
        )
        denied(f"chmod of {where}", lambda path=path: os.chmod(path.parent, 0o777))
        denied(f"times of {where}", lambda path=path: os.utime(path.parent))
    denied(
        "moving the environment away",
        lambda: os.rename(PROJECT / ".venv", PROJECT / "moved") if (PROJECT / ".venv").exists() else 1 / 0,
    )
    denied("a link out of the read-only tree", lambda: os.link(os.__file__, PLACE / "linked"))
    denied("a link of a system file", lambda: os.link("/usr/bin/true", PLACE / "linked-true"))
    works("importing", lambda: __import__("json") and base.exists())
    works("writing into the project", lambda: (PLACE / "new.py").write_text("x"))
