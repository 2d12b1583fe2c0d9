"""The policy of `run` and `shell`, as data."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pypm.errors import IsolationError
from pypm.isolation import Caller, HostPort, RunOptions, explain, policy_facts, run_policy
from pypm.isolation.protection import PROTECTED
from pypm.isolation.variables import PASSED
from pypm.model.environment import Environment
from sandbox import Guarantee, Isolation, Limits, Mount, Network, Policy, Terminal
from tests.support.builds import empty_environment, interpreter_at


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A user with a home, a project in it, an interpreter in it, and a cache."""

    home: Path
    root: Path
    environment: Environment
    caller: Caller

    def policy(self, **options: object) -> Policy:
        return run_policy(self, self.environment, RunOptions(**options), self.caller)  # type: ignore[arg-type]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    home = tmp_path / "home"
    root = home / "project"
    cache = home / ".cache" / "pypm"
    (root / "src").mkdir(parents=True)
    (root / "pyproject.toml").touch()
    cache.mkdir(parents=True)
    environment = replace(
        empty_environment(root / ".venv", cache / "base"),
        interpreter=interpreter_at(home / ".pyenv" / "versions" / "3.11.7"),
    )
    variables = {
        "LANG": "C.UTF-8",
        "LC_TIME": "de_DE",
        "TOKEN": "secret",
        "PATH": "/evil",
        "PYTHONPATH": "/x",
    }
    caller = Caller(variables=variables, home=home, cache=cache)
    return Scene(home=home, root=root, environment=environment, caller=caller)


def binds(policy: Policy) -> dict[str, bool]:
    return {mount.target: mount.writable for mount in policy.mounts if mount.kind.value == "bind"}


def protected(policy: Policy, root: Path) -> set[str]:
    places = [mount.target for mount in policy.mounts if mount.kind.value == "protect"]
    return {str(Path(place).relative_to(root)) for place in places}


def position(policy: Policy, kind: str, target: Path) -> int:
    keys = [(mount.kind.value, mount.target) for mount in policy.mounts]
    return keys.index((kind, str(target)))


def test_by_default_only_the_project_is_writable_and_nothing_else_of_the_home_is_seen(scene: Scene) -> None:
    policy = scene.policy()
    assert binds(policy) == {
        str(scene.root): True,
        str(scene.home / ".pyenv" / "versions" / "3.11.7"): False,
    }
    assert policy.network == Network.NONE
    assert policy.terminal is Terminal.DETACHED
    assert policy.require == frozenset(Guarantee)
    assert policy.isolation is None
    assert policy.home == "/home/user"


def test_the_environment_is_an_overlay_of_the_stores_trees_mounted_last(scene: Scene) -> None:
    policy = scene.policy()
    layers = [str(layer) for layer in scene.environment.layers]
    assert policy.mounts[-1] == Mount.overlay(str(scene.root / ".venv"), layers)


def test_protected_files_are_protected_whether_they_exist_or_not(scene: Scene) -> None:
    names = protected(scene.policy(), scene.root)
    assert names == {str(entry.path) for entry in PROTECTED if entry.always} - {
        ".venv",  # the environment is mounted there
        *(
            ".git/hooks",
            ".git/config",
            ".git/config.worktree",
            ".git/info",
        ),  # below `.git`, closed as a whole
    }
    assert {"pyproject.toml", "pypm.lock", "pypm.lock.sig", ".git", ".envrc", ".vscode", ".github"} <= names


def test_no_bare_repository_can_be_planted_where_there_is_no_other(scene: Scene) -> None:
    assert "HEAD" in protected(scene.policy(), scene.root)
    (scene.root / ".git").mkdir()
    assert "HEAD" in protected(scene.policy(), scene.root), "an empty folder is no repository"
    (scene.root / ".git" / "HEAD").touch()
    assert "HEAD" not in protected(scene.policy(), scene.root), "git finds the real one first"


def test_a_grant_in_the_project_does_not_lead_out_of_it(scene: Scene) -> None:
    (scene.home / "secrets").mkdir()
    (scene.root / "data").symlink_to(scene.home / "secrets")
    for name in ("allow_read", "allow_write"):
        with pytest.raises(IsolationError, match="outside of it"):
            scene.policy(**{name: (scene.root / "data",)})
    assert str(scene.home / "secrets") in binds(scene.policy(allow_read=(scene.home / "secrets",)))


@pytest.mark.parametrize("name", ["Jenkinsfile", ".devcontainer.json", "lefthook.yml", ".vimrc"])
def test_rarer_protected_files_are_protected_where_they_exist(scene: Scene, name: str) -> None:
    assert scene.root / name in policy_facts(scene.root)
    (scene.root / name).touch()
    assert name in protected(scene.policy(), scene.root)
    assert scene.root / name not in policy_facts(scene.root)


def test_a_folder_is_masked_by_a_folder_and_a_file_by_a_file(scene: Scene) -> None:
    kinds = {Path(m.target).name: m.directory for m in scene.policy().mounts if m.kind.value == "protect"}
    assert kinds[".vscode"] and kinds[".git"] and not kinds[".envrc"] and not kinds["pypm.lock"]


def test_opening_git_for_commits_leaves_its_commands_closed(scene: Scene) -> None:
    (scene.root / ".git" / "hooks").mkdir(parents=True)
    names = protected(scene.policy(allow_write=(scene.root / ".git",)), scene.root)
    assert {".git/hooks", ".git/config", ".git/config.worktree", ".git/info"} <= names
    assert ".git" not in names


def test_editor_files_can_be_granted_by_name_but_not_by_a_folder_around_them(scene: Scene) -> None:
    (scene.root / ".vscode").mkdir()
    assert ".vscode" not in protected(scene.policy(allow_write=(scene.root / ".vscode",)), scene.root)
    assert ".vscode" in protected(scene.policy(allow_write=(scene.root,)), scene.root)


def test_pypm_files_stay_protected_even_when_granted(scene: Scene) -> None:
    policy = scene.policy(allow_write=(scene.root / "pyproject.toml",))
    bound = position(policy, "bind", scene.root / "pyproject.toml")
    assert position(policy, "protect", scene.root / "pyproject.toml") > bound


def test_read_only_closes_the_project_and_needs_no_stand_ins(scene: Scene) -> None:
    policy = scene.policy(read_only=True)
    assert binds(policy)[str(scene.root)] is False
    assert protected(policy, scene.root) == set()


def test_read_only_with_a_granted_folder_keeps_the_rest_closed(scene: Scene) -> None:
    policy = scene.policy(read_only=True, allow_write=(scene.root / "src",))
    assert binds(policy)[str(scene.root)] is False
    assert binds(policy)[str(scene.root / "src")] is True


def test_a_linked_name_leads_to_the_one_view_of_the_folder(scene: Scene) -> None:
    (scene.home / "shared").mkdir()
    (scene.home / "alias").symlink_to(scene.home / "shared")
    policy = scene.policy(allow_write=(scene.home / "alias",))
    assert binds(policy)[str(scene.home / "shared")] is True
    assert str(scene.home / "alias") not in binds(policy)
    assert Mount.symlink(str(scene.home / "alias"), str(scene.home / "shared")) in policy.mounts


def test_a_grant_below_the_home_is_found_below_the_home_inside(scene: Scene) -> None:
    (scene.home / ".netrc").touch()
    policy = scene.policy(allow_read=(scene.home / ".netrc",))
    assert Mount.symlink("/home/user/.netrc", str(scene.home / ".netrc")) in policy.mounts


def test_reading_the_whole_home_hides_nothing_and_opens_nothing(scene: Scene) -> None:
    policy = scene.policy(allow_read=(scene.home,))
    order = [mount.target for mount in policy.mounts]
    assert order.index(str(scene.home)) < order.index(str(scene.root))
    assert binds(policy) == {str(scene.home): False, str(scene.root): True}


def test_a_cache_inside_the_project_stays_read_only(scene: Scene) -> None:
    cache = scene.root / ".cache"
    cache.mkdir()
    caller = replace(scene.caller, cache=cache)
    policy = run_policy(scene, scene.environment, RunOptions(), caller)
    assert Mount.protect(str(cache), directory=True) in policy.mounts


def test_a_project_that_holds_the_home_is_refused(scene: Scene) -> None:
    caller = replace(scene.caller, home=scene.root / "src")
    with pytest.raises(IsolationError) as caught:
        run_policy(scene, scene.environment, RunOptions(), caller)
    assert caught.value.reference == "project-holds-home"
    assert caught.value.exit_code == 125


def test_an_interpreter_whose_prefix_is_the_home_shows_only_its_own_files(scene: Scene) -> None:
    environment = replace(scene.environment, interpreter=interpreter_at(scene.home))
    shown = binds(run_policy(scene, environment, RunOptions(), scene.caller))
    assert str(scene.home) not in shown
    assert shown[str(scene.home / "lib" / "python3.11")] is False
    assert shown[str(scene.home / "bin" / "python3.11")] is False


def test_only_listed_and_granted_variables_are_passed(scene: Scene) -> None:
    plain = dict(scene.policy().environment)
    assert plain["LANG"] == "C.UTF-8" and plain["LC_TIME"] == "de_DE"
    assert plain["VIRTUAL_ENV"] == str(scene.root / ".venv")
    assert plain["PATH"] == f"{scene.root / '.venv' / 'bin'}:/usr/local/bin:/usr/bin:/bin"
    assert "TOKEN" not in plain and "PYTHONPATH" not in plain and "HOME" not in plain
    assert plain["USER"] == plain["LOGNAME"] == "user"
    granted = dict(scene.policy(allow_env=("TOK*", "PATH", "MISSING")).environment)
    assert granted["TOKEN"] == "secret"
    assert granted["PATH"] == plain["PATH"], "the caller's PATH cannot replace the sandbox's"
    assert "MISSING" not in granted


def test_no_variable_that_is_passed_names_code(scene: Scene) -> None:
    assert not {"PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "PYTHONBREAKPOINT", "LD_PRELOAD"} & set(PASSED)


def test_network_limits_and_isolation(scene: Scene) -> None:
    hosts = (HostPort(host="example.com"), HostPort(host="example.org", port=8443))
    policy = scene.policy(allow_net=hosts, memory_bytes=1 << 30, pids=10, timeout_seconds=2.5)
    allowed = (("example.com", 443), ("example.com", 80), ("example.org", 8443))
    assert policy.network == Network.hosts(*allowed)
    assert policy.limits.memory_bytes == 1 << 30
    assert policy.limits.processes == 10
    assert policy.limits.wall_clock_seconds == 2.5
    assert scene.policy(allow_net=hosts, allow_all_net=True).network == Network.HOST
    weaker = scene.policy(isolation=Isolation.NONE, require=(Guarantee.ENVIRONMENT,))
    assert weaker.isolation is Isolation.NONE
    assert weaker.require == {Guarantee.ENVIRONMENT}


def test_every_limit_reaches_the_policy(scene: Scene) -> None:
    asked = {"timeout_seconds": 5.0, "memory_bytes": 1, "cpus": 0.5, "pids": 2, "cpu_seconds": 3}
    policy = scene.policy(**asked, file_size_bytes=4, output_bytes=6, tmp_size_bytes=7)
    assert policy.limits == Limits(
        wall_clock_seconds=5.0,
        memory_bytes=1,
        cpus=0.5,
        processes=2,
        cpu_seconds=3,
        file_size_bytes=4,
        output_bytes=6,
    )
    assert policy.temporary_size_bytes == 7
    assert scene.policy().limits == Limits()


def test_a_terminal_inside_is_made_only_for_a_terminal_outside(scene: Scene) -> None:
    caller = replace(scene.caller, terminal=True)
    assert run_policy(scene, scene.environment, RunOptions(), caller).terminal is Terminal.PTY


def test_a_worktree_shows_gits_folders_elsewhere_read_only(scene: Scene) -> None:
    common = scene.home / "main" / ".git"
    own = common / "worktrees" / "project"
    for folder in (own, common / "objects"):
        folder.mkdir(parents=True)
    for folder in (own, common):
        (folder / "HEAD").touch()
    (own / "commondir").write_text("../..\n")
    (scene.root / ".git").write_text(f"gitdir: {own}\n")
    assert str(common) not in binds(scene.policy()), "nothing says that the worktree is this one"
    (own / "gitdir").write_text(f"{scene.root / '.git'}\n")
    policy = scene.policy()
    assert binds(policy)[str(common)] is False
    assert Mount.protect(str(scene.root / ".git")) in policy.mounts


def test_a_git_file_that_points_at_secrets_is_not_believed(scene: Scene) -> None:
    (scene.home / ".ssh").mkdir()
    (scene.root / ".git").write_text(f"gitdir: {scene.home / '.ssh'}\n")
    assert str(scene.home / ".ssh") not in binds(scene.policy())


def test_a_submodule_shows_its_git_folder(scene: Scene) -> None:
    own = scene.root.parent / ".git" / "modules" / "project"
    (own / "objects").mkdir(parents=True)
    (own / "HEAD").touch()
    (scene.root / ".git").write_text("gitdir: ../.git/modules/project\n")
    (own / "config").write_text('[core]\n\tbare = false\n[remote "worktree"]\n\turl = x\n')
    assert str(own) not in binds(scene.policy())
    (own / "config").write_text(f"[core]\n\tbare = false\n\tworktree = ../../../{scene.root.name}\n")
    assert binds(scene.policy())[str(own)] is False


def test_sources_cannot_open_the_repository_of_another_project(scene: Scene) -> None:
    other = scene.home / "other" / ".git"
    (other / "objects").mkdir(parents=True)
    (other / "HEAD").touch()
    (other / "config").write_text("[core]\n\tbare = false\n")
    (scene.root / ".git").symlink_to(other)
    assert str(other) not in binds(scene.policy())
    (scene.root / ".git").unlink()
    (scene.root / ".git").write_text(f"gitdir: {other}\n")
    assert str(other) not in binds(scene.policy())
    # A folder of their own that claims to be a worktree of the other repository.
    own = scene.root / "own"
    own.mkdir()
    (own / "HEAD").touch()
    (own / "gitdir").write_text("../.git")
    (own / "commondir").write_text(str(other))
    (scene.root / ".git").write_text("gitdir: own\n")
    assert str(other) not in binds(scene.policy())


def test_a_tool_without_a_project_sees_no_folder_of_the_user(scene: Scene) -> None:
    environment = replace(scene.environment, location=Path("/pypm/tool"))
    policy = run_policy(None, environment, RunOptions(), scene.caller)
    assert list(binds(policy)) == [str(scene.home / ".pyenv" / "versions" / "3.11.7")]


def test_trees_of_editable_dependencies_are_read_only(scene: Scene) -> None:
    tree = scene.home / "library"
    tree.mkdir()
    policy = run_policy(scene, scene.environment, RunOptions(), scene.caller, trees=(tree,))
    assert binds(policy)[str(tree)] is False


def test_a_tree_that_became_a_link_is_not_followed(scene: Scene) -> None:
    """It was judged a moment ago; the sandbox refuses to mount what a link leads to."""
    tree = scene.root / "libs" / "own"
    tree.parent.mkdir()
    tree.symlink_to(scene.home)
    policy = run_policy(scene, scene.environment, RunOptions(), scene.caller, trees=(tree,))
    assert binds(policy)[str(tree)] is False
    assert str(scene.home) not in binds(policy)


GRANTABLE = (".", "src", ".git", ".vscode", ".github", "pyproject.toml", ".git/hooks", ".env", "..")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    writes=st.lists(st.sampled_from(GRANTABLE), max_size=4),
    reads=st.lists(st.sampled_from(GRANTABLE), max_size=4),
    read_only=st.booleans(),
)
def test_no_combination_of_grants_opens_what_decides_over_later_runs(
    scene: Scene, writes: list[str], reads: list[str], read_only: bool
) -> None:
    for folder in (".git/hooks", ".vscode", ".github"):
        (scene.root / folder).mkdir(parents=True, exist_ok=True)
    (scene.root / ".env").touch()
    write_paths = tuple((scene.root / name).resolve() for name in writes)
    read_paths = tuple((scene.root / name).resolve() for name in reads)
    policy = scene.policy(allow_write=write_paths, allow_read=read_paths, read_only=read_only)
    targets = [mount.target for mount in policy.mounts]
    assert len([t for t in targets if targets.count(t) > 1 and t not in protected_targets(policy)]) == 0
    for name in ("pyproject.toml", "pypm.lock", ".git/hooks", ".git/config"):
        assert not ends_writable(policy, scene.root / name), (name, writes, reads, read_only)


def protected_targets(policy: Policy) -> set[str]:
    return {mount.target for mount in policy.mounts if mount.kind.value == "protect"}


def ends_writable(policy: Policy, path: Path) -> bool:
    """What the last mount above the path says, as the kernel would have it."""
    writable = False
    for mount in policy.mounts:
        if path.is_relative_to(mount.target):
            writable = mount.kind.value == "bind" and mount.writable
    return writable


def test_explain_tells_everything_but_the_values_of_variables(scene: Scene) -> None:
    policy = scene.policy(allow_env=("TOKEN",), memory_bytes=1 << 30, allow_net=(HostPort(host="a.example"),))
    explanation = explain(policy)
    text = "\n".join(explanation.lines())
    plain = json.dumps(explanation.to_plain())
    assert "secret" not in text and "secret" not in plain
    assert "TOKEN" in text and "TOKEN" in plain
    assert f"write        {scene.root}" in text
    assert f"protected    {scene.root / 'pypm.lock'}" in text
    assert "loopback and a.example:443 a.example:80" in text
    assert len(explanation.to_plain()["mounts"]) == len(policy.mounts)
