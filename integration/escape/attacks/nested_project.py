"""Plant a project below the project, whose table grants what the outer one never did.

It is found when somebody works in that folder and types the same command.
Source: the search for `pyproject.toml` goes upwards from the working directory.
"""

from attempt import works

WAYS = ("run",)


def outside(arena, way):
    table = f'[project]\nname = "nested"\nversion = "0"\nrequires-python = ">=3.10"\n[tool.pypm.sandbox.run]\nallow-read = ["{arena.place}/outside"]\n'
    script = f"mkdir -p src/nested; cat > src/nested/pyproject.toml <<'EOF'\n{table}EOF\n"
    arena.host([*arena.pypm, "run", "sh", "-c", script], cwd=arena.project)
    nested = arena.project / "src" / "nested"
    arena.host([*arena.pypm, "lock"], cwd=nested)
    done = arena.host([*arena.pypm, "run", "cat", str(arena.place / "outside" / "secret")], cwd=nested)
    bad = arena.token.encode() in done.stdout
    for path in (nested / "pyproject.toml", nested / "pypm.lock"):
        path.unlink(missing_ok=True)
    shown = b"@%s|a grant of the planted project|%s\n" % (
        b"escaped" if bad else b"denied",
        done.stdout[-150:].replace(b"\n", b" "),
    )
    return shown + way.enter(["nested_project"])


def inside():
    works("the outer project", lambda: True)
