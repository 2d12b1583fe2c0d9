"""The system that a payload sees: `/usr` and its links, and of `/etc` what programs cannot do without."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.linux import operations as op
from sandbox.linux.egress_files import resolver_files
from sandbox.policy import NetworkKind, Policy

MIRRORED = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Links on a merged system, directories on an older one, absent on some."""
SHOWN = (
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/ca-certificates",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted",
    "/etc/mime.types",
    "/etc/magic",
    "/etc/fonts",
)
"""Nothing here is private to the machine or its users; `/etc/ssl/private` and its like are left out."""
SHOWN_WITH_NETWORK = ("/etc/resolv.conf",)
USER_NAME = "sandbox"


def operations(policy: Policy, inside_id: int) -> Iterator[op.Operation]:
    """The operations that show the system."""
    kind = policy.network.kind
    for path in MIRRORED:
        yield op.mirror(path)
    for path in SHOWN + (SHOWN_WITH_NETWORK if kind is NetworkKind.HOST else ()):
        yield op.bind(path, path, writable=False, optional=True)
    home = policy.home or "/"
    files = _synthesized(policy.hostname, home, inside_id)
    if kind is NetworkKind.HOSTS:
        files |= resolver_files(policy.hostname)
    for path, text in files.items():
        yield op.file(path, text.encode(), 0o444)


def _synthesized(hostname: str, home: str, inside_id: int) -> dict[str, str]:
    """Files that tell of this machine are written anew."""
    return {
        "/etc/passwd": (
            f"{USER_NAME}:x:{inside_id}:{inside_id}::{home}:/bin/sh\nnobody:x:65534:65534::/:/usr/sbin/nologin\n"
        ),
        "/etc/group": f"{USER_NAME}:x:{inside_id}:\nnogroup:x:65534:\n",
        "/etc/hosts": f"127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost\n",
        "/etc/hostname": f"{hostname}\n",
        "/etc/nsswitch.conf": (
            "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n"
            "protocols: files\nservices: files\n"
        ),
        "/etc/services": "http 80/tcp\nhttps 443/tcp\ndomain 53/tcp\ndomain 53/udp\nssh 22/tcp\nftp 21/tcp\n",
        "/etc/protocols": "ip 0 IP\nicmp 1 ICMP\ntcp 6 TCP\nudp 17 UDP\nipv6-icmp 58 IPv6-ICMP\n",
    }
