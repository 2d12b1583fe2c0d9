"""What plugins cost `pypm run true`: measured in turn in one run, the least of several (docs/plugins.md).

python -m integration.bench.plugins [ROUNDS]
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from integration.peers import CHECKOUT, PYPM

SOURCE = """#include "pypm_plugin.h"
const pypm_descriptor pypm_plugin = {{PYPM_DESCRIPTOR_HEAD, "noop", "1", NULL, NULL, {stage}, 0}};
int pypm_hook(const pypm_context *context) {{ (void)context; return 0; }}
"""
PROJECT = """[project]
name = "p"
version = "1"
requires-python = ">=3.10"
[tool.pypm]
package = false
plugins = [{plugins}]
"""
KINDS = {
    "no plugin, ready plan": None,
    "a plugin that wants no stage of a run": "PYPM_POST_FETCH",
    "a no-op plugin at pre-run": "PYPM_PRE_RUN",
    "a no-op plugin at pre-run and post-run": "PYPM_PRE_RUN | PYPM_POST_RUN",
    "no plugin, no ready plan": None,
    "a no-op plugin at pre-run, no ready plan": "PYPM_PRE_RUN",
}


def make(folder: Path, stage: str | None, environ: dict[str, str]) -> None:
    """Write a project, with a plugin for a stage if there is one, and sync it."""
    (folder / "plugins").mkdir(parents=True)
    if stage is not None:
        (folder / "noop.c").write_text(SOURCE.format(stage=stage))
        output = folder / "plugins" / "pypm_noop.so"
        headers = CHECKOUT / "pypm" / "plugins"
        argv = ["cc", "-shared", "-fPIC", "-O2", f"-I{headers}", "-o", output, folder / "noop.c"]
        subprocess.run(argv, check=True)
    (folder / "pyproject.toml").write_text(PROJECT.format(plugins="" if stage is None else '"noop"'))
    subprocess.run([PYPM, "-q", "sync"], cwd=folder, env=environ, check=True, stdout=subprocess.DEVNULL)
    subprocess.run([PYPM, "run", "true"], cwd=folder, env=environ, check=True)


def measure(folder: Path, environ: dict[str, str]) -> tuple[float, float]:
    """Return the seconds that one run takes: by the clock, and of processors."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([PYPM, "run", "true"], cwd=folder, env=environ, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - started, used


def main() -> int:
    """Print a line a kind."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory(prefix="pypm-bench-") as name:
        base = Path(name)
        environ = {**os.environ, "PYPM_CACHE_DIR": str(base / "cache")}
        for number, stage in enumerate(KINDS.values()):
            make(base / str(number), stage, environ)
        taken: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
        for _ in range(rounds):
            for number, kind in enumerate(KINDS):
                if "no ready plan" in kind:
                    # The other projects' plans go as well: each is made again, and its run not counted.
                    shutil.rmtree(base / "cache" / "plans-v1")
                else:
                    measure(base / str(number), environ)
                taken[kind].append(measure(base / str(number), environ))
        for kind, pairs in taken.items():
            clock, processors = (min(values) * 1000 for values in zip(*pairs, strict=True))
            print(f"{kind:40} {clock:6.0f} ms by the clock, {processors:6.0f} ms of processors")
        subprocess.run(["chmod", "-R", "u+w", name], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
