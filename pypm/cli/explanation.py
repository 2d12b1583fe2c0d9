"""The policy of a command, printed: for `--explain` and for `pypm sandbox explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pypm.cli.options import flag
from pypm.errors import UsageError

if TYPE_CHECKING:
    from pypm.cli.app import Invocation
    from pypm.isolation import Explanation

explain_json_flag = flag(
    "--json", "as_json", is_flag=True, envvar=None, help="With --explain: print it as JSON."
)
"""Without a variable of its own: what is set for other commands must not stop a run."""


def require_explain(explain: bool, *, as_json: bool) -> None:
    """Refuse `--json` for a command that prints what it likes.

    Raises: UsageError.
    """
    if as_json and not explain:
        raise UsageError(
            "`--json` belongs to `--explain`",
            reference="json-without-explain",
            hint="`--stats-file FILE` writes what a run used, as JSON",
        )


def show_explanation(invocation: Invocation, explanation: Explanation, *, as_json: bool) -> None:
    """Print the policy: as lines, or as JSON."""
    if as_json:
        invocation.console.data_json(explanation.to_plain())
        return
    for line in explanation.lines():
        invocation.console.data(line)
