"""Ask a listed host for another site: by `Host` in plain HTTP, or by a TLS name that comes late.

Where one machine serves many sites, an allowed name may lead to a site that nobody allowed. The name in a TLS
greeting is held to the list; what is said after other bytes is the protocol's own business.
Source: RFC 9110 section 7.2 (Host), RFC 3207 (STARTTLS); domain fronting.
"""

import socket

from attempt import FACTS, beyond, denied, works
from talk import echo_of, greeting, neighbour, say

WAYS = ("run", "shell")
LISTED = ("localhost:{port}",)
LIMIT = "the relay knows no protocol: `Host` may change with each request, and TLS may begin at any byte"
_REQUEST = b"GET / HTTP/1.1\r\nHost: %s\r\nX-Secret: %s\r\n\r\n"


def _after_other_bytes():
    """A conversation that turns to TLS later, as mail servers do."""
    with socket.create_connection(("localhost", FACTS["allowed"]), 5) as client:
        client.sendall(b"STARTTLS\r\n")
        echo_of(client, b"STARTTLS\r\n")
        hello = greeting("other.example.com", b"FRONTED")
        client.sendall(hello)
        return echo_of(client, hello)


def inside():
    host = ("localhost", FACTS["allowed"])
    other = _REQUEST % (b"other.example.com", b"STOLEN")
    denied("the other site by its name", lambda: say(("other.example.com", FACTS["allowed"]), other))
    denied("the listed name at another port", lambda: say(("localhost", FACTS["unlisted"]), other))
    denied("the listed host by its address", lambda: say(("127.0.0.1", FACTS["unlisted"]), other))
    beyond(
        "another `Host` at the listed one", lambda: say(host, _REQUEST % (b"other.example.com", b"FRONTED"))
    )
    beyond("a TLS name after other bytes", _after_other_bytes)
    works("the listed `Host`", lambda: say(host, _REQUEST % (b"localhost", b"mine")) and neighbour())
