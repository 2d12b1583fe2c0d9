"""Write what pypm reads on the host later: the store, ready plans, its own code in one file, consents, settings.

An attacker who reads pypm's sources knows where each lies, and that a plan decides what is mounted next time.
Source: the XDG base directories; docs/architecture.md.
"""

import contextlib
import hashlib
import os
from pathlib import Path

from attempt import FACTS, denied, hidden, works

# What it plants in the sandbox's own memory would be found there by others.
ALONE = True
_PLANTED = "planted-by-escape"
_BEFORE = {}


def _fingerprint(folder):
    """What must stay: every file of the store, of the plans and of the code's bundle, but for new entries of runs."""
    digest = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and "scratch" not in path.parts:
            digest[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digest


def _code():
    from integration.peers import CHECKOUT

    return (CHECKOUT / "pypm", CHECKOUT / "sandbox")


def prepare(arena):
    cache = arena.place / "cache"
    kept = [str(path) for path in sorted(cache.iterdir()) if path.name != "scratch"]
    files = [str(path) for path in sorted(cache.rglob("*")) if path.is_file() and not path.is_symlink()][:40]
    config = [str(arena.home / name) for name in (".config/pypm", ".local/share/pypm/plugins", ".cache/pypm")]
    code = [str(folder) for folder in _code()]
    arena.facts(folders=[*kept, *config, *code], files=files)
    _BEFORE["store"] = {
        name: _fingerprint(cache / name) for name in os.listdir(cache) if name.startswith("store")
    }


def afterwards(arena):
    cache = arena.place / "cache"
    code = _code()
    found = [path for folder in (cache, arena.home, *code) for path in folder.rglob(f"*{_PLANTED}*")]
    yield "something planted in the cache or the home", bool(found)
    for name, before in _BEFORE.pop("store").items():
        now = _fingerprint(cache / name)
        yield (
            f"other bytes in {name}",
            any(now.get(path, digest) != digest for path, digest in before.items()),
        )


def _writable(path):
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def inside():
    hidden("files of it that can be written", lambda: [path for path in FACTS["files"] if _writable(path)])
    denied(
        "chmod of one", lambda: [os.chmod(path, 0o666) for path in FACTS["files"] if os.path.exists(path)][0]
    )
    # Where these folders are not shown, this makes others of their names in the sandbox's own memory.
    for folder in map(Path, FACTS["folders"]):
        for action in (
            lambda folder=folder: (folder / _PLANTED).write_text("x"),
            lambda folder=folder: os.makedirs(folder / _PLANTED / "folder"),
            lambda folder=folder: os.rename(folder, f"{folder}-{_PLANTED}"),
            lambda folder=folder: os.symlink("/tmp", folder),
        ):
            with contextlib.suppress(OSError):
                action()
    works("a cache of one's own", lambda: (Path.home() / ".cache").mkdir(exist_ok=True) is None)
