"""`pypm run` from a ready plan, in a project whose plugins want `pre-run` or `post-run`.

Until a hook is called, whatever goes wrong is left to the whole program. From then on it is told here, for no
hook is called twice. What tells is imported when there is something to tell.
"""

from __future__ import annotations

import os

from pypm.plugins import ready
from pypm.workflow import plans

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pypm.cli.output import Console
    from pypm.cli.ready_hooks import Hooks
    from pypm.workflow.plans import Call
    from sandbox import Outcome

PRE_RUN, POST_RUN = "pre-run", "post-run"


def run(payload: dict[str, Any], call: Call, path: str) -> int | None:
    """Run the command between its hooks; return the exit code, or None if nothing was called or started.

    `path` is the plan's.
    """
    words = plans.command_words(call.words, module=call.module)
    if not plans.is_program(words[0], payload["programs"]):
        return None
    try:
        hosts = ready.start(payload["plugins"], os.environ)
    except KeyboardInterrupt:
        return _Run(call, ()).interrupted()
    if hosts is None:
        return None
    running = _Run(call, hosts)
    try:
        code = running.through(payload, words, path)
    except KeyboardInterrupt:
        code = running.interrupted()
    except Exception as error:
        code = running.failed(error)
    try:
        ready.close(hosts)
    except Exception as error:
        return running.failed(error)
    return code


class _Run:
    """One run. Mutable: it remembers what has been told, and what with."""

    def __init__(self, call: Call, hosts: tuple[ready.ReadyHost, ...]) -> None:
        self._call = call
        self._hosts = hosts
        self._hooks: Hooks | None = None

    def through(self, payload: dict[str, Any], words: tuple[str, ...], path: str) -> int | None:
        """Call the hooks before, run the command, call the hooks after.

        Raises: PluginError, IsolationError.
        """
        from sandbox import SandboxError, replay_outcome  # Only Linux has it.

        self._stage(PRE_RUN)
        try:
            ended = replay_outcome(
                payload["sandbox"],
                words,
                plans.folder_inside(payload["root"]),
                plans.passed_variables(payload, os.environ),
            )
        except SandboxError as error:
            if not self._wants(PRE_RUN):
                return None
            plans.forget(path)  # The whole program mends it next time, or says what is wrong.
            return self.failed(error)
        if ended.unstarted is not None and not self._wants(PRE_RUN):
            return None
        return self._after(ended)

    def _after(self, ended: Outcome) -> int:
        """What goes wrong in the last stage must not hide a failure of the command itself."""
        if not ended.is_plain:
            from pypm.cli.ready_end import tell_met

            tell_met(ended, self._console())
        try:
            self._stage(POST_RUN)
        except Exception as error:
            if ended.returncode == 0:
                raise
            self._told().warn(error)
        if ended.is_plain:
            return ended.returncode
        from pypm.cli.ready_end import tell_end

        return tell_end(ended, self._call.words[0], self._console())

    def interrupted(self) -> int:
        """Ask the hook that is being called to stop, if one is; return the exit code."""
        return self._told().interrupted(self._hosts)

    def failed(self, error: Exception) -> int:
        """Say what went wrong; return the exit code."""
        return self._told().failed(error)

    def _wants(self, stage: str) -> bool:
        return any(host.request(stage) is not None for host in self._hosts)

    def _stage(self, stage: str) -> None:
        for host in self._hosts:
            if not host.call(stage):
                self._told().hook(host, stage)
        if self._hooks is not None:
            self._hooks.stage_ended()

    def _told(self) -> Hooks:
        if self._hooks is None:
            from pypm.cli.ready_hooks import Hooks

            self._hooks = Hooks(self._call)
        return self._hooks

    def _console(self) -> Console:
        return self._told().console
