"""The header, compiled as it is shipped, beside its mirror; and the layout that version 1 is frozen to."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pypm.plugins.inside import abi
from pypm.plugins.inside.context import Stage
from tests.plugins.bench import HEADERS, needs_compiler

HEADER = HEADERS / "pypm_plugin.h"
POINTER_BYTES = ctypes.sizeof(ctypes.c_void_p)

FROZEN = {
    "pypm_package": (
        88,
        "struct_size:0 reserved:4 name:8 version:16 artifact:24 url:32 sha256:40 path:48 tree:56 "
        "size_bytes:64 build_key:72 build_record:80",
    ),
    "pypm_option": (24, "struct_size:0 reserved:4 key:8 value:16"),
    "pypm_host": (
        56,
        "struct_size:0 reserved:4 user:8 log:16 progress:24 diagnostic:32 offer:40 cancelled:48",
    ),
    "pypm_context": (
        152,
        "struct_size:0 abi_version:4 stage:8 reserved:12 stage_name:16 pypm_version:24 project_root:32 "
        "lock_path:40 lock_digest:48 environment_path:56 environment_digest:64 interpreter:72 "
        "interpreter_version:80 scratch:88 platform_tag_count:96 platform_tags:104 option_count:112 "
        "options:120 package_count:128 packages:136 host:144",
    ),
    "pypm_descriptor": (
        56,
        "magic:0 abi_version:4 struct_size:8 context_size:12 name:16 version:24 summary:32 permissions:40 "
        "stages:48 reserved:52",
    ),
}
"""Version 1 where pointers have 64 bits. Never edit a number; a new field goes to the end of its line."""


def mirrored(structure: type[ctypes.Structure]) -> str:
    return " ".join(f"{field[0]}:{getattr(structure, field[0]).offset}" for field in structure._fields_)


@pytest.mark.skipif(POINTER_BYTES != 8, reason="the frozen numbers are those of 64-bit pointers")
@pytest.mark.parametrize("name", sorted(FROZEN))
def test_version_1_keeps_its_layout(name: str) -> None:
    size, offsets = FROZEN[name]
    assert mirrored(abi.STRUCTURES[name]).startswith(offsets)
    assert ctypes.sizeof(abi.STRUCTURES[name]) >= size


COMPILERS = [
    pytest.param(("cc", "-x", "c", "-std=c89"), id="c89"),
    pytest.param(("cc", "-x", "c", "-std=c11", "-Wconversion", "-Wcast-qual"), id="c11"),
    pytest.param(("c++", "-x", "c++", "-std=c++98"), id="c++98"),
    pytest.param(("c++", "-x", "c++", "-std=c++17", "-Wconversion", "-Wold-style-cast"), id="c++17"),
]


@needs_compiler
@pytest.mark.parametrize("compiler", COMPILERS)
def test_the_mirror_is_what_compilers_make_of_the_header(compiler: tuple[str, ...], tmp_path: Path) -> None:
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"no `{compiler[0]}` on this machine")
    lines = [
        f'    printf("{name} {field[0]} %d\\n", (int)offsetof({name}, {field[0]}));'
        for name, structure in abi.STRUCTURES.items()
        for field in structure._fields_
    ]
    lines += [f'    printf("{name} - %d\\n", (int)sizeof({name}));' for name in abi.STRUCTURES]
    if compiler[0] == "c++":
        lines = [re.sub(r"\(int\)(\w+\(.*\))\)", r"static_cast<int>(\1))", line) for line in lines]
    program = tmp_path / "layout"
    code = (
        "#include <pypm_plugin.h>\n#include <stdio.h>\nint main(void) {\n"
        + "\n".join(lines)
        + "\nreturn 0; }\n"
    )
    warnings = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")
    argv = [*compiler, *warnings, f"-I{HEADERS}", "-", "-o", str(program)]
    subprocess.run(argv, input=code.encode(), check=True)
    told = subprocess.run([program], capture_output=True, check=True).stdout.decode().splitlines()
    expected = [
        f"{name} {field[0]} {getattr(structure, field[0]).offset}"
        for name, structure in abi.STRUCTURES.items()
        for field in structure._fields_
    ]
    assert told == expected + [f"{name} - {ctypes.sizeof(s)}" for name, s in abi.STRUCTURES.items()]


def test_every_field_of_the_header_is_mirrored_and_in_its_order() -> None:
    text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(encoding="ascii"), flags=re.DOTALL)
    for name, structure in abi.STRUCTURES.items():
        body = re.search(rf"typedef struct {name} {{(.*?)}} {name};", text, re.DOTALL)
        assert body is not None
        statements = [" ".join(statement.split()) for statement in body[1].split(";") if statement.strip()]
        pattern = r"\(\*(\w+)\)|(\w+)$"
        found = [re.search(pattern, statement) for statement in statements]
        fields = [match[1] or match[2] for match in found if match]
        assert fields == [field[0] for field in structure._fields_]


def test_constants_are_those_of_the_header() -> None:
    text = HEADER.read_text(encoding="ascii")
    numbers = {
        name: int(value, 0)
        for name, value in re.findall(r"#define PYPM_(\w+) (0x[0-9A-Fa-f]+|\d+)u?$", text, re.M)
    }
    assert (numbers.pop("MAGIC"), numbers.pop("ABI_VERSION")) == (abi.MAGIC, abi.ABI_VERSION)
    assert {name: numbers.pop(name) for name in ("OK", "INVALID", "REFUSED")} == {
        "OK": abi.OK,
        "INVALID": abi.INVALID,
        "REFUSED": abi.REFUSED,
    }
    levels = {name: numbers.pop(name) for name in ("DEBUG", "NOTE", "WARNING", "ERROR")}
    assert list(levels.values()) == [abi.DEBUG, abi.NOTE, abi.WARNING, abi.ERROR]
    assert numbers == {stage.name: stage.bit for stage in Stage}
    assert tuple(stage.value for stage in Stage) == abi.STAGES


def test_the_header_is_plain_ascii_and_shipped_beside_the_code() -> None:
    assert HEADER.read_bytes().isascii()
    assert HEADER.parent == Path(abi.__file__).parents[1]
