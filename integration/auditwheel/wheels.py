"""The wheels: real ones from the index, the same under other names, and some that are compiled here."""

from __future__ import annotations

import base64
import hashlib
import platform
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

REAL = """
numpy==1.16.6                  manylinux1_x86_64      27  cp27mu
numpy==1.16.6                  manylinux1_i686        37  cp37m
scipy==1.5.4                   manylinux1_x86_64      38  cp38
markupsafe==1.1.1              manylinux1_x86_64      38  cp38
psycopg2-binary==2.8.6         manylinux1_x86_64      38  cp38
lxml==4.5.2                    manylinux1_x86_64      38  cp38
cryptography==3.2.1            manylinux2010_x86_64   35  abi3
grpcio==1.34.1                 manylinux2010_x86_64   38  cp38
numpy==1.19.5                  manylinux2010_x86_64   38  cp38
numpy==1.26.4                  manylinux2014_x86_64   311 cp311
numpy==1.26.4                  manylinux2014_aarch64  311 cp311
scipy==1.14.1                  manylinux_2_17_x86_64  311 cp311
pandas==2.2.3                  manylinux_2_17_x86_64  311 cp311
cffi==1.17.1                   manylinux_2_17_s390x   311 cp311
cffi==1.17.1                   manylinux_2_17_ppc64le 311 cp311
cffi==1.17.1                   manylinux_2_12_i686    311 cp311
pydantic-core==2.27.2          manylinux_2_17_armv7l  311 cp311
pyarrow==18.1.0                manylinux_2_28_x86_64  311 cp311
pyarrow==18.1.0                manylinux_2_28_aarch64 311 cp311
opencv-python-headless==4.10.0.84 manylinux_2_17_x86_64 37 abi3
shapely==2.0.6                 manylinux_2_17_x86_64  311 cp311
matplotlib==3.9.4              manylinux_2_17_x86_64  311 cp311
scikit-learn==1.5.2            manylinux_2_17_x86_64  311 cp311
numpy==2.3.2                   manylinux_2_28_x86_64  311 cp311
cryptography==45.0.5           manylinux_2_34_x86_64  311 abi3
cryptography==45.0.5           manylinux_2_28_x86_64  37  abi3
cryptography==45.0.5           manylinux_2_31_armv7l  37  abi3
psutil==6.1.1                  manylinux_2_12_x86_64  36  abi3
bcrypt==4.2.1                  musllinux_1_1_x86_64   39  abi3
bcrypt==4.2.1                  musllinux_1_2_aarch64  39  abi3
numpy==2.3.2                   musllinux_1_2_x86_64   311 cp311
pydantic-core==2.27.2          musllinux_1_1_x86_64   311 cp311
rpds-py==0.27.0                musllinux_1_2_i686     311 cp311
uv==0.8.0                      manylinux_2_17_x86_64  311 none
ruff==0.12.0                   musllinux_1_2_x86_64   311 none
cmake==3.31.2                  manylinux_2_17_x86_64  311 none
xgboost==2.1.3                 manylinux_2_28_x86_64  311 none
"""
"""Requirement, platform, version of Python, ABI."""

RETAGGED = (
    ("numpy-2.3.2-cp311-cp311-manylinux", "manylinux1_x86_64"),
    ("numpy-2.3.2-cp311-cp311-manylinux", "manylinux_2_17_x86_64"),
    ("numpy-2.3.2-cp311-cp311-manylinux", "manylinux_2_34_x86_64"),
    ("numpy-2.3.2-cp311-cp311-manylinux", "manylinux_2_28_aarch64"),
    ("numpy-2.3.2-cp311-cp311-manylinux", "musllinux_1_2_x86_64"),
    ("numpy-2.3.2-cp311-cp311-musllinux", "manylinux_2_28_x86_64"),
    ("numpy-1.26.4-cp311-cp311-manylinux_2_17_aarch64", "manylinux_2_17_x86_64"),
    ("cryptography-45.0.5-cp311-abi3-manylinux_2_34", "manylinux_2_28_x86_64"),
    ("cryptography-45.0.5-cp37-abi3-manylinux_2_28_armv7l", "manylinux_2_17_armv7l"),
    ("pyarrow-18.1.0-cp311-cp311-manylinux_2_28_x86_64", "manylinux_2_17_x86_64"),
    ("cffi-1.17.1-cp311-cp311-manylinux_2_17_s390x", "manylinux_2_28_s390x"),
    ("cffi-1.17.1-cp311-cp311-manylinux_2_12_i686", "manylinux_2_5_i686"),
    ("scipy-1.14.1", "manylinux_2_12_x86_64"),
    ("xgboost-2.1.3", "manylinux_2_17_x86_64"),
    ("lxml-4.5.2", "manylinux_2_5_i686"),
)
"""The beginning of a real wheel's name, and another tag."""

_COMPILED = {
    "plain": ("", ("manylinux_2_41", "manylinux_2_17", "manylinux1", "musllinux_1_2")),
    "newer": ("", ("manylinux_2_38", "manylinux_2_33", "manylinux2014")),
    "external": ("-lcurl", ("manylinux_2_41",)),
    "zlib": ("-lz", ("manylinux_2_41", "manylinux_2_17")),
    "cxx": ("-lstdc++", ("manylinux_2_41", "manylinux_2_12")),
}
"""Source file, flags, and the platforms that the result is said to be for."""

_SOURCES = {
    "plain": 'extern int puts(const char *); int use(void) { return puts("x"); }',
    # dlopen moved to libc.so.6 with glibc 2.34.
    "newer": "extern void *dlopen(const char *, int); void *use(void) { return dlopen(0, 1); }",
    "external": "extern void *curl_easy_init(void); void *use(void) { return curl_easy_init(); }",
    "zlib": "extern unsigned long crc32(unsigned long, const void *, unsigned);"
    "unsigned long use(void) { return crc32(0, 0, 0); }",
    "cxx": "extern void *__cxa_allocate_exception(unsigned long);"
    "void *use(void) { return __cxa_allocate_exception(8); }",
}


def download(python: Path, folder: Path) -> list[Path]:
    """Download the real wheels with pip; those that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    for line in REAL.strip().splitlines():
        requirement, tag, version, abi = line.split()
        if (folder / f"{requirement}-{tag}.done").exists():
            continue
        argv = [str(python), "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
        argv += ["--only-binary=:all:", "--implementation", "cp", "--python-version", version, "--abi", abi]
        subprocess.run([*argv, "--platform", tag, "-d", str(folder), requirement], check=True)
        (folder / f"{requirement}-{tag}.done").touch()
    return sorted(folder.glob("*.whl"))


def retagged(real: list[Path], folder: Path) -> Iterator[Path]:
    """Yield real wheels under tags that are not theirs."""
    for beginning, tag in RETAGGED:
        source = next(path for path in real if path.name.startswith(beginning))
        target = folder / f"{source.name.rpartition('-')[0]}-{tag}.whl"
        shutil.copyfile(source, target)
        yield target


def compiled(folder: Path) -> Iterator[Path]:
    """Yield wheels with one extension each, compiled and linked on this machine."""
    machine = platform.machine()
    for name, (flags, platforms) in _COMPILED.items():
        source, library = folder / f"{name}.c", folder / f"{name}.so"
        source.write_text(
            f"{_SOURCES[name]}\nvoid *PyInit_{name}(void);\nvoid *PyInit_{name}(void) {{ return 0; }}\n"
        )
        argv = ["cc", "-shared", "-fPIC", "-Wl,--no-as-needed", "-o", str(library), str(source)]
        done = subprocess.run([*argv, *flags.split()], check=False, capture_output=True)
        if done.returncode != 0:
            continue  # This machine lacks the library's headers or links.
        for tag in platforms:
            yield _wheel(folder, name, library.read_bytes(), f"{tag}_{machine}")
        yield _wheel(folder, name, library.read_bytes(), "any")


def _wheel(folder: Path, name: str, library: bytes, tag: str) -> Path:
    """Write a valid wheel."""
    python = "py3-none" if tag == "any" else "cp311-cp311"
    info = f"{name}-1.dist-info"
    files = {
        f"{name}.so": library,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n".encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {python}-{tag}\n".encode(),
    }
    rows = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for path, data in files.items()
    ]
    files[f"{info}/RECORD"] = "\n".join([*rows, f"{info}/RECORD,,", ""]).encode()
    target = folder / f"{name}-1-{python}-{tag}.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return target
