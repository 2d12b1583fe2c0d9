"""Files of a project that a run may read but never write: each decides what runs later, outside the sandbox.

A payload that could write one of them would not have to break out: it would wait to be let out by the next
`git commit`, the next `cd`, the next editor window or the next push. Source files, `Makefile`, `tox.ini`,
`noxfile.py` and `conftest.py` are not in the table: they are the project's own program, a developer reviews
and starts them knowingly, and code generators write beside them.

Git's folder is closed as a whole, not only its hooks and configuration: a file `commondir` in it would lead
git to another folder with another configuration, and an empty stand-in for it would break git on the host.
Who opens `.git` for commits with `allow-write` leaves that one way open; hooks and configuration stay closed.

What the table cannot cover is a repository planted below the root (`src/.git`): git finds it when somebody
works inside that folder. `git config --global safe.bareRepository explicit` covers the bare half of it.
At the root itself no `HEAD` can be planted, without which a folder is no bare repository.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Protected:
    """One path below the project's root that stays as it is, whether it exists or not."""

    path: PurePosixPath
    reason: str
    always: bool
    """Whether it is protected where it does not exist, too. That takes an empty stand-in on the disk for as
    long as the run lasts, so it is done for what is started without anybody having looked at it."""
    folder: bool
    """What stands in for it where it does not exist: an empty folder or an empty file."""
    grantable: bool
    """Whether `allow-write` may name it. Never for what decides over pypm's own runs."""


Owner = Literal["pypm", "git", "git/", "shell", "editor", "ci"]

_TABLE: tuple[tuple[Owner, str, str], ...] = (
    # Owner, path (with a slash at its end: a folder), reason.
    ("pypm", "pyproject.toml", "decides what is installed and what the sandbox allows"),
    ("pypm", "pypm.lock", "decides which bytes are installed"),
    ("pypm", "pypm.lock.sig", "vouches for the lock"),
    ("pypm", ".venv/", "editors and shells run its interpreter and scripts outside"),
    (
        "git/",
        ".git/",
        "references, and everything below that is a command; `allow-write` opens it for commits",
    ),
    ("git", ".git/hooks/", "git runs them at commit, checkout and push"),
    ("git", ".git/config", "`core.fsmonitor`, `core.pager`, filters and aliases are commands"),
    ("git", ".git/config.worktree", "read like `.git/config` where worktree settings are on"),
    ("git", ".git/info/", "its attributes choose filters, which are commands"),
    ("git", ".git/modules/", "configuration and hooks of submodules"),
    ("git", ".git/worktrees/", "configuration of further worktrees"),
    ("git", "HEAD", "makes the folder itself a repository where there is no `.git`"),
    ("git", ".pre-commit-config.yaml", "its hooks run at commit"),
    ("git", "lefthook.yml", "its hooks run at commit"),
    ("git", ".lefthook.yml", "its hooks run at commit"),
    ("git/", ".githooks/", "hooks that `core.hooksPath` usually names"),
    ("git/", ".husky/", "its hooks run at commit"),
    ("shell", ".envrc", "direnv runs it on entering the folder"),
    ("shell", ".env", "editors and task runners load it into processes outside, `PATH` included"),
    ("shell", ".python-version", "chooses the interpreter that runs outside"),
    ("shell", ".tool-versions", "chooses the interpreter that runs outside"),
    ("shell", "mise.toml", "runs hooks and sets variables on entering the folder"),
    ("shell", ".mise.toml", "runs hooks and sets variables on entering the folder"),
    ("shell", "mise.local.toml", "runs hooks and sets variables on entering the folder"),
    ("shell", ".mise.local.toml", "runs hooks and sets variables on entering the folder"),
    ("shell", ".mise/", "runs hooks and sets variables on entering the folder"),
    ("editor", ".vscode/", "its tasks, settings and launchers are commands"),
    ("editor", ".idea/", "its run configurations and file watchers are commands"),
    ("editor", ".zed/", "its tasks and language servers are commands"),
    ("editor", ".cursor/", "its servers and hooks are commands"),
    ("editor", ".devcontainer/", "its life-cycle hooks are commands, its mounts are the host's"),
    ("editor", ".devcontainer.json", "its life-cycle hooks are commands, its mounts are the host's"),
    ("editor", ".mcp.json", "its servers are commands"),
    ("editor", ".exrc", "vim runs it where `exrc` is set"),
    ("editor", ".vimrc", "vim runs it where `exrc` is set"),
    ("editor", ".nvimrc", "neovim runs it where `exrc` is set"),
    ("editor", ".nvim.lua", "neovim runs it where `exrc` is set"),
    ("ci", ".github/", "workflows run with the repository's secrets"),
    ("ci", ".gitlab-ci.yml", "jobs run with the repository's secrets"),
    ("ci", ".circleci/", "jobs run with the repository's secrets"),
    ("ci", ".travis.yml", "jobs run with the repository's secrets"),
    ("ci", ".forgejo/", "workflows run with the repository's secrets"),
    ("ci", ".gitea/", "workflows run with the repository's secrets"),
    ("ci", ".woodpecker/", "jobs run with the repository's secrets"),
    ("ci", ".buildkite/", "jobs run with the repository's secrets"),
    ("ci", ".ci/", "scripts that a build server runs"),
    ("ci", ".drone.yml", "jobs run with the repository's secrets"),
    ("ci", ".cirrus.yml", "jobs run with the repository's secrets"),
    ("ci", ".appveyor.yml", "jobs run with the repository's secrets"),
    ("ci", "appveyor.yml", "jobs run with the repository's secrets"),
    ("ci", "azure-pipelines.yml", "jobs run with the repository's secrets"),
    ("ci", "bitbucket-pipelines.yml", "jobs run with the repository's secrets"),
    ("ci", "Jenkinsfile", "jobs run with the repository's secrets"),
)

BARE_MARKER = PurePosixPath("HEAD")
"""What git takes a folder without `.git` for a repository by."""

_ALWAYS = frozenset(
    {
        *("pyproject.toml", "pypm.lock", "pypm.lock.sig", ".venv"),
        *(
            ".git",
            ".git/hooks",
            ".git/config",
            ".git/config.worktree",
            ".git/info",
            "HEAD",
            ".pre-commit-config.yaml",
        ),
        *(".envrc", ".env", ".python-version", ".vscode", ".idea", ".github", ".gitlab-ci.yml", ".circleci"),
    }
)

PROTECTED = tuple(
    Protected(
        path=PurePosixPath(path),
        reason=reason,
        always=path.rstrip("/") in _ALWAYS,
        folder=path.endswith("/"),
        grantable=owner not in ("pypm", "git"),
    )
    for owner, path, reason in _TABLE
)
"""The whole table, in the order in which it is mounted."""
