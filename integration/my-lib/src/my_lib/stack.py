"""What this library runs on, and one computation that needs it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence

import requests
import torch


def runtime_stack() -> dict[str, str]:
    """Return the versions of everything that a bug report would ask for."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "prefix": sys.prefix,
        "torch": torch.__version__.partition("+")[0],
        "torch build": torch.__version__,
        "threads": str(torch.get_num_threads()),
        "requests": requests.__version__,
    }


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean, computed by torch (which warns that it found no numpy and needs none)."""
    return float(torch.tensor(values, dtype=torch.float64).mean())
