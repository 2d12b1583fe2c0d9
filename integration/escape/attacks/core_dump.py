"""Crash: the kernel would write a core where the host's pattern says, through the host's handler.

Source: core(5); CVE-2022-1328-like handlers, CVE-2025-4598 (systemd-coredump), CVE-2025-5054 (apport).
"""

import os
import resource
import subprocess
import sys

from attempt import PROJECT, denied, hidden, works


def inside():
    denied("a limit for cores", lambda: resource.setrlimit(resource.RLIMIT_CORE, (1 << 20, 1 << 20)))
    done = subprocess.run([sys.executable, "-I", "-c", "import os; os.abort()"], check=False, cwd="/tmp")
    works("crashing", lambda: done.returncode == -6)
    hidden(
        "a core",
        lambda: [
            name for folder in ("/tmp", PROJECT) for name in os.listdir(folder) if name.startswith("core")
        ],
    )
