"""What the selection flags mean."""

from __future__ import annotations

import pytest
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from pypm.errors import UsageError
from pypm.model.artifact import Sha256
from pypm.model.lock import Lock
from pypm.workflow.selection import SelectionRequest, choose_selection


def names(*texts: str) -> tuple:
    return tuple(canonicalize_name(text) for text in texts)


LOCK = Lock(
    content_hash=Sha256("0" * 64),
    requires_python=SpecifierSet(">=3.10"),
    packages=(),
    extras=names("fast", "docs"),
    dependency_groups=names("dev", "lint"),
    default_groups=names("dev"),
)


@pytest.mark.parametrize(
    ("request_fields", "extras", "groups", "project", "dependencies"),
    [
        ({}, set(), {"dev"}, True, True),
        ({"extra": ("Fast",)}, {"fast"}, {"dev"}, True, True),
        ({"all_extras": True, "no_extra": ("docs",)}, {"fast"}, {"dev"}, True, True),
        ({"group": ("lint",)}, set(), {"dev", "lint"}, True, True),
        ({"all_groups": True, "no_group": ("lint",)}, set(), {"dev"}, True, True),
        ({"no_dev": True}, set(), set(), True, True),
        ({"no_default_groups": True, "group": ("lint",)}, set(), {"lint"}, True, True),
        ({"only_group": ("lint",)}, set(), {"lint"}, False, False),
        ({"only_dev": True}, set(), {"dev"}, False, False),
        ({"no_install_project": True}, set(), {"dev"}, False, True),
    ],
)
def test_selection(
    request_fields: dict, extras: set[str], groups: set[str], project: bool, dependencies: bool
) -> None:
    selection = choose_selection(SelectionRequest(**request_fields), LOCK)
    assert selection.extras == extras
    assert selection.groups == groups
    assert selection.project is project
    assert selection.dependencies is dependencies


@pytest.mark.parametrize(
    ("request_fields", "message", "hint"),
    [
        ({"extra": ("fats",)}, "no extra `fats`", "did you mean `fast`?"),
        ({"group": ("zzz",)}, "no group `zzz`", "`dev`, `lint`"),
        ({"only_group": ("lint",), "extra": ("fast",)}, "leaves the project out", "use `--group`"),
    ],
)
def test_a_name_that_the_lock_does_not_know_is_refused(request_fields: dict, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        choose_selection(SelectionRequest(**request_fields), LOCK)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")
