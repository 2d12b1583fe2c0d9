"""The user's shell, with a prompt that tells that one is inside.

A shell inside finds neither the user's configuration nor the system's, so each kind is told by its own means
to read none and how to prompt. What it keeps as history lies in the sandbox's own home and goes with it.

Source: bash(1), zsh(1) `-f`, dash(1) and ksh(1) `PS1`, fish(1) `--no-config`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from packaging.utils import NormalizedName

from pypm.workflow.context import Context

_VISIBLE = (Path("/usr"), Path("/bin"), Path("/sbin"))
"""Where the sandbox shows programs of the system."""
_FALLBACKS = (Path("/bin/bash"), Path("/bin/sh"))


def _bash(shell: str, name: str) -> tuple[str, ...]:
    # A deep folder is shortened to its last parts: the line is for what is typed.
    return ("env", "PROMPT_DIRTRIM=3", rf"PS1=({name}) sandbox:\w\$ ", shell, "--noprofile", "--norc")


def _zsh(shell: str, name: str) -> tuple[str, ...]:
    return ("env", f"PS1=({name}) sandbox:%3~%# ", shell, "-f")


def _posix(shell: str, name: str) -> tuple[str, ...]:
    return ("env", f"PS1=({name}) sandbox:$PWD$ ", shell)


def _fish(shell: str, name: str) -> tuple[str, ...]:
    prompt = f"function fish_prompt; echo -n '({name}) sandbox:'(prompt_pwd)'> '; end"
    return (shell, "--no-config", "--private", "--init-command", f"set -g fish_greeting; {prompt}")


_KINDS: Mapping[str, Callable[[str, str], tuple[str, ...]]] = {
    "bash": _bash,
    "zsh": _zsh,
    "fish": _fish,
    "sh": _posix,
    "dash": _posix,
    "ksh": _posix,
    "mksh": _posix,
}


def shell_words(context: Context, environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return the command line of the user's shell, or of another one where the sandbox does not show it.

    Which one is started in its place is told, for it is not what the user is used to.
    """
    wanted = environ.get("SHELL", "")
    shell = Path(wanted)
    if not is_usable(shell):
        shell = next((fallback for fallback in _FALLBACKS if is_usable(fallback)), _FALLBACKS[-1])
        if wanted:
            context.reporter.warn(f"`{wanted}` is no shell that the sandbox shows; `{shell}` is started")
    return command_line(shell, context.project.name)


def is_usable(shell: Path) -> bool:
    """Whether a shell is of a known kind and lies, behind all links, where the sandbox shows it."""
    if shell.name not in _KINDS or not shell.is_absolute():
        return False
    real = shell.resolve()
    return real.is_file() and all(
        any(path.is_relative_to(folder) for folder in _VISIBLE) for path in (shell, real)
    )


def command_line(shell: Path, name: NormalizedName) -> tuple[str, ...]:
    """Return how a shell of a known kind is started with a prompt for the project `name`."""
    return _KINDS[shell.name](str(shell), name)
