"""Read and fill the caller's keyrings, which are of no namespace. Source: keyrings(7), CVE-2016-0728."""

from attempt import call, denied, works


def inside():
    denied("add_key", lambda: call("add_key", b"user", b"escape", b"x", 1, -3))
    denied("request_key", lambda: call("request_key", b"user", b"escape", 0, -3))
    for name, operation in {
        "GET_KEYRING_ID": 0,
        "JOIN_SESSION": 1,
        "DESCRIBE": 6,
        "SEARCH": 10,
        "READ": 11,
        "SESSION_TO_PARENT": 18,
        "GET_PERSISTENT": 22,
    }.items():
        denied(f"keyctl {name}", lambda operation=operation: call("keyctl", operation, -3, 0, 0, 0))
    works("going on without", lambda: True)
