from __future__ import annotations

import subprocess
import sys

import my_lib
import pytest


def test_torch_is_the_locked_one() -> None:
    assert my_lib.runtime_stack()["torch"] == "2.3.1"


def test_requests_is_the_locked_one() -> None:
    assert my_lib.runtime_stack()["requests"] == "2.32.3"


def test_tomli_is_there_only_where_it_is_needed() -> None:
    if sys.version_info < (3, 11):
        assert __import__("tomli").loads("a = 1") == {"a": 1}
    else:
        with pytest.raises(ModuleNotFoundError):
            __import__("tomli")


def test_mean() -> None:
    assert my_lib.mean([1.0, 2.0, 6.0]) == 3.0


def test_demo_prints_the_stack() -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "my_lib.demo"], check=True, capture_output=True, text=True
    ).stdout
    assert "2.3.1" in printed
