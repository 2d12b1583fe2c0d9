"""Depend on another project of the victim's, by a path out of your own.

The attacker wrote a project that was just cloned. Its `../private` is copied into a build, seen by its runs, and
an editable one is given the modules that the build made: by build requirements from an index that the attacker
names, too. Nothing has to break out, so it must wait for the user's word.
Source: `[tool.pypm.sources]`, `name @ file:///...` (PEP 508), a lock that was written by hand.
"""

import shutil
import subprocess

from attempt import works

WAYS = ("run",)
_PRIVATE = '[project]\nname = "private"\nversion = "1"\nrequires-python = ">=3.10"\n' + (
    '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
)
_CLONE = (
    '[project]\nname = "clone"\nversion = "1"\nrequires-python = ">=3.10"\ndependencies = ["private%s"]\n'
)
_BY = {
    "a path": ("", '[tool.pypm.sources]\nprivate = { path = "../private" }\n'),
    "an editable path": ("", '[tool.pypm.sources]\nprivate = { path = "../private", editable = true }\n'),
    "an address": (" @ file://{place}/private", ""),
    "a repository": ("", '[tool.pypm.sources]\nprivate = { git = "file://{place}/private" }\n'),
    "a link": ("", '[tool.pypm.sources]\nprivate = { path = "inner" }\n'),
}
_RUN = ("run", "python", "-c", "import private; print(private.SECRET)")


def outside(arena, way):
    private, clone = arena.place / "private", arena.place / "clone"
    shown = b""
    _private(arena, private)
    try:
        for name, (address, table) in _BY.items():
            clone.mkdir()
            (clone / "inner").symlink_to(private)
            text = (_CLONE % address + table).replace("{place}", str(arena.place))
            (clone / "pyproject.toml").write_text(text)
            _give(arena, clone)
            printed = b""
            for words in (["lock"], ["sync"], _RUN):
                printed += arena.host([*arena.pypm, *words], cwd=clone).stdout
            bad = (clone / "pypm.lock").exists() or arena.token.encode() in printed or b"Building" in printed
            tail = " ".join(printed.decode("utf-8", "replace").replace("|", " ").split())[:120]
            shown += f"@{'escaped' if bad else 'denied'}|{name} out of the project|{tail}\n".encode()
            if name == "an editable path":
                arena.must([*arena.pypm, "trust", "--yes"], cwd=clone)
                told = arena.host([*arena.pypm, *_RUN], cwd=clone).stdout
                ok = arena.token.encode() in told
                shown += f"@{'works' if ok else 'broken'}|with the user's consent|{told[-120:]!r}\n".encode()
                arena.must([*arena.pypm, "trust", "--revoke"], cwd=clone)
                told = arena.host([*arena.pypm, *_RUN], cwd=clone).stdout
                bad = arena.token.encode() in told
                shown += f"@{'escaped' if bad else 'denied'}|after it was revoked|{told[-120:]!r}\n".encode()
            shutil.rmtree(clone)
    finally:
        shutil.rmtree(private)
        shutil.rmtree(clone, ignore_errors=True)
    return shown + b"@done||\n"


def _private(arena, folder):
    """A project of the victim's, and a repository, for those who name it so."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(_PRIVATE)
    (folder / "private.py").write_text(f"SECRET = {arena.token!r}\n")
    (folder / "backend.py").write_text(_BACKEND)
    subprocess.run(["git", "init", "-q", str(folder)], check=False)
    subprocess.run(["git", "-C", str(folder), "add", "."], check=False)
    signed = ["-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "-qm", "x"]
    subprocess.run(["git", "-C", str(folder), *signed], check=False)
    _give(arena, folder)


def _give(arena, folder):
    if arena.user:
        subprocess.run(["chown", "-hR", f"{arena.user}:", str(folder)], check=True)


_BACKEND = """\
import base64, hashlib, os, zipfile

def build_wheel(folder, *_, **__):
    files = {
        "private.py": open("private.py").read(),
        "private-1.dist-info/METADATA": "Metadata-Version: 2.1\\nName: private\\nVersion: 1\\n",
        "private-1.dist-info/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    record = "private-1.dist-info/RECORD,,\\n"
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{path},sha256={digest},{len(text)}\\n"
    files["private-1.dist-info/RECORD"] = record
    with zipfile.ZipFile(os.path.join(folder, "private-1-py3-none-any.whl"), "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return "private-1-py3-none-any.whl"

build_editable = build_wheel
"""


def inside():
    works("nothing", lambda: True)
