"""Plant a compiled module in another project of the victim's, by an editable dependency on it.

The attacker wrote a project that was just cloned, with an index of its own. What `../private` needs to be built
comes from there, and puts a module beside the sources that it was given a copy of. An editable build brings
modules home, so nothing has to break out: the victim imports this one later, outside of any sandbox.
Source: `[tool.pypm.sources]`, PEP 660, a lock that was written by hand.
"""

import shutil
import subprocess

from attempt import works

WAYS = ("run",)
_PRIVATE = '[project]\nname = "private"\nversion = "1"\nrequires-python = ">=3.10"\n' + (
    '[build-system]\nrequires = ["maker"]\nbuild-backend = "maker"\n'
)
_CLONE = (
    '[project]\nname = "clone"\nversion = "1"\nrequires-python = ">=3.10"\ndependencies = ["private"]\n'
    '[[tool.pypm.index]]\nname = "files"\nurl = "{wheels}"\nformat = "flat"\ndefault = true\n'
    "[tool.pypm.sources]\nprivate = {source}\n"
)
_EDITABLE = '{ path = "../private", editable = true }'
_NAMED = {
    "a path": '{ path = "../private" }',
    "an editable path": _EDITABLE,
    "a repository": '{ git = "file://{place}/private" }',
}
_RUN = ("run", "python", "-c", "import private; print(private.SECRET)")


def outside(arena, way):
    private, clone = arena.place / "private", arena.place / "clone"
    shown = b""
    try:
        _private(arena, private)
        for name, source in _NAMED.items():
            _clone(arena, clone, source, plants=False)
            told = _typed(arena, clone)
            shown += _verdict("works" if arena.token.encode() in told else "broken", name, told)
        module = private / "planted.so"
        _clone(arena, clone, _EDITABLE, plants=True)
        told = _typed(arena, clone)
        shown += _verdict("escaped" if module.exists() else "denied", "a module in another project", told)
        # What the attacker's file names no more, its lock names still.
        named = (clone / "pyproject.toml").read_text()
        (clone / "pyproject.toml").write_text(named.partition("[tool.pypm.sources]")[0])
        told = _typed(arena, clone, ("sync", "--frozen"), ("run", "--frozen", "true"))
        shown += _verdict("escaped" if module.exists() else "denied", "a module by the lock alone", told)
        (clone / "pyproject.toml").write_text(named)
        arena.must([*arena.pypm, "trust", "--yes"], cwd=clone)
        told = _typed(arena, clone)
        shown += _verdict("works" if module.exists() else "broken", "with the user's consent", told)
        module.unlink(missing_ok=True)
        arena.must([*arena.pypm, "trust", "--revoke"], cwd=clone)
        told = _typed(arena, clone, ("sync", "--no-cache"))
        shown += _verdict("escaped" if module.exists() else "denied", "after it was revoked", told)
    finally:
        shutil.rmtree(private, ignore_errors=True)
        shutil.rmtree(clone, ignore_errors=True)
    return shown + b"@done||\n"


def _typed(arena, clone, *commands):
    """What the victim types in the clone, and what was printed."""
    commands = commands or (["lock"], ["sync"], _RUN)
    return b"".join(arena.host([*arena.pypm, *words], cwd=clone).stdout for words in commands)


def _verdict(verdict, name, told):
    tail = " ".join(told[-160:].decode("utf-8", "replace").replace("|", " ").split())
    return f"@{verdict}|{name}|{tail}\n".encode()


def _private(arena, folder):
    """Make a project of the victim's, and a repository, for those who name it so."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(_PRIVATE)
    (folder / "private.py").write_text(f"SECRET = {arena.token!r}\n")
    subprocess.run(["git", "init", "-q", str(folder)], check=False)
    subprocess.run(["git", "-C", str(folder), "add", "."], check=False)
    signed = ["-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "-qm", "x"]
    subprocess.run(["git", "-C", str(folder), *signed], check=False)
    _give(arena, folder)


def _clone(arena, folder, source, *, plants):
    """Clone the attacker's project, with an index of another address, for builds are remembered by that."""
    shutil.rmtree(folder, ignore_errors=True)
    wheels = folder / ("planting" if plants else "harmless")
    wheels.mkdir(parents=True)
    text = _CLONE.replace("{source}", source).replace("{wheels}", wheels.name)
    (folder / "pyproject.toml").write_text(text.replace("{place}", str(arena.place)))
    maker = _MAKER.replace("PLANTS", str(plants))
    exec(compile(maker, "maker", "exec"), made := {})
    made["pack"](str(wheels / "maker-1-py3-none-any.whl"), "maker", "1", {"maker.py": maker})
    _give(arena, folder)


def _give(arena, folder):
    if arena.user:
        subprocess.run(["chown", "-hR", f"{arena.user}:", str(folder)], check=True)


_MAKER = """\
import base64, hashlib, os, zipfile

def pack(path, name, version, files):
    info = f"{name}-{version}.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    record = f"{info}/RECORD,,\\n"
    for each, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{each},sha256={digest},{len(text)}\\n"
    with zipfile.ZipFile(path, "w") as wheel:
        for each, text in {**files, f"{info}/RECORD": record}.items():
            wheel.writestr(each, text)

def build_wheel(folder, *_, **__):
    return private(folder, {"private.py": open("private.py").read()})

def build_editable(folder, *_, **__):
    if PLANTS:
        open("planted.so", "w").write("the attacker's")
    return private(folder, {"private.pth": os.getcwd() + "\\n"})

def private(folder, files):
    name = "private-1-py3-none-any.whl"
    pack(os.path.join(folder, name), "private", "1", files)
    return name
"""


def inside():
    works("nothing", lambda: True)
