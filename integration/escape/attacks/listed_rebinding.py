"""Have a listed name point inwards: whoever owns a name decides where it leads, and may change it at any time.

Source: DNS rebinding; RFC 1918, RFC 6890. The name is this machine's own, which leads to itself.
"""

from attempt import FACTS, denied, works
from talk import neighbour, say

WAYS = ("run", "shell")
LISTED = ("localhost:{port}", "{host}:{port}")


def inside():
    name = FACTS["host_name"]
    denied("a listed name that leads to this machine", lambda: say((name, FACTS["allowed"])))
    works("localhost, which is listed itself", neighbour)
