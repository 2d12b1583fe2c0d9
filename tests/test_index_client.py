"""The client against a server that misbehaves in every way a test can think of."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import time
from pathlib import Path

import certifi
import pytest

from pypm.codec.simple import parse_page
from pypm.errors import ConfigurationError, IndexAccessError
from pypm.index.auth import Login, Logins, environment_login, is_login_for, origin, split_login
from pypm.index.authorities import Authorities
from pypm.index.client import Client, NetworkSettings
from pypm.index.transport import Resolver, is_inward
from tests.support.git_server import serve_repositories
from tests.support.index_server import Fault, IndexServer, make_wheel

QUICK = NetworkSettings(backoff_seconds=0.01, timeout_seconds=5, trust_environment=False)
WHEEL = make_wheel("demo", "1.0")


@pytest.fixture(autouse=True)
def no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests ask no name server: it may be slow to say that it does not know `.invalid`."""
    true_lookup = socket.getaddrinfo

    def lookup(host: str, *rest: object, **options: object) -> object:
        if host.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return true_lookup(host, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("pypm.index.transport.socket.getaddrinfo", lookup)


@pytest.fixture
def server():
    with IndexServer() as running:
        running.add("demo", WHEEL)
        yield running


@pytest.fixture(params=["direct", "httpx"])
def client(request: pytest.FixtureRequest):
    """A client, once with each transport under it: what it promises stands above them."""
    with Client(QUICK) as open_client:
        if request.param == "httpx":
            open_client._small = open_client._bulk_transport()
        yield open_client


def reference_of(client: Client, url: str, **options: object) -> str:
    with pytest.raises(IndexAccessError) as raised:
        client.get(url, **options)  # type: ignore[arg-type]
    return raised.value.reference


def test_a_page_is_asked_for_as_json(server: IndexServer, client: Client) -> None:
    answer = client.get_page(f"{server.url}/demo/")
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/vnd.pypi.simple.v1+json"
    assert server.requests[0].headers["user-agent"].startswith("pypm/")


def test_absence_is_an_answer(server: IndexServer, client: Client) -> None:
    assert client.get(f"{server.url}/other/").status == 404
    assert server.count() == 1


@pytest.mark.parametrize("fault", [Fault.status(500), Fault.status(503), Fault.status(429), Fault(drop=True)])
def test_passing_faults_are_retried(server: IndexServer, client: Client, fault: Fault) -> None:
    server.fault("/simple/demo/", fault, times=2)
    assert client.get(f"{server.url}/demo/").status == 200
    assert server.count("/simple/demo/") == 3


def test_a_truncated_page_is_retried(server: IndexServer, client: Client) -> None:
    server.fault("/simple/demo/", Fault(truncate_at=10), times=1)
    assert WHEEL.filename.encode() in client.get(f"{server.url}/demo/").content


@pytest.mark.parametrize(
    ("fault", "reference", "requests"),
    [
        (Fault.status(500), "index-status", 4),
        (Fault.status(418), "index-status", 1),
        (Fault.status(401), "index-unauthorized", 1),
        (Fault.status(403), "index-unauthorized", 1),
        (Fault(drop=True), "index-interrupted", 4),
        (Fault(truncate_at=3), "index-interrupted", 4),
        (Fault(headers={"content-encoding": "gzip"}), "index-interrupted", 4),
        (Fault.status(429, retry_after="3600"), "index-status", 1),
        (Fault.status(503, retry_after="Fri, 31 Dec 2100 23:59:59 GMT"), "index-status", 1),
    ],
)
def test_lasting_faults_end_in_one_error(
    server: IndexServer, client: Client, fault: Fault, reference: str, requests: int
) -> None:
    server.fault("*", fault)
    assert reference_of(client, f"{server.url}/demo/") == reference
    assert server.count() == requests


def test_retry_after_is_obeyed(server: IndexServer, client: Client) -> None:
    server.fault("*", Fault.status(429, retry_after="1"), times=1)
    start = time.monotonic()
    assert client.get(f"{server.url}/demo/").status == 200
    assert time.monotonic() - start >= 1.0


def test_nobody_listens(client: Client) -> None:
    with IndexServer() as gone:
        url = gone.url
    assert reference_of(client, f"{url}/demo/") == "index-unreachable"


def test_a_host_that_does_not_exist(client: Client) -> None:
    assert reference_of(client, "http://no-such-host.invalid/") == "index-unreachable"


@pytest.mark.parametrize(
    "url", ["ftp://host/x", "http://", "http://[broken/", "nonsense", "file:///etc/passwd"]
)
def test_addresses_that_cannot_be_asked(client: Client, url: str) -> None:
    assert reference_of(client, url) == "index-bad-url"


def test_a_slow_answer_is_cut_off(server: IndexServer) -> None:
    server.fault("*", Fault(body=b"x" * 4000, drip_seconds=0.05, drip_bytes=10))
    settings = NetworkSettings(answer_seconds=0.3, retries=0, trust_environment=False)
    with Client(settings) as client:
        assert reference_of(client, f"{server.url}/demo/") == "index-too-slow"


def test_silence_is_a_timeout(server: IndexServer) -> None:
    server.fault("*", Fault(delay_seconds=1.0))
    settings = NetworkSettings(timeout_seconds=0.1, retries=1, backoff_seconds=0.01, trust_environment=False)
    with Client(settings) as client:
        assert reference_of(client, f"{server.url}/demo/") == "index-timeout"
    assert server.count() == 2


def test_an_endless_answer_is_cut_off(server: IndexServer, client: Client) -> None:
    server.fault("*", Fault(endless=True))
    assert reference_of(client, f"{server.url}/demo/", limit_bytes=1 << 20) == "index-answer-too-large"
    assert server.count() == 1


def test_a_compressed_bomb_is_cut_off(server: IndexServer, client: Client) -> None:
    import gzip

    bomb = gzip.compress(b"\0" * (8 << 20))
    server.fault("*", Fault(body=bomb, headers={"content-encoding": "gzip"}))
    assert reference_of(client, f"{server.url}/demo/", limit_bytes=1 << 20) == "index-answer-too-large"


def test_redirects_are_followed_and_told(server: IndexServer, client: Client) -> None:
    server.fault("/simple/alias/", Fault.redirect("/simple/demo/", 301))
    answer = client.get(f"{server.url}/alias/")
    assert answer.status == 200
    assert answer.url == f"{server.url}/demo/"


def test_a_redirect_loop_ends(server: IndexServer, client: Client) -> None:
    server.fault("*", Fault.redirect("/simple/demo/"))
    assert reference_of(client, f"{server.url}/demo/") == "index-redirect-loop"
    assert server.count() == 11


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://host/x", "http://[broken/", "data:1"])
def test_redirects_off_the_network_are_refused(server: IndexServer, client: Client, location: str) -> None:
    server.fault("*", Fault.redirect(location))
    # What the library cannot even parse, it refuses before we can say why.
    assert reference_of(client, f"{server.url}/demo/") in ("index-forbidden-redirect", "index-bad-url")
    assert server.count() == 1


def test_redirects_that_give_up_encryption_or_turn_inward_are_refused(client: Client) -> None:
    for url, location in [
        ("https://index.invalid/simple/", "http://index.invalid/simple/"),
        ("https://index.invalid/simple/", "https://127.0.0.1/x"),
        ("https://index.invalid/simple/", "https://localhost/x"),
        ("https://index.invalid/simple/", "https://[::1]/x"),
        ("https://index.invalid/simple/", "https://[::ffff:127.0.0.1]/x"),
        ("http://index.invalid/simple/", "http://169.254.169.254/latest/"),
        ("http://index.invalid/simple/", "http://0.0.0.0/"),
    ]:
        with pytest.raises(IndexAccessError) as raised:
            client._redirected(url, location)
        assert raised.value.reference == "index-forbidden-redirect"
    assert client._redirected("http://a.invalid/x/", "https://u:p@b.invalid/y#z") == "https://b.invalid/y"


def test_a_public_name_with_a_loopback_address_is_inward(monkeypatch: pytest.MonkeyPatch) -> None:
    resolver = Resolver()
    monkeypatch.setattr(resolver, "addresses", lambda host, port: ("127.0.0.1",))
    assert is_inward("rebound.invalid", resolver)
    assert not is_inward("rebound.invalid")


@pytest.mark.parametrize("client", ["direct"], indirect=True)
def test_one_look_up_serves_all_connections(
    server: IndexServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    asked: list[str] = []
    true_lookup = socket.getaddrinfo

    def lookup(host: str, *rest: object, **options: object) -> object:
        asked.append(host)
        return true_lookup("127.0.0.1", *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("pypm.index.transport.socket.getaddrinfo", lookup)
    server.delay_seconds = 0.05
    url = f"http://named.invalid:{server.host.rpartition(':')[2]}/simple/demo/"
    with ThreadPoolExecutor(8) as pool:
        assert {answer.status for answer in pool.map(client.get, [url] * 8)} == {200}
    assert asked.count("named.invalid") == 1
    assert server.most_in_flight > 1


def test_offline_asks_nobody(server: IndexServer) -> None:
    with Client(NetworkSettings(offline=True)) as client:
        assert reference_of(client, f"{server.url}/demo/") == "offline"
    assert server.count() == 0


def test_ranges(server: IndexServer, client: Client) -> None:
    url = server.file_url(WHEEL)
    part = client.range(url, 2, 6)
    assert (part.status, part.content) == (206, WHEEL.content[2:6])
    assert client.range(url, -5).content == WHEEL.content[-5:]
    server.serves_ranges = False
    whole = client.range(url, 2, 6)
    assert (whole.status, whole.content) == (200, WHEEL.content)


def test_head_tells_the_size(server: IndexServer, client: Client) -> None:
    answer = client.head(server.file_url(WHEEL))
    assert answer.headers["content-length"] == str(len(WHEEL.content))
    assert answer.content == b""


def test_credentials_of_the_url_are_used_and_never_told(server: IndexServer) -> None:
    server.login = ("user", "p:ss wörd")
    with_login = f"http://user:p%3Ass%20w%C3%B6rd@{server.host}/simple"
    with Client(NetworkSettings(login_urls=(with_login,), trust_environment=False)) as client:
        assert client.get(f"{server.url}/demo/").status == 200
    settings = NetworkSettings(login_urls=(with_login.replace("user", "other"),))
    with Client(settings) as client, pytest.raises(IndexAccessError) as raised:
        client.get(f"{server.url}/demo/")
    told = f"{raised.value.message} {raised.value.hint} {raised.value.details} {client.settings!r}"
    assert raised.value.hint == "the credentials in use were refused; check them"
    assert "p%3A" not in told and "p:ss" not in told


def test_credentials_do_not_follow_to_another_host(server: IndexServer) -> None:
    with IndexServer() as other:
        other.add("demo", WHEEL)
        server.fault("/simple/demo/", Fault.redirect(f"{other.url}/demo/"))
        with Client(NetworkSettings(login_urls=(f"http://user:secret@{server.host}/",))) as client:
            assert client.get(f"{server.url}/demo/").status == 200
        assert "authorization" in server.requests[0].headers
        assert "authorization" not in other.requests[0].headers


def test_netrc(server: IndexServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.login = ("user", "secret")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Client(NetworkSettings()) as client:
        assert client.get(f"{server.url}/demo/").status == 200
    with Client(NetworkSettings(trust_environment=False)) as client:
        assert reference_of(client, f"{server.url}/demo/") == "index-unauthorized"


def test_the_default_of_netrc_is_no_hosts_login(tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine ours.test login a password b\ndefault login c password d\n")
    logins = Logins(environ={"NETRC": str(tmp_path / "netrc")})
    assert logins.find("https://ours.test/simple") == Login(username="a", password="b")
    assert logins.find("https://theirs.test/simple") is None
    assert logins.find("https://default/simple") is None


def test_a_broken_netrc_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine machine machine ???")
    assert Logins(environ={"NETRC": str(tmp_path / "netrc")}).find("https://host/") is None
    assert Logins(environ={"HOME": str(tmp_path / "missing")}).find("https://host/") is None


def test_a_proxy_of_the_environment_is_used(server: IndexServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.root)
    monkeypatch.setenv("no_proxy", "")
    with Client(NetworkSettings(retries=0)) as client:
        client.get("http://index.invalid/simple/demo/")
    assert server.requests[0].headers["host"] == "index.invalid"


def test_an_exception_from_proxies_is_no_proxy(server: IndexServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "somewhere.invalid")
    with Client(NetworkSettings(retries=0)) as client:
        assert client.get(f"{server.url}/demo/").status == 200
        assert client._direct


def test_a_redirect_to_a_login_form_is_named(server: IndexServer, client: Client) -> None:
    server.fault("/simple/demo/", Fault.redirect("/session/login"))
    server.add_raw("/session/login", b"<p>Welcome</p>")
    answer = client.get_page(f"{server.url}/demo/")
    with pytest.raises(IndexAccessError) as raised:
        parse_page(answer.content, answer.headers["content-type"], url=answer.url)
    assert raised.value.reference == "index-login-page"


def test_the_authorities_of_the_system_are_trusted_and_where_there_are_none_mozillas(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = Path(certifi.where()).read_text()
    one = every[every.index("-----BEGIN") : every.index("-----END CERTIFICATE-----") + 26]
    system, empty = tmp_path / "cert.pem", tmp_path / "certs"
    system.write_text(one)
    empty.mkdir()
    paths = ssl.get_default_verify_paths()._replace(openssl_cafile=str(system), openssl_capath=str(empty))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: paths)
    context = Authorities(trust_environment=False).context
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert len(context.get_ca_certs()) == 1
    system.unlink()
    assert len(Authorities(trust_environment=False).context.get_ca_certs()) > 50


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory):
    """A server over TLS: its address, and the certificate of its authority."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("encrypted")
    (folder / "repositories").mkdir()
    with serve_repositories(folder / "repositories", folder) as (url, certificate):
        yield f"{url}/nothing", certificate


@pytest.mark.parametrize("transport", ["direct", "httpx"])
@pytest.mark.parametrize("where", ["folder", "file", "folder and file", "nowhere"])
def test_authorities_in_a_folder_and_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encrypted: tuple[str, Path], transport: str, where: str
) -> None:
    url, certificate = encrypted
    folder, file = tmp_path / "certs", tmp_path / "certs.pem"
    folder.mkdir()
    every = Path(certifi.where()).read_text()
    other = every[every.index("-----BEGIN") : every.index("-----END CERTIFICATE-----") + 26]
    file.write_text(other + "\n" + (certificate.read_text() if "file" in where else ""))
    if "folder" in where:
        asked = ["openssl", "x509", "-noout", "-hash", "-in", str(certificate)]
        hashed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        shutil.copy(certificate, folder / f"{hashed}.0")
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setenv("SSL_CERT_DIR", str(folder))
    with Client(NetworkSettings(retries=0)) as client:
        if transport == "httpx":
            client._small = client._bulk_transport()
        if where == "nowhere":
            assert reference_of(client, url) == "index-certificate"
        else:
            assert [client.get(url).status for _ in range(2)] == [404, 404]


def test_a_file_alone_is_all_that_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encrypted: tuple[str, Path]
) -> None:
    url, certificate = encrypted
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    authorities = Authorities(trust_environment=True)
    assert authorities.are_complete
    assert len(authorities.context.get_ca_certs()) == 1
    with Client(NetworkSettings(retries=0)) as client:
        assert client.get(url).status == 404


def test_a_missing_file_of_certificates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    with Client(NetworkSettings(retries=0)) as client, pytest.raises(ConfigurationError) as raised:
        client.get("https://127.0.0.1:9/")
    assert "SSL_CERT_FILE" in str(raised.value.hint)


def test_login_urls_are_split() -> None:
    assert split_login("https://u%40x:p@host:8443/simple") == (
        "https://host:8443/simple",
        Login(username="u@x", password="p"),
    )
    assert split_login("https://host/simple") == ("https://host/simple", None)
    assert split_login("https://@host/simple") == ("https://host/simple", None)
    assert "secret" not in repr(Login(username="u", password="secret"))
    assert origin("HTTPS://Host/x") == origin("https://host:443/y") != origin("http://host/")


def test_environment_logins() -> None:
    environ = {"PYPM_INDEX_MY_CO_USERNAME": "u", "PYPM_INDEX_MY_CO_PASSWORD": "p"}
    assert environment_login("my-co", environ) == Login(username="u", password="p")
    assert environment_login("other", environ) is None


@pytest.mark.parametrize(
    ("host", "url", "is_for"),
    [
        ("packages.corp.test", "https://packages.corp.test/simple", True),
        ("packages.corp.test:8443", "https://packages.corp.test:8443/simple", True),
        ("http://127.0.0.1:80", "http://127.0.0.1/simple", True),
        ("packages.corp.test", "https://packages.corp.test:8443/simple", False),
        ("packages.corp.test", "http://packages.corp.test/simple", False),
        ("packages.corp.test", "https://evil.test/packages.corp.test", False),
        ("", "https://evil.test/simple", False),
    ],
)
def test_a_login_is_for_the_host_beside_it(host: str, url: str, is_for: bool) -> None:
    assert is_login_for("corp", url, {"PYPM_INDEX_CORP_HOST": host}) is is_for
    assert not is_login_for("corp", url, {})
