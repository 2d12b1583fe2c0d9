"""A git repository that starts a program as soon as git obeys it."""

from __future__ import annotations

from pathlib import Path

from attempt import PLACE


def plant(folder: str, mark: str) -> str:
    """Make it in this folder of the sources, to leave a mark beside the project; return what it says."""
    nested = PLACE / folder / ".git"
    marker = Path(__file__).resolve().parents[2] / mark
    for name in ("objects", "refs/heads"):
        (nested / name).mkdir(parents=True, exist_ok=True)
    (nested / "HEAD").write_text("ref: refs/heads/main\n")
    (nested / "config").write_text(
        f'[core]\n\trepositoryformatversion = 0\n\tfsmonitor = "touch {marker}; false"\n'
    )
    return (nested / "config").read_text()
