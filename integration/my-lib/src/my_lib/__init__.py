"""A very small library: enough to show that its environment works."""

from __future__ import annotations

__all__ = ["mean", "runtime_stack"]

from my_lib.stack import mean, runtime_stack
