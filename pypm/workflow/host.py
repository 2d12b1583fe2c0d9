"""What this machine can enforce, for `pypm sandbox info`."""

from __future__ import annotations

import sandbox


def probe_host() -> sandbox.Host:
    """Try the real thing and say what works; why not is in the answer where it does not."""
    return sandbox.probe()
