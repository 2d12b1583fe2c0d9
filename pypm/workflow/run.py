"""`pypm run` and `pypm shell`: a command in the project's environment, inside the sandbox.

The environment is mounted straight from the store; no `.venv` is needed on disk. What was worked out is kept
as a run plan, so that the next call of the same kind starts within milliseconds: see `workflow.plans`.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sandbox
from pypm.environment.writer import require_mountable
from pypm.errors import PluginError, PypmError
from pypm.isolation import Caller, Explanation, RunOptions, explain, grants, isolation_errors, run_policy
from pypm.isolation.variables import HOME, MADE, PASSED, SYSTEM_PATH
from pypm.workflow import plans
from pypm.workflow.cache import in_use
from pypm.workflow.context import Context
from pypm.workflow.endings import remarks, untold_end
from pypm.workflow.freshness import facts_of
from pypm.workflow.grants import granted, run_options
from pypm.workflow.prepare import Preparation, Prepared, prepare
from pypm.workflow.selection import SelectionRequest
from pypm.workflow.settings import working_folder
from pypm.workflow.stages import Stage
from pypm.workflow.written import written

if TYPE_CHECKING:
    from pypm.workflow.statistics import Tell


class ProgramMissingError(PypmError):
    """The command is no program that the sandbox would find."""

    exit_code = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """What is to be run, and how."""

    words: tuple[str, ...]
    module: bool = False
    """The first word is a module for `python -m`."""
    selection: SelectionRequest = field(default_factory=SelectionRequest)
    locked: bool = False
    frozen: bool = False
    no_sync: bool = False
    profile: str = "run"
    sandbox: Mapping[str, Any] = field(default_factory=dict)
    """The sandbox flags, as `pypm.isolation.parse_flags` reads them."""
    explain: bool = False
    """Run nothing; say what would be allowed."""
    without_grants: bool = False
    """Go without what the project grants itself and the user has not consented to."""
    stats: bool = False
    """Say at the end what the command used."""
    stats_file: Path | None = None
    """Write it to this file, as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOutcome:
    """How it ended."""

    exit_code: int
    """The command's own; 124, 126, 127 and 128 + n as a shell has them."""
    explanation: Explanation | None = None


def run(context: Context, request: RunRequest) -> RunOutcome:
    """Prepare the environment, run the command in it and return how it ended.

    Raises:
        IsolationError: the sandbox could not be made; nothing foreign was run.
        ProgramMissingError, CommandEndedError: the command did not start, or was ended from outside.
        LockError, IntegrityError, IndexAccessError, BuildError, StorageError: see `workflow.prepare`.
    """
    context.without_grants = request.without_grants
    if not plans.has_inline_metadata(request.words, module=request.module):
        return _run(context, request, _preparation(request))
    from pypm.workflow.scripts import open_script, require_no_lock, require_no_signature

    require_no_lock(request.words[0], locked=request.locked, frozen=request.frozen)
    require_no_signature(context, request.words[0])
    with open_script(context, Path(request.words[0])) as script:
        words = (str(script.path), *request.words[1:])
        return _run(script, replace(request, words=words), replace(_preparation(request), lock=script.lock()))


def _run(context: Context, request: RunRequest, preparation: Preparation) -> RunOutcome:
    if request.explain:
        return RunOutcome(exit_code=0, explanation=_explained(context, request, preparation))
    options = run_options(context, request.profile, request.sandbox, without=request.without_grants)
    context.settings = replace(context.settings, isolation=options.isolation)
    _tell_grants(context, options)
    with _account(request.stats_file) as account:
        digest, ended = _run_to_its_end(context, request, preparation, options)
        for line in remarks(ended):
            context.reporter.remark(line)
        for line in ended.usage.lines() if request.stats else ():
            context.reporter.remark(line)
        if account is not None:
            account(request.words, ended)
    _call_post_run(context, digest, ended.returncode)
    if (untold := untold_end(ended, request.words[0])) is not None:
        raise untold
    return RunOutcome(exit_code=ended.returncode)


def _account(path: Path | None) -> AbstractContextManager[Tell | None]:
    """What writes the account of the run to `path`."""
    if path is None:
        return nullcontext()
    from pypm.workflow.statistics import account_in

    return account_in(path)


def _run_to_its_end(
    context: Context, request: RunRequest, preparation: Preparation, options: RunOptions
) -> tuple[str, sandbox.ExitStatus]:
    """Prepare the environment and run the command in it; return the environment's digest and the end."""
    # Until the command has ended: its environment is mounted from the store's own trees.
    with in_use(context), isolation_errors():
        prepared = _placed(context, prepare(context, preparation), options)
        policy = _policy(context, prepared, options, os.environ)
        context.stages.warm(Stage.PRE_RUN, Stage.POST_RUN)
        if preparation.lock is None:
            _keep_plan(context, prepared, options, policy)
        words = plans.command_words(request.words, module=request.module)
        _require_program(words[0], prepared)
        digest = prepared.environment.digest
        context.stages.call(Stage.PRE_RUN, environment_digest=digest)
        context.reporter.release_terminal()
        counted = request.stats or request.stats_file is not None
        command = sandbox.Command(argv=words, cwd=_folder_inside(context, options), stats=counted)
        return digest, _supervised(context, policy, command)


def _call_post_run(context: Context, digest: str, returncode: int) -> None:
    """Call the last stage. What goes wrong there must not hide a failure of the command itself."""
    try:
        context.stages.call(Stage.POST_RUN, environment_digest=digest)
    except PluginError as error:
        if returncode == 0:
            raise
        context.reporter.warn(error.message, hint=error.hint)


def _supervised(context: Context, policy: sandbox.Policy, command: sandbox.Command) -> sandbox.ExitStatus:
    """Run the command and return how it ended.

    Where this process can stand for the sandbox itself, it does, as with a ready plan: then every signal that
    it gets reaches the command. With threads it cannot, nor with hosts of plugins, which are its children
    too; then a helper does.
    """
    alone = threading.active_count() == 1 and not context.stages.wants(*Stage)
    if alone and _can_be_planned(policy):
        plan = sandbox.prepare(policy)
        plan = sandbox.counted(plan) if command.stats else plan
        return sandbox.ExitStatus.from_told(sandbox.replay_outcome(plan, command.argv, command.cwd).told())
    return sandbox.run(policy, command)


def _can_be_planned(policy: sandbox.Policy) -> bool:
    """Whether the policy is one for plain namespaces."""
    return policy.isolation is None


def explained(context: Context, request: RunRequest) -> Explanation:
    """Return the policy that the command would get, told in lines or as data; nothing is run."""
    outcome = run(context, replace(request, explain=True))
    assert outcome.explanation is not None
    return outcome.explanation


def _explained(context: Context, request: RunRequest, preparation: Preparation) -> Explanation:
    found = granted(context, request.profile, request.sandbox)
    context.settings = replace(context.settings, isolation=found.options.isolation)
    with in_use(context), isolation_errors():
        prepared = _placed(context, prepare(context, preparation), found.options)
        policy = _policy(context, prepared, found.options, os.environ)
        words = plans.command_words(request.words, module=request.module)
        return explain(
            policy, words, folder=_folder_inside(context, found.options), waiting=found.waiting_lines()
        )


def _placed(context: Context, prepared: Prepared, options: RunOptions) -> Prepared:
    """With the environment on disk, where it cannot be mounted."""
    if not options.in_place:
        require_mountable(prepared.environment.location)
        return prepared
    return replace(prepared, environment=written(prepared.environment, context.cache))


def _preparation(request: RunRequest) -> Preparation:
    return Preparation(
        selection=request.selection,
        locked=request.locked,
        frozen=request.frozen,
        nothing_new=request.no_sync,
    )


def _require_program(word: str, prepared: Prepared) -> None:
    if plans.is_program(word, _program_folders(prepared)):
        return
    if word.endswith(".py"):
        raise ProgramMissingError(
            f"there is no script `{word}` in `{working_folder()}`, and no program of that name",
            reference="program-missing",
            hint="name a script by its path from here, a module with `-m`",
        )
    raise ProgramMissingError(
        f"`{word}` is neither a program of the environment nor of the system",
        reference="program-missing",
        hint="`pypm tree` lists what is locked; `--group` or `--extra` may have to ask for it",
    )


def _program_folders(prepared: Prepared) -> tuple[str, ...]:
    """Where the sandbox looks for programs, as this machine sees it."""
    programs = prepared.environment.interpreter.programs
    return (*(f"{layer}/{programs}" for layer in prepared.environment.layers), *SYSTEM_PATH.split(":"))


def _policy(
    context: Context, prepared: Prepared, options: RunOptions, variables: Mapping[str, str]
) -> sandbox.Policy:
    caller = Caller(
        variables=variables,
        home=context.home,
        cache=context.cache.root,
        consents=context.trust_folder,
        terminal=os.isatty(0) and os.isatty(1),
    )
    trees = (*prepared.trees, *context.shown_files)
    return run_policy(context.shown_project, prepared.environment, options, caller, trees=trees)


def _folder_inside(context: Context, options: RunOptions) -> str:
    """Where the command starts: in the project, or where one stands if that was granted, else in the home."""
    if context.shown_project is not None:
        return plans.folder_inside(str(context.shown_project.root))
    here = working_folder()
    granted = (*options.allow_read, *options.allow_write)
    return str(here if any(here.is_relative_to(path.resolve()) for path in granted) else HOME)


def _tell_grants(context: Context, options: RunOptions) -> None:
    """A weaker isolation is always said; what else is granted is for `-v`."""
    if options.isolation is not None and options.isolation.value != "namespaces":
        context.reporter.warn(f"the command runs with weaker isolation: `{options.isolation.value}`")
    for grant in grants(options):
        context.reporter.detail(f"Allowed: {grant}")


def _keep_plan(context: Context, prepared: Prepared, options: RunOptions, policy: sandbox.Policy) -> None:
    """Write the plan that answers the next call like this one, where a plan can stand for it.

    It is compiled for a caller without variables: those that are passed are read anew at each start.
    """
    call = plans.read_call(sys.argv[1:])
    if call is None or not _can_be_planned(policy) or context.settings.cache is None:
        return
    facts = facts_of(context, prepared)
    plugins = context.stages.ready(
        Stage.PRE_RUN, Stage.POST_RUN, environment_digest=prepared.environment.digest
    )
    if facts is None or plugins is None:
        return
    root = str(context.root)
    key = plans.plan_key(call, root, os.environ)
    variables = _Variables(options)
    payload = {
        "root": root,
        "sandbox": sandbox.prepare(_policy(context, prepared, options, {})),
        "exact": variables.exact,
        "prefixes": variables.prefixes,
        "made": MADE,
        "programs": _program_folders(prepared),
        "plugins": plugins,
    }
    plans.save(plans.plan_path(str(context.cache.plans), key), key, facts, payload)


class _Variables:
    """Which variables of the caller are passed: by name, and by the beginning of the name."""

    def __init__(self, options: RunOptions) -> None:
        patterns = (*PASSED, *options.allow_env)
        self.exact = tuple(sorted({name for name in patterns if not name.endswith("*")} - set(MADE)))
        self.prefixes = tuple(sorted({name[:-1] for name in patterns if name.endswith("*")}))
