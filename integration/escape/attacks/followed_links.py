"""Leave links where the host writes later, and exchange folders for links while it is about to.

A user asks pypm for a file in the project: what a run used, the lock as other tools read it. Whoever follows a
link that the run has put there writes over any file of the user's.
Source: symlink(7), CWE-59; the swapped component of CVE-2019-16884.
"""

import os

from attempt import FACTS, PROJECT, works

WAYS = ("run",)


def outside(arena, way):
    aim = arena.place / "outside" / "aim"
    aim.mkdir(exist_ok=True)
    kept = aim / "kept"
    kept.write_text("as it was")
    folder = arena.project / "src" / "out"
    folder.mkdir(exist_ok=True)
    if arena.user:
        for path in (aim, kept, folder):
            os.system(f"chown {arena.user}: {path}")
    arena.facts(aim=str(aim))
    command = way.command(["followed_links"], ("--stats-file", "src/out/told.json"))
    printed = arena.host(command, cwd=arena.project).stdout
    bad = sorted(os.listdir(aim)) != ["kept"]
    printed += _verdict(bad, "a folder that became a link meanwhile")
    for name, words in {
        "what a run used": ["run", "--stats-file", "src/told.json", "true"],
        "the lock for other tools": ["export", "--output", "src/requirements.txt"],
    }.items():
        done = arena.host([*arena.pypm, *words], cwd=arena.project)
        bad = kept.read_text() != "as it was"
        printed += _verdict(bad, f"{name}, through a link")
        file = arena.project / words[2]
        ok = done.returncode == 0 and file.is_file() and not file.is_symlink()
        printed += b"@%s|%s, in its place|status %d\n" % (
            b"works" if ok else b"broken",
            name.encode(),
            done.returncode,
        )
        file.unlink(missing_ok=True)
    (arena.project / "src" / "out").unlink()
    return printed


def _verdict(bad, name):
    return f"@{'escaped' if bad else 'denied'}|{name}|seen from outside\n".encode()


def inside():
    sources = PROJECT / "src"
    for name in ("told.json", "requirements.txt"):
        (sources / name).symlink_to(FACTS["aim"] + "/kept")
    (sources / "out").rename(sources / "moved")
    (sources / "out").symlink_to(FACTS["aim"])
    works("planting links", lambda: (sources / "out").is_symlink())
