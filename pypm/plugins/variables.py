"""Which of the caller's variables a plugin gets. On the fast path: it imports nothing."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def granted_variables(
    variables: Mapping[str, str], wanted: Iterable[str], granted: Iterable[str]
) -> dict[str, str]:
    """Return those of the caller's variables that a plugin both wants and is granted."""
    wants, grants = tuple(wanted), tuple(granted)
    return {
        name: value
        for name, value in variables.items()
        if any(matches(name, pattern) for pattern in wants)
        and any(matches(name, pattern) for pattern in grants)
    }


def matches(name: str, pattern: str) -> bool:
    """Whether a variable has this name, or a name with this beginning where the pattern ends in `*`."""
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
