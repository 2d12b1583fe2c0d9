"""Plugins built with AddressSanitizer and UndefinedBehaviorSanitizer, in the sandboxed host that all have."""

from __future__ import annotations

import functools
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

from pypm.plugins import policy, session
from sandbox import Policy

NATIVE = policy.INSIDE.parent / "native"

BUGS = {
    "heap": (
        "char *volatile block = malloc(count); block[count] = 1; free(block);",
        "AddressSanitizer: heap-buffer-overflow",
    ),
    "freed": (
        "char *volatile block = malloc(count); free(block); block[0] = 1;",
        "AddressSanitizer: heap-use-after-free",
    ),
    "undefined": ("volatile int one = 1; one <<= 40 + (int)count;", "runtime error: shift exponent"),
}
"""Mistakes that do no visible harm without sanitizers, in C, and what these say of each."""

_HOOK = "int pypm_hook(const pypm_context *context) {\n"
_INCLUDES = "#include <stdlib.h>\n#include <string.h>\n"


@functools.cache
def runtime() -> Path | None:
    """Return the sanitizers' library, which has to be loaded before all others; None where there is none."""
    if shutil.which("cc") is None:
        return None
    argv = ["cc", "-print-file-name=libasan.so"]
    said = Path(subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip())
    return said.resolve() if said.is_absolute() and said.exists() else None


def build(folder: Path, *, broken: bool = False, sanitized: bool = True) -> Path:
    """Build pypm's plugins into a folder and return it.

    In broken ones each hook makes that of `BUGS` whose name the first package has.
    """
    sources = NATIVE
    if broken:
        sources = folder / "plugins" / "native"
        shutil.copytree(NATIVE, sources, ignore=shutil.ignore_patterns("*.so"))
        shutil.copy(NATIVE.parent / "pypm_plugin.h", sources.parent)
        for path in sources.glob("*/*.c"):
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace(_HOOK, f"{_INCLUDES}{_HOOK}{_bugs()}"), encoding="utf-8")
    flags = ["SANITIZE=1"] if sanitized else []
    subprocess.run(["make", "-s", "-j2", "-C", str(sources), f"OUTPUT={folder}", *flags], check=True)
    return folder


def _bugs() -> str:
    branches = (
        f'    if (count > 0 && strcmp(context->packages[0]->name, "{name}") == 0) {{ {code} }}\n'
        for name, (code, _) in BUGS.items()
    )
    return "    const size_t count = context->package_count;\n" + "".join(branches)


@contextmanager
def sanitized_hosts() -> Iterator[None]:
    """Have the hosts that are started meanwhile load the sanitizers first.

    Their sandbox is the usual one but for these variables and the bound of the address space, of which the
    sanitizers reserve terabytes. Leaks are not looked for: that takes `ptrace`, which no host is given.
    """
    library = runtime()
    assert library is not None, "this compiler has no sanitizers"
    variables = {
        "LD_PRELOAD": str(library),
        # Short enough that the summary is among the last lines, which pypm shows.
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=1:print_legend=0",
    }
    usual = policy.host_policy

    def host_policy(*places: Any, **allowed: Any) -> Policy:
        made = usual(*places, **allowed)
        environment = tuple(sorted({**dict(made.environment), **variables}.items()))
        return replace(made, environment=environment, limits=replace(made.limits, memory_bytes=None))

    with (
        mock.patch.object(policy, "host_policy", host_policy),
        mock.patch.object(session, "host_policy", host_policy),
    ):
        yield
