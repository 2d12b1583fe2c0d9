"""The plugin `auditwheel`, on libraries that are made here with exactly the faults that it is to find."""

from __future__ import annotations

import platform
import random
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from pypm.errors import PluginError
from pypm.plugins.hooks import Diagnostic
from pypm.plugins.inside.context import Package, Stage
from pypm.plugins.permissions import Grants
from pypm.plugins.session import Session, choose
from pypm.plugins.settings import Enabled
from tests.plugins.bench import HEADERS, SOURCES, Scene, needs_compiler, needs_sandbox

NATIVE = HEADERS / "native"
MACHINE = platform.machine()

pytestmark = needs_compiler


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin, built as `make plugins` does."""
    folder = tmp_path_factory.mktemp("native")
    subprocess.run(["make", "-s", "-C", str(NATIVE), f"OUTPUT={folder}"], check=True)
    return folder


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Libraries with one fault each, linked with nothing of this machine."""
    folder = tmp_path_factory.mktemp("libraries")
    (folder / "f.c").write_text("int f(void); int f(void) { return 1; }\n")
    (folder / "ext.c").write_text("int f(void); int g(void); int g(void) { return f(); }\n")
    (folder / "libc.map").write_text("GLIBC_2.5 { global: f; };\n")
    (folder / "newer.map").write_text("GLIBC_2.99 { global: f; };\n")
    (folder / "private.map").write_text("GLIBC_PRIVATE { global: f; };\n")

    def link(name: str, source: str, *flags: str) -> None:
        argv = [
            "cc",
            "-shared",
            "-nostdlib",
            "-fPIC",
            "-Wl,-z,relro,-z,noexecstack",
            "-o",
            name,
            source,
            *flags,
        ]
        subprocess.run(argv, cwd=folder, check=True)

    for fake, soname, script in (
        ("libold.so", "libc.so.6", "libc"),
        ("libnew.so", "libc.so.6", "newer"),
        ("libprivate.so", "libc.so.6", "private"),
        ("libmusl.so", "libc.musl-x86_64.so.1", ""),
        ("libfoo.so.1", "libfoo.so.1", ""),
    ):
        link(
            fake, "f.c", f"-Wl,-soname,{soname}", *([f"-Wl,--version-script={script}.map"] if script else [])
        )
    link("clean.so", "ext.c", "libold.so", "-Wl,-rpath,$ORIGIN/../x.libs")
    link("newer.so", "ext.c", "libnew.so")
    link("private.so", "ext.c", "libprivate.so")
    link("musl.so", "ext.c", "libmusl.so")
    link("foo.so", "ext.c", "libfoo.so.1")
    link("stack.so", "ext.c", "libold.so", "-Wl,-z,execstack")
    link("norelro.so", "ext.c", "libold.so", "-Wl,-z,norelro")
    link("rpath.so", "ext.c", "libold.so", "-Wl,-rpath,/build/lib:$ORIGIN")
    return folder


def wheel(root: Path, files: dict[str, Path], tag: str) -> Package:
    """An unpacked wheel with these files."""
    tree = root / f"tree-{len(list(root.iterdir()))}"
    for name, source in files.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, tree / name)
    (tree / "x.py").write_text("pass\n")
    return Package(name="sample", version="1", artifact=f"sample-1-cp311-cp311-{tag}.whl", tree=str(tree))


def audit(scene: Scene, built: Path, *packages: Package, strict: bool = False) -> list[Diagnostic]:
    """Call the hook in its sandbox, where it sees the trees and nothing else."""
    scene.folder = built
    around = replace(scene.surroundings, packages=(scene.root,))
    options = (("strict", "true"),) if strict else ()
    enabled = Enabled(name="auditwheel", grants=Grants(packages=True), options=options)
    chosen = choose(enabled, scene.find("auditwheel"), around, variables={}, kept=scene.kept)
    with Session([chosen], around, scene.heard) as session:
        session.call(scene.context(Stage.POST_FETCH, packages=packages))
    return scene.heard.diagnostics


ALMOST = f"manylinux_2_17_{MACHINE}.manylinux2014_{MACHINE}"


@needs_sandbox
@pytest.mark.parametrize(
    "case",
    [
        ("clean", ALMOST, None, ""),
        ("clean", f"manylinux1_{MACHINE}", None, ""),
        (
            "newer",
            ALMOST,
            "warning",
            "needs `GLIBC_2.99` of `libc.so.6`, which is newer than `manylinux_2_17_",
        ),
        ("newer", f"manylinux_2_99_{MACHINE}", None, ""),
        ("newer", f"linux_{MACHINE}", None, ""),
        (
            "newer",
            f"manylinux_2_99_{MACHINE}.manylinux_2_5_{MACHINE}",
            "warning",
            "newer than `manylinux_2_5_",
        ),
        ("private", f"manylinux_2_39_{MACHINE}", "warning", "needs `GLIBC_PRIVATE`"),
        ("foo", ALMOST, "warning", "needs `libfoo.so.1`, which `manylinux_2_17_"),
        ("musl", f"musllinux_1_2_{MACHINE}", None, ""),
        ("clean", f"musllinux_1_2_{MACHINE}", "warning", "needs `libc.so.6`, which `musllinux_1_2_"),
        ("stack", ALMOST, "warning", "asks for an executable stack"),
        ("norelro", ALMOST, "note", "has no read-only relocations (RELRO)"),
        ("rpath", ALMOST, "warning", "searches for libraries in `/build/lib`"),
        (
            "clean",
            "manylinux2014_s390x",
            "warning",
            "is built for another machine than `manylinux2014_s390x`",
        ),
        ("clean", "any", "warning", "is compiled code in a wheel for any platform"),
        ("clean", "win_amd64", None, ""),
        ("clean", "macosx_11_0_arm64", None, ""),
    ],
    ids=lambda case: f"{case[0]}-{case[1]}",
)
def test_one_fault_is_one_finding(
    scene: Scene, built: Path, libraries: Path, case: tuple[str, str, str | None, str]
) -> None:
    name, tag, level, finding = case
    found = audit(scene, built, wheel(scene.root, {"lib/x.so": libraries / f"{name}.so"}, tag))
    if level is None:
        assert not found
        return
    assert found[0].level == level
    assert found[0].message.startswith("`lib/x.so` ")
    assert finding in found[0].message
    assert found[0].package == "sample"
    assert len(found) == 1 or name == "clean", found


@needs_sandbox
def test_a_library_of_the_wheel_itself_is_no_finding(scene: Scene, built: Path, libraries: Path) -> None:
    files = {"x.so": libraries / "foo.so", "x.libs/libfoo.so.1": libraries / "libfoo.so.1"}
    renamed = {"x.so": libraries / "foo.so", "x.libs/other-name": libraries / "libfoo.so.1"}
    assert not audit(scene, built, wheel(scene.root, files, ALMOST), wheel(scene.root, renamed, ALMOST))


@needs_sandbox
def test_strict_ends_the_command(scene: Scene, built: Path, libraries: Path) -> None:
    good = wheel(scene.root, {"x.so": libraries / "norelro.so"}, ALMOST)
    audit(scene, built, good, strict=True)
    bad = wheel(scene.root, {"x.so": libraries / "newer.so"}, ALMOST)
    with pytest.raises(PluginError) as caught:
        audit(scene, built, good, bad, strict=True)
    assert "stopped at `post-fetch`: `sample`: `x.so` needs `GLIBC_2.99`" in caught.value.message
    assert caught.value.hint == "the wheel cannot be loaded on older systems that its tag admits"


@needs_sandbox
def test_a_library_that_breaks_off_and_one_that_is_none(scene: Scene, built: Path, libraries: Path) -> None:
    (scene.root / "short").write_bytes((libraries / "clean.so").read_bytes()[:200])
    (scene.root / "text").write_bytes(b"\x7fELf no")
    files = {"a.so": scene.root / "short", "b.so": scene.root / "text"}
    (found,) = audit(scene, built, wheel(scene.root, files, ALMOST))
    assert found.message == "`a.so` begins as an ELF file and is malformed"


def sanitized(folder: Path) -> Path:
    """The plugin as a program under AddressSanitizer and UndefinedBehaviorSanitizer."""
    program = folder / "audit"
    sanitizers = ["-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    argv = ["cc", "-std=c99", *sanitizers, "-Wall", "-Wextra", "-Werror", f"-I{HEADERS}", "-o", str(program)]
    sources = sorted(str(path) for path in (NATIVE / "auditwheel").glob("*.c"))
    done = subprocess.run(
        [*argv, str(SOURCES / "audit_driver.c"), *sources], capture_output=True, check=False
    )
    if done.returncode != 0 and b"san" in done.stderr and b"cannot find" in done.stderr:
        pytest.skip("this compiler has no sanitizers")
    assert done.returncode == 0, done.stderr.decode()
    return program


def test_hostile_files_under_sanitizers(tmp_path: Path, libraries: Path) -> None:
    program = sanitized(tmp_path)
    tree = tmp_path / "tree"
    tree.mkdir()
    dice = random.Random(7)
    whole = [path.read_bytes() for path in sorted(libraries.glob("*.so"))]
    for number in range(300):
        content = bytearray(dice.choice(whole))
        if number % 5 == 0:
            del content[dice.randrange(len(content)) :]
        for _ in range(dice.randrange(1, 12)):
            # The head, the segments, or anywhere: extreme values are where arithmetic goes wrong.
            place = dice.randrange(dice.choice([64, 800, len(content) or 1])) if content else 0
            content[place : place + 1] = bytes([dice.choice([0, 1, 127, 128, 255, dice.randrange(256)])])
        (tree / f"{number}.so").write_bytes(bytes(content))
    deep = tree
    for _ in range(80):
        deep /= "d"
    deep.mkdir(parents=True)
    (tree / "loop").symlink_to(tree)
    for tag in (
        ALMOST,
        "musllinux_1_2_x86_64",
        "any",
        "..",
        "manylinux_4294967296_999_x",
        "linux_" + "x" * 90,
    ):
        argv = [str(program), f"s-1-py3-none-{tag}.whl", str(tree)]
        done = subprocess.run(argv, capture_output=True, timeout=60, check=False)
        assert done.returncode in (0, 1), done.stderr.decode()
    for artifact in ("", "x", "-", ".whl", "-.whl", "a-b.whl.whl", "a-" + "b" * 300 + ".whl"):
        done = subprocess.run(
            [str(program), artifact, str(tree)], capture_output=True, timeout=60, check=False
        )
        assert done.returncode in (0, 1), done.stderr.decode()


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A program that reads broken copies of files."""
    program = tmp_path_factory.mktemp("fuzz") / "fuzz"
    argv = [
        "cc",
        "-g",
        "-O1",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        "-o",
        str(program),
    ]
    argv += [
        f"-I{NATIVE / 'auditwheel'}",
        str(SOURCES / "elf_fuzz.c"),
        str(NATIVE / "auditwheel" / "elf_file.c"),
    ]
    done = subprocess.run(argv, capture_output=True, check=False)
    if done.returncode != 0 and b"san" in done.stderr and b"cannot find" in done.stderr:
        pytest.skip("this compiler has no sanitizers")
    assert done.returncode == 0, done.stderr.decode()
    return program


def test_broken_files_are_read_or_refused(fuzz: Path, built: Path, libraries: Path) -> None:
    """Cut off, with extreme numbers where the format has its offsets and counts, or damaged anywhere."""
    files = [str(built / "pypm_auditwheel.so"), str(libraries / "newer.so")]
    done = subprocess.run([str(fuzz), "3", "1500", *files], capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    read, other, malformed = (int(part.split()[0]) for part in done.stdout.decode().split(", "))
    assert read + other + malformed == 3000
    assert read > 100
    assert malformed > 100


def test_a_record_that_leads_to_itself_is_not_read_for_ever(
    fuzz: Path, libraries: Path, tmp_path: Path
) -> None:
    content = bytearray((libraries / "newer.so").read_bytes())
    needed = content.index(struct.pack("<Q", 0x6FFFFFFE))
    number = content.index(struct.pack("<Q", 0x6FFFFFFF))
    (record,) = struct.unpack_from("<Q", content, needed + 8)
    content[number + 8 : number + 16] = struct.pack("<Q", 1 << 62)
    struct.pack_into("<H", content, record + 2, 0)
    struct.pack_into("<I", content, record + 12, 0)
    hostile = tmp_path / "hostile.so"
    hostile.write_bytes(content)
    reading = tmp_path / "read.c"
    reading.write_text(
        '#include "elf_file.h"\n#include <fcntl.h>\n#include <stdio.h>\n'
        "static elf_file file; int main(int n, char **w) { (void)n;\n"
        'printf("%d\\n", (int)elf_read(open(w[1], O_RDONLY), &file)); return 0; }\n'
    )
    program = tmp_path / "read"
    folder = NATIVE / "auditwheel"
    argv = ["cc", f"-I{folder}", "-o", str(program), str(reading), str(folder / "elf_file.c")]
    subprocess.run(argv, check=True)
    done = subprocess.run([str(program), str(hostile)], capture_output=True, timeout=20, check=True)
    assert done.stdout == b"2\n", "malformed"
