"""Shared by all tests: the checkout is importable, and no test reads the caller's configuration."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

CHECKOUT = Path(__file__).resolve().parent.parent
if str(CHECKOUT) not in sys.path:
    sys.path.insert(0, str(CHECKOUT))

# How long an example takes says how busy the machine is; what a test asserts must not depend on that.
settings.register_profile("pypm", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("pypm")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that starts the suite in the background ignores Ctrl-C for it, and what the tests start would
    # inherit that: nothing could be interrupted any more.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def clean_pypm_environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give every test its own configuration and cache homes and none of the caller's `PYPM_*` variables."""
    for name in [name for name in os.environ if name.startswith("PYPM_")]:
        monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("xdg")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
