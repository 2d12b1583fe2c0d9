"""The plugins of one command: which stages they want, their hosts, and what their hooks say.

A host is started for the first stage that its plugin wants, and stays for the rest of the command.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from pypm.files import remove_tree, storage_errors
from pypm.isolation import isolation_errors
from pypm.plugins.descriptor import LOAD_SECONDS, Descriptor, inspect, load, load_request
from pypm.plugins.found import Loadable
from pypm.plugins.hooks import Listener, call_hook, hook_request
from pypm.plugins.inside.context import Context, Stage
from pypm.plugins.library import Library
from pypm.plugins.link import Link, line_of, start
from pypm.plugins.offers import Offer
from pypm.plugins.permissions import Allowed, allow, wanted_variables
from pypm.plugins.policy import Surroundings, host_command, host_policy, keep_bytecode
from pypm.plugins.settings import Enabled
from sandbox import prepare

_STAGE_SECONDS = 60.0
_TRANSFER_SECONDS = 600.0
_TRANSFER_STAGES = (Stage.PRE_FETCH, Stage.POST_FETCH, Stage.POST_BUILD)
"""Files of any size go over the network, or are read, at these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A plugin that is enabled, found, inspected and allowed."""

    enabled: Enabled
    found: Loadable
    descriptor: Descriptor
    allowed: Allowed
    withheld: tuple[str, ...] = ()
    """What it does without, because the user has not consented to what the project grants."""


def choose(
    enabled: Enabled,
    found: Loadable,
    surroundings: Surroundings,
    *,
    variables: Mapping[str, str],
    kept: Path | None,
) -> Chosen:
    """Inspect a plugin and compare what it wants with what it is granted; `variables` are the caller's.

    Raises: PluginError, IsolationError.
    """
    with isolation_errors():
        descriptor = inspect(found, surroundings, kept=kept)
    allowed = allow(found.name, descriptor.permissions, enabled.grants, variables)
    return Chosen(enabled=enabled, found=found, descriptor=descriptor, allowed=allowed)


@dataclass(slots=True, kw_only=True)
class _Host:
    """A host that was started."""

    link: Link
    scratch: Path
    library: Library
    is_loaded: bool = False

    def close(self) -> None:
        """End it and remove what it wrote."""
        self.link.close()
        self.library.close()
        remove_tree(self.scratch)


def hook_seconds(enabled: Enabled, stage: Stage) -> float:
    """Return how long a hook may take."""
    usual = _TRANSFER_SECONDS if stage in _TRANSFER_STAGES else _STAGE_SECONDS
    return enabled.timeout_seconds or usual


class Session:
    """Calls hooks, in the order in which the project names its plugins. Use it as a context manager."""

    def __init__(self, chosen: Sequence[Chosen], surroundings: Surroundings, listener: Listener) -> None:
        self.chosen = tuple(chosen)
        self._surroundings = surroundings
        self._listener = listener
        self._hosts: dict[str, _Host] = {}
        self._is_interrupted = False

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all hosts and remove what they wrote; offers that were not taken are gone."""
        for host in self._hosts.values():
            host.close()
        self._hosts.clear()

    def interrupt(self) -> None:
        """End what a hook does that another thread waits for: that thread is told that its host has ended."""
        self._is_interrupted = True
        for host in tuple(self._hosts.values()):
            host.link.interrupt()

    def adopt(self, chosen: Sequence[Chosen]) -> None:
        """Go on with these plugins; hosts of those that stay as they are stay warm."""
        same = {item.found.name for item in chosen if item in self.chosen}
        for name in [name for name in self._hosts if name not in same]:
            self._hosts.pop(name).close()
        self.chosen = tuple(chosen)

    def wants(self, stage: Stage) -> bool:
        """Whether any plugin has a hook for this stage: only then is a context worth making."""
        return any(stage in item.descriptor.stages for item in self.chosen)

    def warm(self, *stages: Stage) -> None:
        """Start the hosts that these stages will need and do not wait for them.

        What they need to come up passes while the caller does something else.

        Raises: IsolationError: the sandbox could not be made.
        """
        for item in self.chosen:
            if item.found.name not in self._hosts and not item.descriptor.stages.isdisjoint(stages):
                self._start(item)

    def call(self, context: Context, on_offer: Callable[[Offer], None] = lambda _: None) -> tuple[Offer, ...]:
        """Call every plugin that wants `context.stage`; return the files that they offer, the first first.

        `on_offer` is told of each as soon as it is made, while the hook goes on.

        Raises:
            PluginError: one ended the command, or misbehaved. The others are not called any more.
            IsolationError: the sandbox could not be made.
        """
        return tuple(
            offer
            for item in self.chosen
            if context.stage in item.descriptor.stages
            for offer in self._call(item, context, on_offer)
        )

    def ready(self, contexts: Sequence[Context]) -> tuple[dict[str, Any], ...] | None:
        """Return what a ready plan keeps to call the hooks of these stages again, see `ready.ReadyHost`.

        None where it cannot: for a weaker isolation, where a path is granted, since what lies there may be
        another thing each time, and where something is withheld, since that is told each time. The hosts
        must have been started. Variables are not kept, for they may be secrets; their names are.
        """
        stages = {context.stage for context in contexts}
        items = [item for item in self.chosen if not item.descriptor.stages.isdisjoint(stages)]
        if any(item.allowed.paths or item.withheld for item in items):
            return None
        if items and self._surroundings.isolation is not None:
            return None
        return tuple(self._ready(item, contexts) for item in items)

    def _ready(self, item: Chosen, contexts: Sequence[Context]) -> dict[str, Any]:
        host, surroundings = self._hosts[item.found.name], self._surroundings
        policy = host_policy(
            host.library,
            surroundings,
            allowed=replace(item.allowed, variables=()),
            scratch=host.scratch,
            memory_bytes=item.enabled.memory_bytes,
        )
        hooks = {
            context.stage.value: line_of(hook_request(_told(item, context, host)))
            for context in contexts
            if context.stage in item.descriptor.stages
        }
        return {
            "name": item.found.name,
            "sandbox": prepare(policy),
            "argv": tuple(host_command(surroundings.interpreter)),
            "folder": str(host.scratch.parent),
            "scratch": host.scratch.name,
            "wanted": wanted_variables(item.descriptor.permissions),
            "granted": item.enabled.grants.variables,
            "load": line_of(load_request(item.found, host.library.path)),
            "load_seconds": LOAD_SECONDS,
            "hooks": hooks,
            # The same for all that a plan can hold: none of them is about files of any size.
            "seconds": max(hook_seconds(item.enabled, context.stage) for context in contexts),
        }

    def _call(self, item: Chosen, context: Context, on_offer: Callable[[Offer], None]) -> tuple[Offer, ...]:
        host = self._hosts.get(item.found.name) or self._start(item)
        link = host.link
        if not host.is_loaded:
            load(link, item.found, host.library)
            host.is_loaded = True
        seconds = hook_seconds(item.enabled, context.stage)
        told = _told(item, context, host)
        return call_hook(link, told, self._listener, timeout_seconds=seconds, on_offer=on_offer)

    def _start(self, item: Chosen) -> _Host:
        surroundings = self._surroundings
        with storage_errors("make a folder for a plugin"):
            scratch = Path(tempfile.mkdtemp(prefix="plugin-", dir=surroundings.scratch)).resolve()
        keep_bytecode(surroundings.interpreter.cache_tag)
        library = Library(item.found, isolation=surroundings.isolation, scratch=surroundings.scratch)
        try:
            with isolation_errors():
                policy = host_policy(
                    library,
                    surroundings,
                    allowed=item.allowed,
                    scratch=scratch,
                    memory_bytes=item.enabled.memory_bytes,
                )
            started = start(item.found.name, policy, host_command(surroundings.interpreter))
            link = Link(item.found.name, started)
        except BaseException:
            library.close()
            remove_tree(scratch)
            raise
        host = self._hosts[item.found.name] = _Host(link=link, scratch=scratch, library=library)
        if self._is_interrupted:
            link.interrupt()  # It came too late for whoever interrupts.
        return host


def _told(item: Chosen, context: Context, host: _Host) -> Context:
    """What one plugin is told at a stage."""
    return replace(context, scratch=str(host.scratch), options=item.enabled.options)
