"""The allow-list in whole sandboxes, with ordinary programs for clients and a small internet around them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sandbox
from sandbox import Mount, Network, Policy
from tests.sandbox_egress import internet
from tests.support.index_server import make_wheel

CHECKOUT = Path(__file__).resolve().parents[2]
INTERNET = Path(__file__).with_name("internet.py")

pytestmark = pytest.mark.skipif(
    not sandbox.probe().namespaces or shutil.which("ip") is None,
    reason=sandbox.probe().cause or "the program `ip` is not installed, which makes the addresses",
)


class Internet:
    """The program of `internet.py`, asked line by line."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._program = subprocess.Popen(
            [sys.executable, str(INTERNET), str(CHECKOUT), str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.unsupported = self._answer().get("unsupported")

    def run(self, *argv: str, way: str = "run", allowed: Network, **fields: Any) -> dict[str, Any]:
        """Run a command in a sandbox with this network; give what it printed, and what was reached."""
        interpreter = [Mount.bind(path) for path in dict.fromkeys((sys.prefix, sys.base_prefix))]
        policy = Policy(
            mounts=(*interpreter, Mount.file("/ca.pem", (self.place / "ca.pem").read_bytes())),
            network=allowed,
            environment=(
                ("PATH", f"{sys.prefix}/bin:/usr/bin:/bin"),
                ("CURL_CA_BUNDLE", "/ca.pem"),
                ("GIT_SSL_CAINFO", "/ca.pem"),
                ("PIP_CERT", "/ca.pem"),
                ("SSL_CERT_FILE", "/ca.pem"),
            ),
            home="/home/sandbox",
            **fields,
        )
        request = {"policy": policy.to_plain(), "argv": argv, "way": way}
        assert self._program.stdin is not None
        self._program.stdin.write(json.dumps(request) + "\n")
        self._program.stdin.flush()
        return self._answer()

    def python(self, script: str, *, allowed: Network, **options: Any) -> dict[str, Any]:
        """Run a script."""
        return self.run("python", "-c", script, allowed=allowed, **options)

    def close(self) -> None:
        """End it."""
        self._program.kill()
        self._program.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._program.stdout is not None
        answer: dict[str, Any] = json.loads(self._program.stdout.readline())
        return answer


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Internet]:
    place = tmp_path_factory.mktemp("internet")
    _certify(place)
    _fill(place / "www")
    made = Internet(place)
    try:
        if made.unsupported:
            pytest.skip(f"this host gives no network of its own: {made.unsupported}")
        yield made
    finally:
        made.close()


def _certify(place: Path) -> None:
    """A certificate authority and a certificate for everything below `example.com` and for `localhost`."""
    extension = place / "extension"
    extension.write_text("subjectAltName=DNS:*.example.com,DNS:localhost\nbasicConstraints=CA:FALSE\n")
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    for words in (
        ["req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=authority", "-days", "9"],
        ["req", *key, "-keyout", "key.pem", "-out", "request", "-subj", "/CN=server"],
        [
            *("x509", "-req", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"),
            *("-out", "cert.pem", "-extfile", "extension", "-days", "9"),
        ],
    ):
        subprocess.run(["openssl", *words], cwd=place, check=True, capture_output=True)


def _fill(www: Path) -> None:
    """A file, a package index and a git repository for the protocol that needs a file server alone."""
    (www / "simple" / "demo").mkdir(parents=True)
    (www / "hello").write_text("hello\n")
    name = "demo-1.0-py3-none-any.whl"
    (www / name).write_bytes(make_wheel("demo", "1.0", files={"demo.py": b"answer = 42\n"}).content)
    (www / "simple" / "demo" / "index.html").write_text(f'<a href="/{name}">{name}</a>')
    if shutil.which("git"):
        work = www.parent / "work"
        git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com", "-C", str(work)]
        subprocess.run(["git", "init", "-q", str(work)], check=True)
        (work / "file").write_text("from git\n")
        for words in (["add", "file"], ["commit", "-qm", "first"]):
            subprocess.run([*git, *words], check=True)
        bare = www / "demo.git"
        subprocess.run(["git", "clone", "-q", "--bare", str(work), str(bare)], check=True)
        subprocess.run(["git", "-C", str(bare), "update-server-info"], check=True)


FILES = Network.hosts(("files.example.com", 443), ("files.example.com", 80))


@pytest.mark.parametrize("way", ["run", "replay"])
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_reaches_what_is_listed_and_is_told_what_is_not(net: Internet, way: str) -> None:
    script = (
        "curl -sS https://files.example.com/hello; curl -sS http://files.example.com/hello; "
        "curl -sS https://other.example.com/hello; curl -sS https://other.example.com/hello; "
        "curl -sS http://203.0.113.7/hello; curl -sS http://files.example.com:7/; "
        "curl -sS --connect-to other.example.com:443:files.example.com:443 https://other.example.com/; exit 9"
    )
    ended = net.run("sh", "-c", script, allowed=FILES, way=way)
    assert (ended["code"], ended["out"]) == (9, "hello\nhello\n")
    assert ended["reached"] == [internet.FILES]
    if way == "replay":
        lines = ended["err"].splitlines()
    else:
        lines = list(sandbox.NetworkReport.from_plain(ended["network"]).lines())
    assert [line for line in lines if line.startswith("network:")] == [
        "network: `other.example.com` refused twice; allow it with --allow-net other.example.com",
        "network: TLS server name `other.example.com` at `files.example.com:443` refused once; "
        "allow it with --allow-net other.example.com:443",
    ]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
def test_git_clones_over_https(net: Internet) -> None:
    script = "cd /tmp && git clone -q https://git.example.com/demo.git && cat demo/file"
    allowed = Network.hosts(("git.example.com", 443))
    assert net.run("sh", "-c", script, allowed=allowed)["out"] == "from git\n"


def test_pip_installs_from_an_index(net: Internet) -> None:
    index = "https://files.example.com/simple/"
    # The environment of the tests need not hold pip; the interpreter that it was made from does.
    pip = f"{sys.base_prefix}/bin/python3 -m pip --disable-pip-version-check download -q --no-cache-dir"
    ended = net.run("sh", "-c", f"{pip} -d /tmp/out -i {index} demo && ls /tmp/out", allowed=FILES)
    assert ended["out"] == "demo-1.0-py3-none-any.whl\n", ended["err"]


def test_httpx_and_a_raw_socket(net: Internet) -> None:
    script = """
import httpx, socket
print(httpx.get("https://both.example.com/hello").text, end="")
raw = socket.create_connection(("both.example.com", 7))
raw.sendall(b"raw"); raw.shutdown(socket.SHUT_WR)
print(raw.makefile().read())
"""
    ended = net.python(script, allowed=Network.hosts(("both.example.com", 443), ("both.example.com", 7)))
    assert ended["out"] == "hello\nraw\n", ended["err"]


@pytest.mark.parametrize("name", ["files.example.com", "six.example.com", "both.example.com"])
@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6"])
def test_each_family_inside_reaches_hosts_of_each_family(net: Internet, name: str, family: str) -> None:
    script = f"""
import socket
address = socket.getaddrinfo({name!r}, 7, socket.{family}, socket.SOCK_STREAM)[0]
raw = socket.socket(*address[:3]); raw.connect(address[4])
raw.sendall(b"x"); print(raw.recv(1))
"""
    ended = net.python(script, allowed=Network.hosts((name, 7)))
    assert ended["out"] == "b'x'\n", ended["err"]


def test_names_that_point_inwards_are_reached_only_where_the_policy_says_so(net: Internet) -> None:
    names = ("private.example.com", "private6.example.com", "metadata.example.com", "loop.example.com")
    script = f"""
import socket
for name in {names}:
    raw = socket.create_connection((name, 7)); raw.settimeout(10)
    try:
        raw.sendall(b"x"); print(raw.recv(1))
    except OSError as error:
        print(type(error).__name__)
"""
    pairs = [(name, 7) for name in names]
    ended = net.python(script, allowed=Network.hosts(*pairs))
    assert ended["out"].split() == ["ConnectionResetError"] * 4, ended["err"]
    assert ended["reached"] == []
    told = sandbox.NetworkReport.from_plain(ended["network"]).lines()
    assert "10.9.8.7`, a private address" in told[0] and "169.254.169.254`, a link-local" in told[2]
    opened = Network.hosts(*pairs, ("169.254.169.254", 7), networks=("10.0.0.0/8", "fd00::/8"))
    ended = net.python(script, allowed=opened)
    assert ended["out"].split() == ["b'x'"] * 3 + ["ConnectionResetError"]
    assert ended["reached"] == [internet.PRIVATE, internet.METADATA, "fd00::7"]


def test_a_host_that_is_gone_is_told_with_the_reason(net: Internet) -> None:
    script = "import socket; raw = socket.create_connection(('gone.example.com', 7)); raw.recv(1)"
    ended = net.python(script, allowed=Network.hosts(("gone.example.com", 7)))
    assert "ConnectionResetError" in ended["err"]
    (line,) = sandbox.NetworkReport.from_plain(ended["network"]).lines()
    assert line.startswith("network: `gone.example.com:7` could not be reached once: ")


def test_a_thousand_connections_at_once(net: Internet) -> None:
    script = """
import socket
socks = [socket.create_connection(("files.example.com", 7)) for _ in range(1000)]
for number, sock in enumerate(socks): sock.sendall(b"%04d" % number)
print(all(sock.recv(4, socket.MSG_WAITALL) == b"%04d" % number for number, sock in enumerate(socks)))
"""
    program = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))\n{script}"
    ended = net.python(program, allowed=Network.hosts(("files.example.com", 7)))
    assert ended["out"] == "True\n", ended["err"]
    assert ended["network"]["traffic"][0]["connections"] == 1000
    assert ended["network"]["carried_at_most"] is None


def test_large_transfers_and_half_closed_connections(net: Internet) -> None:
    script = """
import socket, struct
size = 256 << 20
down = socket.create_connection(("files.example.com", 19)); down.sendall(struct.pack("!Q", size))
view, got = memoryview(bytearray(1 << 20)), 0
while count := down.recv_into(view): got += count
up = socket.create_connection(("files.example.com", 9))
for _ in range(size >> 20): up.sendall(view)
up.shutdown(socket.SHUT_WR)
print(got == size, struct.unpack("!Q", up.recv(8, socket.MSG_WAITALL))[0] == size)
"""
    allowed = Network.hosts(("files.example.com", 19), ("files.example.com", 9))
    ended = net.python(script, allowed=allowed)
    assert ended["out"] == "True True\n", ended["err"]


def test_the_time_limit_ends_a_run_whose_connections_stand(net: Internet) -> None:
    script = """
import socket, time
sock = socket.create_connection(("files.example.com", 19)); sock.sendall(bytes(7) + b"\\xff" * 1)
print("connected", flush=True); time.sleep(60)
"""
    limits = sandbox.Limits(wall_clock_seconds=2)
    ended = net.python(script, allowed=Network.hosts(("files.example.com", 19)), limits=limits)
    assert (ended["code"], ended["out"]) == (124, "connected\n")
    assert ended["seconds"] < 20
