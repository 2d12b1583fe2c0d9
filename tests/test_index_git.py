"""Commits of repositories: looked up, fetched once, and nothing of them runs."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from pypm.errors import ConfigurationError, IndexAccessError
from pypm.index.git import Repositories, bare
from pypm.model.project import VcsSource
from tests.support.git_server import serve_repositories

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.test", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """A repository with two commits: the tag `v1` with a message on the first, `main` on the second."""
    folder = tmp_path / "upstream"
    folder.mkdir()
    git(folder, "init", "--quiet")
    for number in ("one", "two"):
        (folder / "file").write_text(number)
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", number)
        if number == "one":
            git(folder, "tag", "--annotate", "--message", "first", "v1")
    return folder


def source(upstream: Path, revision: str | None = None, subdirectory: str | None = None) -> VcsSource:
    return VcsSource(kind="git", url=upstream.as_uri(), revision=revision, subdirectory=subdirectory)


@pytest.mark.parametrize(
    ("revision", "content"), [(None, "two"), ("main", "two"), ("v1", "one"), ("commit", "one")]
)
def test_revisions(tmp_path: Path, upstream: Path, revision: str | None, content: str) -> None:
    if revision == "commit":
        revision = git(upstream, "rev-parse", "v1^{commit}")
    repositories = Repositories(tmp_path / "git", offline=False)
    pinned = repositories.pinned(source(upstream, revision))
    tree = repositories.tree(pinned)
    assert (tree / "file").read_text() == content
    assert tree.name == pinned.commit == git(tree, "rev-parse", "HEAD")
    assert pinned.revision == revision


def test_a_commit_is_fetched_once_and_a_locked_one_stays(tmp_path: Path, upstream: Path) -> None:
    asked = source(upstream, "main")
    first = Repositories(tmp_path / "git", offline=False).pinned(asked)
    Repositories(tmp_path / "git", offline=False).tree(first)
    git(upstream, "commit", "--quiet", "--allow-empty", "--message", "three")
    assert first.commit is not None
    again = Repositories(tmp_path / "git", offline=False, locked={bare(asked): first.commit})
    assert again.pinned(asked) == first
    assert Repositories(tmp_path / "git", offline=False).pinned(asked) != first
    shutil.rmtree(upstream)
    assert (again.tree(first) / "file").read_text() == "two"


def test_a_commit_that_no_branch_leads_to(tmp_path: Path, upstream: Path) -> None:
    commit = git(upstream, "rev-parse", "HEAD")
    git(upstream, "reset", "--quiet", "--hard", "v1")
    git(upstream, "config", "uploadpack.allowAnySHA1InWant", "true")
    repositories = Repositories(tmp_path / "git", offline=False)
    assert (repositories.tree(repositories.pinned(source(upstream, commit))) / "file").read_text() == "two"


def test_what_is_not_there(tmp_path: Path, upstream: Path) -> None:
    repositories = Repositories(tmp_path / "git", offline=False)
    with pytest.raises(IndexAccessError, match="no branch, tag or commit `nowhere`"):
        repositories.pinned(source(upstream, "nowhere"))
    with pytest.raises(IndexAccessError):
        repositories.tree(replace(source(upstream), commit="0" * 40))
    with pytest.raises(ConfigurationError, match="no folder `below`"):
        repositories.tree(repositories.pinned(source(upstream, "main", "below")))
    assert not [path for path in (tmp_path / "git").rglob("*.tmp") if path.is_dir()]


@pytest.mark.parametrize(
    "url", ["ext::sh -c touch% pwned", "--upload-pack=x", "git://h/r", "http://h/r", "/srv/r"]
)
def test_other_protocols_are_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match="not the address"):
        Repositories(tmp_path / "git", offline=False).pinned(VcsSource(kind="git", url=url))


def test_nothing_of_a_repository_runs(
    tmp_path: Path, upstream: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    witness = tmp_path / "witness"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {witness}\ncat\n")
    program.chmod(0o755)
    # What a user's configuration, a template and the repository itself could bring along.
    home = tmp_path / "home"
    hooks = home / "template" / "hooks"
    hooks.mkdir(parents=True)
    (hooks / "post-checkout").symlink_to(program)
    (home / ".gitconfig").write_text(
        f"[init]\ntemplateDir = {home / 'template'}\n[core]\nhooksPath = {hooks}\nfsmonitor = {program}\n"
        f'[filter "x"]\nsmudge = {program}\nclean = {program}\n[protocol]\nallow = always\n'
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(home / "template"))
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", f"'core.hookspath={hooks}'")
    (upstream / ".gitattributes").write_text("file filter=x\n")
    (upstream / ".gitmodules").write_text(
        f'[submodule "s"]\n\tpath = s\n\turl = ext::{program}\n\tupdate = !{program}\n'
    )
    (upstream / "out").symlink_to("/etc")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    git(upstream, "-c", "core.hooksPath=/dev/null", "add", "file", ".gitattributes", "out")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    git(
        upstream,
        "-c",
        "core.hooksPath=/dev/null",
        "-c",
        "core.fsmonitor=false",
        "commit",
        "--quiet",
        "--message",
        "x",
    )
    witness.unlink(missing_ok=True)
    repositories = Repositories(tmp_path / "git", offline=False)
    tree = repositories.tree(repositories.pinned(source(upstream, "main")))
    assert (tree / "file").read_text() == "two"
    assert not witness.exists()
    with pytest.raises(ConfigurationError, match="no folder `out`"):
        repositories.tree(repositories.pinned(source(upstream, "main", "out")))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_a_server_over_tls_is_believed_when_its_authority_is_named(
    tmp_path: Path, upstream: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    with serve_repositories(upstream.parent, tmp_path) as (url, certificate):
        asked = VcsSource(kind="git", url=f"{url}/{upstream.name}/.git", revision="v1")
        with pytest.raises(IndexAccessError, match="could not be read"):
            Repositories(tmp_path / "git", offline=False).pinned(asked)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        repositories = Repositories(tmp_path / "git", offline=False)
        pinned = repositories.pinned(asked)
        assert (repositories.tree(pinned) / "file").read_text() == "one"
        for missing in (replace(asked, revision="v9"), replace(asked, url=f"{url}/none")):
            with pytest.raises(IndexAccessError):
                repositories.pinned(missing)
