"""The files inside that make every resolver ask the sandbox's own. Pure text.

Source: resolv.conf(5), nsswitch.conf(5), hosts(5), host.conf(5), RFC 6761 for `localhost`.
"""

from __future__ import annotations

from sandbox.linux.egress_namespace import RESOLVER_ADDRESS


def resolver_files(hostname: str) -> dict[str, str]:
    """Return path and content of every file under `/etc` that names are looked up with."""
    return {
        "/etc/resolv.conf": resolv_conf(),
        "/etc/nsswitch.conf": nsswitch_conf(),
        "/etc/hosts": hosts(hostname),
        "/etc/host.conf": "multi on\n",
    }


def resolv_conf() -> str:
    """One name server and no search list: a name is asked for as it was written, or not at all.

    Without a list the C library takes the host name's domain, so the sandbox's host name has to be without
    dots. `search .` instead would make it ask for every unknown name twice.
    """
    return f"nameserver {RESOLVER_ADDRESS}\noptions timeout:5 attempts:2\n"


def nsswitch_conf() -> str:
    """Files, then DNS: no daemon of the host is ever asked for a name."""
    databases = {
        "passwd": "files",
        "group": "files",
        "shadow": "files",
        "hosts": "files dns",
        "networks": "files",
        "protocols": "files",
        "services": "files",
        "ethers": "files",
        "rpc": "files",
    }
    return "".join(f"{database + ':':<12}{sources}\n" for database, sources in databases.items())


def hosts(hostname: str) -> str:
    """Loopback by its name and by the sandbox's own."""
    names = " ".join(dict.fromkeys(("localhost", hostname)))
    return f"127.0.0.1 {names}\n::1 {names} ip6-localhost ip6-loopback\n"
