"""What a project grants itself, and that it counts with its user's consent alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import sandbox
from pypm.errors import ConfigurationError, PypmError, UsageError
from pypm.isolation import RunOptions
from pypm.workflow.context import Context
from pypm.workflow.grants import build_options, granted, run_options
from pypm.workflow.report import SilentReporter
from pypm.workflow.settings import Overrides, load_settings
from pypm.workflow.trust import (
    ConsentError,
    asked_for,
    digest_of_all,
    give_consent,
    withdraw_consent,
)
from sandbox import Isolation

CHECKOUT = Path(__file__).resolve().parent.parent
PROJECT = '[project]\nname = "{name}"\nversion = "0"\nrequires-python = ">=3.10"\n'
needs_namespaces = pytest.mark.skipif(
    not sandbox.probe().namespaces, reason=f"no sandbox on this machine: {sandbox.probe().cause}"
)

BEYOND = {
    "hosts": 'allow-net = ["evil.example.com"]',
    "the network": "allow-net = true",
    "a private network": 'allow-net = ["example.com", "10.0.0.0/8"]',
    "a file of the home": 'allow-read = ["~/.ssh"]',
    "a folder beside": 'allow-read = ["../beside"]',
    "a link that leads out": 'allow-read = ["way-out"]',
    "writing elsewhere": 'allow-write = ["~/.ssh"]',
    "writing what an editor runs": 'allow-write = [".vscode"]',
    "a variable": 'allow-env = ["TOKEN"]',
    "variables": 'allow-env = ["AWS_*"]',
    "a device": 'allow-device = ["/dev/fuse"]',
    "weaker isolation": 'isolation = "landlock"',
    "a larger /tmp": 'tmp-size = "100G"',
}
WITHIN = {
    "fewer processes": "pids = 10",
    "less memory": 'memory = "1G"\ncpus = 1\ntimeout = "1m"\noutput = "1M"\nfile-size = "90G"',
    "a smaller /tmp": 'tmp-size = "1M"',
    "nothing at all": "allow-env = []\nallow-net = []\nallow-read = []",
    "no network": "allow-net = false",
    "its own files": 'allow-read = ["data"]\nallow-write = ["data"]',
    "read-only": 'read-only = true\nallow-write = ["data"]',
    "what is passed anyway": 'allow-env = ["LANG", "LC_*", "LC_ALL"]',
    "the strongest isolation": 'isolation = "namespaces"',
}


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A user with a home and settings, beside the projects that they work on."""

    place: Path

    def project(
        self, name: str, table: str = "", *, folder: Path | None = None, profile: str = "run"
    ) -> Path:
        root = folder or self.place / "home" / "work" / name
        (root / "data").mkdir(parents=True, exist_ok=True)
        (root / ".vscode").mkdir(exist_ok=True)
        (root.parent / "beside").mkdir(exist_ok=True)
        if not (root / "way-out").is_symlink():
            (root / "way-out").symlink_to(self.place / "home" / ".ssh")
        self.write(root, table, profile=profile, name=name)
        return root

    def write(self, root: Path, table: str, *, profile: str = "run", name: str = "p") -> None:
        sandboxed = f"[tool.pypm.sandbox.{profile}]\n{table}\n" if table else ""
        (root / "pyproject.toml").write_text(PROJECT.format(name=name) + sandboxed, encoding="utf-8")

    def context(self, root: Path) -> Context:
        return Context(load_settings(Overrides(project=root), dict(os.environ)), SilentReporter())

    def options(
        self, root: Path, profile: str = "run", flags: Mapping[str, object] | None = None
    ) -> RunOptions:
        with self.context(root) as context:
            return run_options(context, profile, flags or {})

    def trust(self, root: Path) -> None:
        with self.context(root) as context:
            give_consent(context, asked_for(context))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "id").write_text("a secret")
    for name in [name for name in os.environ if name.startswith("PYPM_")]:
        monkeypatch.delenv(name)
    for name, value in (("HOME", home), ("XDG_CONFIG_HOME", tmp_path / "config")):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("PYPM_CACHE_DIR", str(tmp_path / "cache"))
    return Desk(place=tmp_path)


@pytest.mark.parametrize("table", BEYOND.values(), ids=BEYOND)
@pytest.mark.parametrize("profile", ["run", "shell", "hook", "mine"])
def test_what_opens_more_waits_for_the_users_word(desk: Desk, table: str, profile: str) -> None:
    root = desk.project("p", table, profile=profile)
    with pytest.raises(ConsentError) as raised:
        desk.options(root, profile)
    assert raised.value.exit_code == 1
    assert raised.value.details and all(raised.value.details)
    with desk.context(root) as context:
        found = granted(context, profile, {})
    assert found.options == RunOptions()
    assert found.waiting_lines() == raised.value.details
    desk.trust(root)
    assert desk.options(root, profile) != RunOptions()
    # Another profile opens nothing, and is nobody's business.
    assert desk.options(root, "shell" if profile == "run" else "run") == RunOptions()


@pytest.mark.parametrize("table", WITHIN.values(), ids=WITHIN)
def test_what_opens_nothing_needs_no_word(desk: Desk, table: str) -> None:
    root = desk.project("p", table)
    desk.options(root)
    with desk.context(root) as context:
        assert asked_for(context) == ()


@pytest.mark.parametrize(
    ("table", "waits"),
    [
        ('allow-net = ["a.example"]', True),
        ('allow-read = ["~/.ssh"]', True),
        ('allow-read = ["data"]', False),
        ('allow-write = ["data"]', True),
        ('allow-env = ["LANG"]', True),
        ('isolation = "landlock"', True),
        ('file-size = "90G"', True),
        ('file-size = "1G"\ncpu-time = "1s"', False),
    ],
)
def test_a_build_works_on_a_copy_and_gets_no_variable_by_default(desk: Desk, table: str, waits: bool) -> None:
    root = desk.project("p", table, profile="build")
    with desk.context(root) as context:
        give = build_options(context)
        if not waits:
            assert give() == granted(context, "build", {}).options
            return
        with pytest.raises(ConsentError, match="grants its builds more"):
            give()
    desk.trust(root)
    with desk.context(root) as context:
        assert build_options(context)() != RunOptions()


def test_flags_are_the_users_own_word(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    table = (
        'allow-net = ["a.example", "b.example:443"]\nallow-read = ["~/.ssh"]\n'
        'allow-env = ["AWS_KEY"]\nallow-device = ["/dev/fuse"]'
    )
    root = desk.project("p", table)
    monkeypatch.chdir(root)
    flags: dict[str, object] = {
        "allow-net": ("a.example", "b.example"),
        "allow-read": (str(desk.place / "home" / ".ssh"),),
        "allow-env": ("AWS_*",),
        "allow-device": ("/dev/fuse",),
    }
    assert desk.options(root, flags=flags).allow_env == ("AWS_KEY", "AWS_*")
    for name in flags:
        with pytest.raises(ConsentError) as raised:
            desk.options(root, flags={**flags, name: ()})
        (detail,) = raised.value.details
        assert raised.value.hint is not None and f"`--{name}=" in raised.value.hint, detail
    # A flag opens what it names and nothing besides.
    with pytest.raises(ConsentError):
        desk.options(root, flags={**flags, "allow-net": ("a.example", "b.example:8443")})
    with pytest.raises(ConsentError):
        desk.options(root, flags={**flags, "allow-read": (str(root / "data"),)})


def test_a_weaker_isolation_that_the_user_takes_anyway_is_no_grant(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = desk.project("p", 'isolation = "landlock"')
    monkeypatch.setenv("PYPM_ISOLATION", "landlock")
    assert desk.options(root).isolation is Isolation.LANDLOCK


def test_read_only_by_flag_is_all_of_the_project(desk: Desk) -> None:
    root = desk.project("p", 'allow-write = ["data"]')
    assert desk.options(root).allow_write == (root / "data",)
    assert desk.options(root, flags={"read-only": True}).allow_write == ()


@pytest.mark.parametrize("change", [*list(BEYOND.values())[1:], BEYOND["hosts"] + '\nallow-read = ["data"]'])
def test_a_change_asks_again(desk: Desk, change: str) -> None:
    root = desk.project("p", BEYOND["hosts"])
    desk.trust(root)
    assert desk.options(root).allow_net
    desk.write(root, change)
    with pytest.raises(ConsentError):
        desk.options(root)
    # A limit that is lowered is no other grant.
    desk.write(root, BEYOND["hosts"] + "\npids = 5")
    assert desk.options(root).pids == 5


def test_a_link_that_comes_to_lead_elsewhere_is_another_grant(desk: Desk) -> None:
    root = desk.project("p", 'allow-read = ["way-out"]')
    with pytest.raises(ConsentError) as raised:
        desk.options(root)
    assert raised.value.details == (f"reading `{root}/way-out`, which leads to `{desk.place}/home/.ssh`",)
    desk.trust(root)
    (desk.place / "home" / ".gnupg").mkdir()
    (root / "way-out").unlink()
    (root / "way-out").symlink_to(desk.place / "home" / ".gnupg")
    with pytest.raises(ConsentError):
        desk.options(root)


def test_a_consent_is_for_one_folder_and_one_project(desk: Desk) -> None:
    root = desk.project("p", BEYOND["a variable"])
    desk.trust(root)
    by_link = desk.place / "link"
    by_link.symlink_to(root)
    assert desk.options(by_link).allow_env == ("TOKEN",)
    moved = root.with_name("moved")
    root.rename(moved)
    with pytest.raises(ConsentError):
        desk.options(moved)
    with pytest.raises(ConsentError):
        desk.options(desk.project("p", BEYOND["a variable"], folder=root.parent / "clone"))
    # Another project that comes to lie at the trusted place is none of it; the same one again is.
    with pytest.raises(ConsentError):
        desk.options(desk.project("other", BEYOND["a variable"], folder=root))
    assert desk.options(desk.project("p", BEYOND["a variable"], folder=root)).allow_env == ("TOKEN",)


def test_a_planted_project_and_a_member_have_consents_of_their_own(desk: Desk) -> None:
    outer = desk.project("outer", BEYOND["a variable"])
    desk.trust(outer)
    planted = desk.project("planted", BEYOND["a variable"], folder=outer / "src" / "planted")
    with pytest.raises(ConsentError):
        desk.options(planted)
    with (outer / "pyproject.toml").open("a") as file:
        file.write('[tool.pypm.workspace]\nmembers = ["src/*"]\n')
    # What a member grants itself is nothing of the root's, and the other way round.
    assert desk.options(outer).allow_env == ("TOKEN",)
    desk.write(planted, BEYOND["hosts"], name="planted")
    assert desk.options(outer).allow_net == ()
    with pytest.raises(ConsentError):
        desk.options(planted)
    desk.trust(planted)
    assert desk.options(planted).allow_net and not desk.options(planted).allow_env


def test_a_pipeline_vouches_for_an_exact_digest(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    root = desk.project("p", BEYOND["a file of the home"])
    with desk.context(root) as context:
        digest = digest_of_all(context)
    for value in ("0" * 64, digest[:-1] + ("0" if digest[-1] != "0" else "1")):
        monkeypatch.setenv("PYPM_TRUST", f"sha256:{value}")
        with pytest.raises(ConsentError):
            desk.options(root)
    monkeypatch.setenv("PYPM_TRUST", f"sha256:{'0' * 64}, sha256:{digest}")
    assert desk.options(root).allow_read
    # The same project of another user elsewhere: the digest does not know the folder, nor the home's name.
    monkeypatch.setenv("HOME", str(desk.place / "builder"))
    (desk.place / "builder" / ".ssh").mkdir(parents=True)
    assert desk.options(desk.project("p", BEYOND["a file of the home"], folder=desk.place / "ci")).allow_read
    desk.write(root, BEYOND["a file of the home"] + "\n" + BEYOND["hosts"])
    with pytest.raises(ConsentError):
        desk.options(root)
    monkeypatch.setenv("PYPM_TRUST", "everything")
    with pytest.raises(UsageError, match="is not `sha256:` and 64"):
        desk.options(root)


def test_a_no_changes_nothing_and_a_yes_is_to_all_that_was_shown(desk: Desk) -> None:
    root = desk.project("p", BEYOND["a variable"] + "\n" + BEYOND["hosts"])
    shown: list[tuple[str, tuple[str, ...]]] = []

    def answer(value: bool) -> Callable[[str, tuple[str, ...]], bool]:
        return lambda what, lines: shown.append((what, lines)) or value  # type: ignore[func-returns-value]

    with desk.context(root) as context, pytest.raises(ConsentError):
        context.ask = answer(False)
        run_options(context, "run", {})
    with desk.context(root) as context:
        context.ask = answer(True)
        assert run_options(context, "run", {"allow-env": ("TOKEN",)}).allow_net
    # Shown is what the consent is to, not only what the flags of this run leave over.
    assert {lines for _, lines in shown} == {("network to `evil.example.com`", "the variable `TOKEN`")}
    assert desk.options(root).allow_env == ("TOKEN",)


def test_the_file_of_consents_counts_only_while_nobody_else_could_have_written_it(desk: Desk) -> None:
    root = desk.project("p", BEYOND["a variable"])
    desk.trust(root)
    kept = desk.place / "config" / "pypm" / "trusted-projects.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    kept.chmod(0o666)
    with pytest.raises(ConfigurationError, match="can be written by other users"):
        desk.options(root)
    kept.chmod(0o600)
    for content in (b"{", b"[]", b'{"x": 1}', b'{"x": {"run": 1}}', b"[" * 100_000):
        kept.write_bytes(content)
        with pytest.raises(ConfigurationError):
            desk.options(root)
    kept.unlink()
    os.mkfifo(kept)
    with pytest.raises(PypmError):
        desk.options(root)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can own a file as somebody else")
def test_another_users_file_of_consents_does_not_count(desk: Desk) -> None:
    root = desk.project("p", BEYOND["a variable"])
    desk.trust(root)
    os.chown(desk.place / "config" / "pypm" / "trusted-projects.json", 65534, 65534)
    with pytest.raises(ConfigurationError, match="can be written by other users"):
        desk.options(root)


def test_no_grant_lets_a_run_write_the_consents(desk: Desk) -> None:
    (desk.place / "config" / "pypm").mkdir(parents=True)
    for place in (desk.place / "config", desk.place / "config" / "pypm"):
        root = desk.project("p", f"allow-write = [{json.dumps(str(place))}]")
        with pytest.raises(ConfigurationError) as raised:
            desk.options(root)
        assert "pypm's own settings" in raised.value.details[0]


# From the command line ------------------------------------------------------------------------------------


def pypm(root: Path, *words: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    """Type a command where nobody can be asked."""
    done = subprocess.run(
        [sys.executable, "-m", "pypm", *words],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), **variables},
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@needs_namespaces
def test_a_cloned_project_is_run_after_its_users_word_and_not_after_its_revocation(desk: Desk) -> None:
    root = desk.project("p", 'allow-read = ["~/.ssh"]')
    secret = ("cat", str(desk.place / "home" / ".ssh" / "id"))
    done = pypm(root, "run", *secret, code=1)
    assert "a secret" not in done.stdout
    assert f"  reading `{desk.place}/home/.ssh`" in done.stderr
    assert "hint: `pypm trust` shows all of it and asks you" in done.stderr
    pypm(root, "run", "--no-grants", "true")
    assert "a secret" not in pypm(root, "run", "--no-grants", *secret, code=1).stdout
    assert "nothing was changed" in pypm(root, "trust", code=1).stderr
    pypm(root, "run", *secret, code=1)
    pypm(root, "trust", "--yes")
    for _ in range(3):
        assert pypm(root, "run", *secret).stdout == "a secret"
    plans = list((desk.place / "cache" / "plans-v1").iterdir())
    assert plans
    pypm(root, "trust", "--revoke")
    assert "a secret" not in pypm(root, "run", *secret, code=1).stdout
    # The file that is gone altogether is no consent either, nor is a plan that was made with it.
    pypm(root, "trust", "--yes")
    for _ in range(2):
        pypm(root, "run", *secret)
    (desk.place / "config" / "pypm" / "trusted-projects.json").unlink()
    assert "a secret" not in pypm(root, "run", *secret, code=1).stdout


@needs_namespaces
def test_the_digest_of_a_pipeline_holds_for_its_own_command_alone(desk: Desk) -> None:
    root = desk.project("p", 'allow-env = ["TOKEN"]')
    shown = pypm(root, "trust", "--show").stdout.splitlines()
    assert shown[0] == "run  the variable `TOKEN`  (waits for your consent)"
    name, _, digest = shown[1].partition("=")
    told = json.loads(pypm(root, "trust", "--json").stdout)
    assert (name, told["digest"]) == ("PYPM_TRUST", digest)
    assert told["profiles"] == {"run": {"grants": ["the variable `TOKEN`"], "consented": False}}
    command = ("run", "printenv", "TOKEN")
    for _ in range(2):
        assert pypm(root, *command, PYPM_TRUST=digest, TOKEN="t").stdout == "t\n"
        pypm(root, *command, TOKEN="t", code=1)
    desk.write(root, 'allow-env = ["TOKEN", "SECOND"]')
    pypm(root, *command, PYPM_TRUST=digest, TOKEN="t", code=1)


@needs_namespaces
def test_explaining_runs_nothing_and_tells_what_waits(desk: Desk) -> None:
    root = desk.project("p", 'allow-read = ["~/.ssh"]')
    waits = f"reading `{desk.place}/home/.ssh`"
    line = f"waits        {waits} (for your consent: `pypm trust`)"
    for command in (("run", "--explain", "true"), ("sandbox", "explain", "true")):
        lines = pypm(root, *command).stdout.splitlines()
        assert line in lines
        assert not any(text.startswith("read ") and ".ssh" in text for text in lines)
    for command in (("run", "--explain", "--json", "true"), ("sandbox", "explain", "--json", "true")):
        told = json.loads(pypm(root, *command).stdout)
        assert told["waiting"] == [waits]
        assert not any(".ssh" in str(mount) for mount in told["mounts"])
    assert "`--json` belongs to `--explain`" in pypm(root, "run", "--json", "true", code=2).stderr
    pypm(root, "trust", "--yes")
    assert json.loads(pypm(root, "run", "--explain", "--json", "true").stdout)["waiting"] == []


@needs_namespaces
def test_a_run_cannot_write_the_consents_where_its_project_holds_them(desk: Desk) -> None:
    root = desk.project("p", 'allow-env = ["TOKEN"]')
    inside = {"XDG_CONFIG_HOME": str(root / "config")}
    for kept in (root / "config" / "pypm", root / "config" / "pypm" / "trusted-projects.json"):
        program = f"mkdir -p config/pypm; echo '{{}}' > {kept if kept.suffix else kept / 'new'}"
        done = pypm(root, "run", "--no-grants", "sh", "-c", program, code=2, **inside)
        assert "Read-only file system" in done.stderr or "Permission denied" in done.stderr
        pypm(root, "trust", "--yes", **inside)


@needs_namespaces
def test_a_sync_builds_nothing_with_grants_that_wait(desk: Desk) -> None:
    root = desk.project("p", 'allow-env = ["TOKEN"]', profile="build")
    with (root / "pyproject.toml").open("a") as file:
        file.write('[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n')
    backend = (
        "import os\ndef build_editable(*_, **__):\n    raise SystemExit(os.environ.get('TOKEN', 'none'))\n"
    )
    (root / "backend.py").write_text(backend)
    done = pypm(root, "sync", TOKEN="a secret", code=1)
    assert "grants its builds more than the default policy" in done.stderr
    assert "  the variable `TOKEN`" in done.stderr and "a secret" not in done.stderr
    # Without them the backend runs, and misses the variable.
    done = pypm(root, "run", "--no-grants", "true", TOKEN="a secret", code=1)
    assert "could not be built" in done.stderr and "a secret" not in done.stderr
    pypm(root, "trust", "--yes")
    assert "a secret" in pypm(root, "sync", TOKEN="a secret", code=1).stderr


def test_revoking_what_was_never_given_says_so(desk: Desk) -> None:
    root = desk.project("p", 'allow-env = ["TOKEN"]')
    with desk.context(root) as context:
        assert not withdraw_consent(context)
        give_consent(context, asked_for(context))
        assert withdraw_consent(context)
