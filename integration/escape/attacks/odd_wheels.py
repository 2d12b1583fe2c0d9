"""Build wheels that are none: links, FIFOs, paths that lead out, names that lie, programs called `python`.

What a build returns is the one thing that pypm reads on the host afterwards.
Source: PEP 427, zip slip; CVE-2007-4559 for archives; PEP 517 for the name that is returned.
"""

import os
import shutil
import subprocess
from pathlib import Path

from attempt import works

WAYS = ("editable",)
_BACKEND = """\
import base64, hashlib, os, zipfile
MODE, AIM = {mode!r}, {aim!r}
NAME = "evil-VERSION-py3-none-any.whl"

def make(path, extra=(), links=()):
    files = {{"evil.py": b"x = 1\\n", "evil-VERSION.dist-info/METADATA": b"Metadata-Version: 2.1\\nName: evil\\nVersion: VERSION\\n",
             "evil-VERSION.dist-info/WHEEL": b"Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"}}
    files.update(extra)
    record = "".join(f"{{n}},sha256={{base64.urlsafe_b64encode(hashlib.sha256(c).digest()).rstrip(b'=').decode()}},{{len(c)}}\\n" for n, c in files.items())
    files["evil-VERSION.dist-info/RECORD"] = (record + "evil-VERSION.dist-info/RECORD,,\\n").encode()
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in files.items():
            item = zipfile.ZipInfo(name)
            item.external_attr = (0o120777 if name in links else 0o104755 if MODE == "set-user-id" else 0o100644) << 16
            wheel.writestr(item, content)

def build_wheel(folder, *_, **__):
    path = os.path.join(folder, NAME)
    S = b"#!python\\nprint(1)\\n"
    if MODE == "link": os.symlink(AIM + "/secret", path)
    elif MODE == "link to a folder": os.symlink(AIM, path)
    elif MODE == "fifo": os.mkfifo(path)
    elif MODE == "folder": os.mkdir(path)
    elif MODE == "sparse": os.truncate(os.open(path, os.O_CREAT | os.O_RDWR), 1 << 42)
    elif MODE == "name leads out": make(path); return "../../../../" + NAME
    elif MODE == "absolute name": make(path); return AIM + "/" + NAME
    elif MODE == "entry leads out": make(path, {{"../../../../../.." + AIM + "/planted": b"x", "../planted": b"x"}})
    elif MODE == "absolute entry": make(path, {{AIM + "/planted": b"x"}})
    elif MODE == "data leads out": make(path, {{"evil-VERSION.data/data/../../../../../../.." + AIM + "/planted": b"x"}})
    elif MODE == "link entry": make(path, {{"evil_link": AIM.encode(), "evil_link/planted": b"x"}}, ("evil_link",))
    elif MODE == "python script": make(path, {{"evil-VERSION.data/scripts/python": S, "evil-VERSION.data/scripts/activate": S}})
    elif MODE == "python entry point": make(path, {{"evil-VERSION.dist-info/entry_points.txt": b"[console_scripts]\\npython = evil:x\\npython3 = evil:x\\n../../../planted = evil:x\\n"}})
    elif MODE == "data overwrites": make(path, {{"evil-VERSION.data/data/bin/python": S, "evil-VERSION.data/data/pyvenv.cfg": b"home = /tmp\\n", "evil-VERSION.data/data/bin/activate": S}})
    elif MODE == "set-user-id": make(path, {{"evil-VERSION.data/scripts/tool": S}})
    elif MODE == "ordinary": make(path)
    return NAME

build_editable = build_wheel
"""
_MODES = (
    "link",
    "link to a folder",
    "fifo",
    "folder",
    "sparse",
    "name leads out",
    "absolute name",
    "entry leads out",
    "absolute entry",
    "data leads out",
    "link entry",
    "python script",
    "python entry point",
    "data overwrites",
    "set-user-id",
    "ordinary",
)


def outside(arena, way):
    from integration.escape.ways import BUILT

    shown = b""
    aim = arena.place / "outside"
    before = sorted(os.listdir(aim))
    for version, mode in enumerate(_MODES):
        project = arena.place / "odd"
        project.mkdir()
        (project / "backend.py").write_text(
            _BACKEND.format(mode=mode, aim=str(aim)).replace("VERSION", str(version))
        )
        # A version of its own, so that no kept build of the mode before answers.
        (project / "pyproject.toml").write_text(BUILT.format(name="evil", version=version))
        if arena.user:
            subprocess.run(["chown", "-R", f"{arena.user}:", str(project)], check=True)
        arena.host([*arena.pypm, "lock"], cwd=project)
        done = arena.host([*arena.pypm, "sync"], cwd=project)
        venv, found = project / ".venv", []
        if sorted(os.listdir(aim)) != before or any(arena.place.glob("planted")):
            found.append("planted outside")
        python = venv / "bin" / "python"
        if python.exists() and b"ELF" not in python.read_bytes()[:4]:
            found.append("replaced bin/python")
        for name in ("bin/activate", "pyvenv.cfg"):
            if (venv / name).exists() and (
                "#!python" in (venv / name).read_text() or "home = /tmp\n" in (venv / name).read_text()
            ):
                found.append(f"replaced {name}")
        for path in venv.rglob("*") if venv.exists() else ():
            if path.is_symlink() and str(Path(os.path.realpath(path))).startswith(str(aim)):
                found.append(f"link {path.name}")
            elif not path.is_symlink() and path.is_file() and path.stat().st_mode & 0o6000:
                found.append(f"set-id {path.name}")
            elif (
                path.is_file() and path.name.startswith("evil") and arena.token.encode() in path.read_bytes()
            ):
                found.append("the secret in the store")
        if done.returncode == -9:
            found.append("hangs")
        if b"Traceback" in done.stdout and b"could not be built" not in done.stdout:
            found.append("a traceback")
        said = done.stdout.replace(b"\n", b" ").replace(b"|", b" ")[:150]
        if mode == "ordinary":
            shown += b"@%s|an ordinary wheel|%s\n" % (b"works" if done.returncode == 0 else b"broken", said)
        else:
            shown += b"@%s|%s|%s\n" % (
                b"escaped" if found else b"denied",
                mode.encode(),
                (", ".join(found) + " ").encode() + said,
            )
        shutil.rmtree(project)
    return shown + b"@done||\n"


def inside():
    works("nothing", lambda: True)
