"""When a plan may be kept: not when something changed while its maker was at work."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from pypm.codec.lockfile import dump_lock
from pypm.model.artifact import Sha256
from pypm.model.environment import Environment
from pypm.model.lock import Lock
from pypm.model.plan import Plan, Selection
from pypm.workflow.context import Context
from pypm.workflow.freshness import facts_of
from pypm.workflow.prepare import Prepared
from pypm.workflow.report import SilentReporter
from pypm.workflow.settings import Overrides, load_settings
from tests.support.builds import this_interpreter

LOCK = Lock(content_hash=Sha256("0" * 64), requires_python=SpecifierSet(">=3.10"), packages=())
AN_HOUR_NS = 3_600_000_000_000


@pytest.fixture
def context(tmp_path: Path) -> Context:
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "p"\nversion = "1"\n[tool.pypm]\npackage = false\n'
    )
    (tmp_path / "pypm.lock").write_bytes(dump_lock(LOCK))
    made = Context(load_settings(Overrides(project=tmp_path), {}), SilentReporter())
    made.started_ns += AN_HOUR_NS
    return made


def prepared(context: Context) -> Prepared:
    return Prepared(
        environment=Environment(
            digest=Sha256("0" * 64),
            location=context.root / ".venv",
            interpreter=this_interpreter(),
            wheels=(),
            base=context.root / "base",
        ),
        lock=LOCK,
        selection=Selection(),
        trees=(),
        plan=Plan(reuse=(), fetch=(), build=()),
    )


def test_what_was_there_before_makes_facts_that_hold(context: Context) -> None:
    facts = facts_of(context, prepared(context))
    assert facts is not None
    assert facts.hold()
    known = {path for path, _ in facts.files}
    assert {str(context.root / name) for name in ("pyproject.toml", "pypm.lock", ".python-version")} <= known
    (context.root / ".python-version").write_text("3.12\n")
    assert not facts.hold()


@pytest.mark.parametrize("name", ["pyproject.toml", ".python-version"])
def test_an_input_that_changed_meanwhile_makes_none(context: Context, name: str) -> None:
    context.started_ns -= AN_HOUR_NS
    (context.root / "pyproject.toml").touch()
    (context.root / name).touch()
    assert facts_of(context, prepared(context)) is None


def test_a_lock_of_our_own_making_counts_as_read(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    settled = context.started_ns
    monkeypatch.setattr(
        "pypm.workflow.freshness._changed_since", lambda path, moment_ns: path.name == "pypm.lock"
    )
    assert context.started_ns == settled
    assert facts_of(context, prepared(context)) is not None
    (context.root / "pypm.lock").write_bytes(dump_lock(LOCK) + b"# edited\n")
    assert facts_of(context, prepared(context)) is None


SIGNERS = '[tool.pypm.signing]\nallowed-signers = "signers"\n'
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKmzDL3VQpNsTTIsYyhcxKGsb1aFBWPVJcOMdaXWJ8cl\n"


def with_signers(context: Context, line: str) -> Context:
    """The same project, with people who are named and whose signature on the lock is not required."""
    with (context.root / "pyproject.toml").open("a") as stream:
        stream.write(SIGNERS)
    (context.root / "signers").write_text(line)
    made = Context(load_settings(Overrides(project=context.root), {}), SilentReporter())
    made.started_ns += AN_HOUR_NS
    return made


def test_those_who_sign_for_built_wheels_are_facts_without_a_signed_lock(context: Context) -> None:
    named = with_signers(context, f"ci {KEY}")
    facts = facts_of(named, prepared(named))
    assert facts is not None
    assert facts.hold()
    (named.root / "signers").write_text("")
    assert not facts.hold(), "a wheel that was taken on a word that does not count any more is not run"


def test_a_word_that_the_calendar_ends_makes_no_plan(context: Context) -> None:
    named = with_signers(context, f'ci valid-before="20991231" {KEY}')
    assert facts_of(named, prepared(named)) is None
