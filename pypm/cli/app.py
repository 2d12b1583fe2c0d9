"""The command `pypm`: a table of commands whose modules are imported only when they are called."""

from __future__ import annotations

import importlib
import io
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from click.shell_completion import shell_complete

from pypm.cli.consent import asker
from pypm.cli.interrupts import EXIT_INTERRUPTED, Interrupts
from pypm.cli.options import GlobalOptions, global_flags
from pypm.cli.output import Console, closing
from pypm.errors import is_interrupt

if TYPE_CHECKING:
    from pypm.workflow.context import Context

_SUMMARY = "A package manager that runs nothing foreign outside a sandbox, and proves every environment."

EXIT_USAGE = 2
"""A mistake in the command line, as click, argparse and most shells' own commands report it."""

_ANY_LENGTH = 10_000
"""Characters of a command's one line in a list of commands: it may wrap, but is never cut."""

_COMPLETION_VARIABLE = "_PYPM_COMPLETE"
"""Set by the shell's completion script. Source: click's shell completion."""

COMMANDS: dict[str, str] = {
    "init": "Create a project.",
    "lock": "Resolve the project's requirements into pypm.lock.",
    "sync": "Make .venv exactly what the lock says.",
    "run": "Run a command in the project's environment, inside the sandbox.",
    "shell": "Open a shell in the project's environment, inside the sandbox.",
    "verify": "Prove that the lock, the store and .venv are what was locked.",
    "audit": "Ask the indexes whether they still vouch for what is locked.",
    "tree": "Show the locked packages as a tree.",
    "export": "Translate the lock into another format.",
    "python": "List and find Python interpreters.",
    "sandbox": "Show what this machine can enforce, and the policy of a command.",
    "trust": "Consent to what a project grants its own runs and builds.",
    "plugin": "List, check and start plugins.",
    "cache": "Look after the cache and the store.",
    "completion": "Print the completion script of a shell.",
    "self": "About pypm itself.",
}
"""Each command's one line; its module is `pypm.cli.commands.<name>` and its function `command`."""

_KNOWN_ELSEWHERE = {
    "install": "sync",
    "update": "lock",
    "exec": "run",
    "list": "tree",
    "new": "init",
}
"""Names that other package managers give to what we call differently."""

_HINTS_ELSEWHERE = {
    "add": "write it into `dependencies` of pyproject.toml; `pypm sync` locks and installs it",
    "remove": "take it out of `dependencies` of pyproject.toml; `pypm sync` locks anew and removes it",
    "uninstall": "take it out of `dependencies` of pyproject.toml; `pypm sync` locks anew and removes it",
    "upgrade": "`pypm lock --upgrade` moves every pin, `pypm lock -P NAME` one of them",
    "why": "`pypm tree --invert NAME` shows what needs a package",
    "outdated": "`pypm lock --upgrade --dry-run` shows what has newer versions",
    "import": "`pypm init --from FILE` takes over a project or a requirements file",
    "check": "`pypm lock --check` and `pypm sync --check` compare; `pypm verify` proves",
}
"""What those do that we have no command for, and how it is done here."""


class Mistake(click.UsageError):
    """A mistake in the command line that we see, not click, with a hint of its own."""

    def __init__(self, message: str, ctx: click.Context, *, hint: str | None) -> None:
        super().__init__(message, ctx)
        self.hint = hint


@dataclass(slots=True)
class Invocation:
    """What a command's function gets: the global options and the one console."""

    options: GlobalOptions
    console: Console

    def context(self, **overrides: Any) -> Context:
        """Open the workflow's context; `overrides` are fields of `workflow.settings.Overrides`."""
        from pypm.workflow.context import Context
        from pypm.workflow.settings import Overrides, load_settings

        options = self.options
        settings = load_settings(
            Overrides(
                project=options.project,
                config_file=options.config_file,
                no_config=options.no_config,
                cache_dir=options.cache_dir,
                no_cache=options.no_cache,
                offline=options.offline,
                python=options.python,
                **overrides,
            )
        )
        return Context(settings, self.console, ask=asker(self.console))


class Command(click.Command):
    """A command that understands the global flags after its name, too."""

    def __init__(self, *args: Any, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        own = {name for parameter in self.params for name in parameter.opts}
        self.params += [
            parameter for parameter in global_flags(environment=False) if not own.intersection(parameter.opts)
        ]

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        return _told_by_the_console(super().get_help_option(ctx))

    def invoke(self, ctx: click.Context) -> Any:
        invocation: Invocation = ctx.obj
        invocation.options = invocation.options.with_those_of(ctx)
        for parameter in global_flags(environment=False):
            ctx.params.pop(str(parameter.name), None)
        _apply(invocation)
        _require_one_state(ctx)
        return super().invoke(ctx)


class Group(click.Group):
    """A command that has commands of its own."""

    command_class = Command

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        return _told_by_the_console(super().get_help_option(ctx))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, each with its whole first sentence: click would cut it to one line."""
        names = self.list_commands(ctx)
        commands = [(name, self.get_command(ctx, name)) for name in names]
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, one.get_short_help_str(limit=_ANY_LENGTH)) for name, one in commands if one]
            )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None and not name.startswith("-"):
            _unknown_command(ctx, name, self.list_commands(ctx))
        return super().resolve_command(ctx, args)


Group.group_class = Group


class LazyGroup(Group):
    """The root: knows each command's one line, and imports its module only to run it or to show its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"pypm.cli.commands.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code; errors are rendered here and nowhere else."""
    interrupts = Interrupts()
    interrupts.install()
    # A file's name need not be text; whoever reads our answer gets its bytes back.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="surrogateescape")
    invocation = Invocation(GlobalOptions(), Console())
    words = list(sys.argv[1:] if arguments is None else arguments)
    with closing(invocation.console):
        try:
            command = root()
            if instruction := os.environ.get(_COMPLETION_VARIABLE):
                return shell_complete(command, {"obj": invocation}, "pypm", _COMPLETION_VARIABLE, instruction)
            code = _invoke(command, words, invocation)
            invocation.console.finish()
        except click.ClickException as mistake:
            return _fail_usage(invocation.console, mistake)
        except (Exception, KeyboardInterrupt) as error:
            if not (isinstance(error, click.Abort) or is_interrupt(error)):
                return invocation.console.fail(error)
            interrupts.over()
            invocation.console.interrupted()
            return EXIT_INTERRUPTED
    return code


def _invoke(command: click.Command, words: list[str], invocation: Invocation) -> int:
    """Not `command.main`: it would print a line of its own on Ctrl-C.

    Raises: click.ClickException, PypmError, OSError, KeyboardInterrupt.
    """
    try:
        with command.make_context("pypm", words, obj=invocation) as context:
            result = command.invoke(context)
    except click.exceptions.Exit as requested:
        return requested.exit_code
    return result if isinstance(result, int) else 0


def root() -> LazyGroup:
    """Make the whole command line, without any of its commands."""

    @click.pass_context
    def start(ctx: click.Context, /, **flags: Any) -> None:
        invocation: Invocation = ctx.obj
        invocation.options = GlobalOptions(**flags)
        _apply(invocation)

    made = LazyGroup(
        "pypm",
        callback=start,
        params=global_flags(environment=True),
        help=_SUMMARY,
        epilog="Every flag can be given as PYPM_<FLAG>. `pypm COMMAND --help` tells more about a command.",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    made.params.append(
        click.Option(
            ["-V", "--version"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_version,
            help="Print pypm's version.",
        )
    )
    return made


def _told_by_the_console(help_option: click.Option | None) -> click.Option | None:
    """Click's own would fail where nobody reads it to its end."""
    if help_option is not None:
        help_option.callback = _help
    return help_option


def _help(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        ctx.obj.console.data(ctx.get_help())
        ctx.exit(0)


def _version(ctx: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from pypm import __version__

        ctx.obj.console.data(f"pypm {__version__}")
        ctx.exit(0)


def _apply(invocation: Invocation) -> None:
    """Let the global options take effect: the console's, and the directory."""
    options = invocation.options
    invocation.console.verbosity = options.verbose - options.quiet
    invocation.console.color = options.color
    invocation.console.progress = not options.no_progress
    if options.directory is not None:
        try:
            os.chdir(options.directory)
        except OSError as error:
            raise click.UsageError(f"cannot change to `{options.directory}`: {error.strerror}") from error


def _require_one_state(ctx: click.Context) -> None:
    """Refuse `--locked` beside `--frozen`: whichever won, who wrote both would be wrong about the other."""
    if all(ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in ("locked", "frozen")):
        hint = "the first compares the lock with the project, the second does not look at the project"
        raise Mistake("`--locked` and `--frozen` do not go together", ctx, hint=hint)


def _unknown_command(ctx: click.Context, name: str, known: Sequence[str]) -> None:
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    if name in _KNOWN_ELSEWHERE and _KNOWN_ELSEWHERE[name] in known:
        close = [_KNOWN_ELSEWHERE[name]]
    hint = f"did you mean `{ctx.command_path} {close[0]}`?" if close else None
    if ctx.parent is None:
        hint = _HINTS_ELSEWHERE.get(name, hint)
    raise Mistake(f"there is no command `{name}`", ctx, hint=hint)


def _fail_usage(console: Console, mistake: click.ClickException) -> int:
    context = getattr(mistake, "ctx", None)
    if type(mistake).__name__ == "NoArgsIsHelpError" and context is not None:
        console.remark(context.get_help())
        return EXIT_USAGE
    text, hint = _in_our_words(mistake)
    if hint is None and context is not None:
        hint = f"`{context.command_path} --help` lists what it understands"
    console.fail_usage(text, hint=hint)
    return EXIT_USAGE


def _in_our_words(mistake: click.ClickException) -> tuple[str, str | None]:
    """Return click's sentence as ours are: literals in backticks, and what to do in the hint alone."""
    if isinstance(mistake, Mistake):
        return mistake.message, mistake.hint
    if isinstance(mistake, click.NoSuchOption):
        import difflib

        # Nearer than click asks for: `--foo` is no `--color`.
        close = difflib.get_close_matches(mistake.option_name, mistake.possibilities or (), n=1, cutoff=0.75)
        return f"there is no option `{mistake.option_name}`", f"did you mean `{close[0]}`?" if close else None
    # Of a missing choice click lists the values on lines of their own; the parameter's name tells them, too.
    text = mistake.format_message().splitlines()[0].removesuffix("Choose from:").rstrip(" .")
    text = re.sub(r"(?<!\w)'([^'`]*)'(?!\w)", r"`\1`", text)
    return text[:1].lower() + text[1:], None
