"""Which projects, in which versions, and which of their tests need what a run does not give."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """One project's tests, as its sdist has them."""

    name: str
    version: str
    needs: tuple[str, ...]
    """What its tests import besides it, as requirements."""
    extra: str = ""
    """An extra of the project itself that its tests need."""
    keep: tuple[str, ...] = ("tests",)
    """What of the sdist is copied into the project that runs them."""
    arguments: tuple[str, ...] = ()
    """For pytest, inside and outside."""
    denied: dict[str, str] = field(default_factory=dict)
    """Test (a prefix of its name) to what it needs that a run does not have."""


PROJECTS = (
    Suite(
        name="attrs",
        version="25.3.0",
        needs=("pytest", "hypothesis", "cloudpickle"),
        keep=("tests", "conftest.py"),
        arguments=("-p", "no:cacheprovider", "--ignore=tests/test_mypy.yml"),
    ),
    Suite(
        name="flask",
        version="3.1.1",
        needs=("pytest<9", "asgiref", "python-dotenv"),
        arguments=("-p", "no:cacheprovider"),
    ),
    Suite(
        name="requests",
        version="2.32.4",
        extra="socks",
        keep=("tests", "requirements-dev.txt"),
        needs=("pytest", "pytest-httpbin==2.1.0", "httpbin~=0.10.0", "pytest-mock", "trustme"),
        arguments=("-p", "no:cacheprovider"),
    ),
)
