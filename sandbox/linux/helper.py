"""The program that `spawn` starts: a small interpreter with one thread that makes the sandbox.

It is started with `-I -S`, an empty environment, and one argument: the number of the descriptor that holds
the launch. Nothing on its command line tells what it runs, and pid 1 overwrites even that.
"""

from __future__ import annotations

import marshal
import signal
import sys


def main() -> None:
    """Read the launch, run it, write the result."""
    # A signal that comes before the sandbox is there waits for it.
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.SIGSYS + 1))
    with open(int(sys.argv[1]), "rb") as stream:  # noqa: PTH123 - a descriptor, not a path
        launch = marshal.load(stream)  # noqa: S302 - written by the process that started us
    sys.path[:0] = [launch["package"]]
    sys.path += launch["libraries"]

    from sandbox.linux import syscalls
    from sandbox.linux.launch import Request
    from sandbox.linux.serve import serve

    request = Request(launch["argv"], launch["cwd"])
    syscalls.use_python_prctl()
    request.account = True
    request.keep = launch["keep"]
    request.lifeline = launch["lifeline"]
    serve(launch["plan"], request, launch["result"])


if __name__ == "__main__":
    main()
