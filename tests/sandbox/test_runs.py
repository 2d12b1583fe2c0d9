"""Real sandboxes, launched both ways: how commands end, what they see, what they cannot do."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox import Command, Mount, Network, SetupError, probe, run
from tests.sandbox.conftest import Ended, names, policy, python, run_spawned, shell

Launch = Callable[..., Ended]


@pytest.mark.parametrize("code", [0, 1, 7, 124, 125, 255])
def test_the_commands_own_code(launch: Launch, code: int) -> None:
    assert launch(policy(), shell(f"exit {code}")).returncode == code


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (("no-such-program",), 127),
        (("/no/such/program",), 127),
        (("/etc/passwd",), 126),
        (("/usr",), 126),
        (shell("kill -TERM $$"), 143),
        (shell("kill -KILL $$"), 137),
    ],
)
def test_the_shells_conventions(launch: Launch, argv: tuple[str, ...], code: int) -> None:
    assert launch(policy(), argv).returncode == code


def test_streams_are_byte_exact(launch: Launch) -> None:
    ended = launch(policy(), shell("printf 'a\\r\\nb'; printf 'c\\r' >&2"))
    assert (ended.stdout, ended.stderr) == ("a\r\nb", "c\r")


def test_reopening_the_streams_works(launch: Launch) -> None:
    ended = launch(
        policy(), shell("echo one >/dev/stdout; echo two >/dev/stderr; echo three >/proc/self/fd/1")
    )
    assert "three" in ended.stdout and ended.stderr == "two\n"


def test_read_only_and_writable_binds(launch: Launch, project: Path) -> None:
    for name in ("ro", "rw"):
        (project / name).mkdir()
        (project / name / "kept").write_text("host")
    mounts = (Mount.bind(f"{project}/ro"), Mount.bind(f"{project}/rw", "/elsewhere", writable=True))
    script = (
        f"echo x >/elsewhere/new; echo x >{project}/ro/new; echo x >{project}/ro/kept; cat {project}/ro/kept"
    )
    ended = launch(policy(*mounts), shell(script))
    assert ended.stdout == "host"
    assert (project / "rw" / "new").read_text() == "x\n"
    assert not (project / "ro" / "new").exists()
    assert (project / "ro" / "kept").read_text() == "host"
    assert ended.stderr.count("Read-only file system") + ended.stderr.count("Permission denied") == 2


def test_only_what_is_mounted_is_there(launch: Launch, project: Path) -> None:
    script = f"ls / ; ls {project} ; ls -A $HOME /tmp; test -w $HOME && touch $HOME/x /tmp/y && echo writable"
    ended = launch(policy(), shell(script))
    assert "writable" in ended.stdout
    assert str(project) in ended.stderr
    allowed = set("bin dev etc home lib lib32 lib64 libx32 proc sbin tmp usr".split())  # noqa: SIM905 - a list of words
    assert set(ended.stdout.split("\n\n")[0].split()) - {"writable", "/home/sandbox:", "/tmp:"} <= allowed


def test_the_system_and_the_root_are_read_only(launch: Launch) -> None:
    script = "for d in / /usr /etc /dev /proc/sys/kernel /home; do touch $d/x 2>&- && echo $d; done; echo end"
    assert launch(policy(), shell(script)).stdout == "end\n"


def test_overlays_of_one_and_of_many_layers(launch: Launch, project: Path) -> None:
    layers = []
    for number in range(60):
        layer = project / f"layer{number}"
        layer.mkdir()
        (layer / f"file{number}").write_text(str(number))
        (layer / "shared").write_text(f"from {number}")
        layers.append(str(layer))
    mounts = (Mount.overlay("/many", layers), Mount.overlay("/one", layers[:1]))
    script = "ls /many | wc -l; cat /many/shared /one/shared; touch /many/x || touch /one/x || echo read-only"
    ended = launch(policy(*mounts), shell(script))
    assert ended.stdout.split() == ["61", "from", "0from", "0read-only"]


def test_files_links_and_tmpfs(launch: Launch, project: Path) -> None:
    (project / "real").write_text("host")
    mounts = (
        Mount.bind(str(project), "/p", writable=True),
        Mount.file("/p/real", b"covered", 0o444),
        Mount.file("/opt/tool", b"#!/bin/sh\necho ran\n", 0o555),
        Mount.symlink("/opt/link", "tool"),
        Mount.tmpfs("/p/scratch", size_bytes=1 << 20),
    )
    script = "cat /p/real; /opt/link; echo x >/p/real; head -c 2000000 /dev/zero >/p/scratch/f || echo full"
    ended = launch(policy(*mounts), shell(script))
    assert ended.stdout == "coveredran\nfull\n"
    assert (project / "real").read_text() == "host"
    assert names(project) == ["real"]


def test_there_is_no_network_but_loopback_works(launch: Launch) -> None:
    script = """
import socket, threading
for address in (("198.51.100.1", 80), ("8.8.8.8", 53)):
    try:
        socket.create_connection(address, 1)
    except OSError as error:
        print(error.errno)
for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    server = socket.socket(family); server.bind((host, 0)); server.listen()
    client = socket.create_connection(server.getsockname()[:2]); peer, _ = server.accept()
    peer.sendall(b"hi"); print(client.recv(2).decode())
print([name for _, name in socket.if_nameindex() if name == "lo"], socket.gethostname())
"""
    ended = launch(policy(), python(script))
    assert ended.stdout.split("\n") == ["101", "101", "hi", "hi", "['lo'] sandbox", ""], ended.stderr


def test_the_hosts_network_on_request(launch: Launch) -> None:
    ours = Path("/proc/self/ns/net").stat().st_ino
    ended = launch(policy(network=Network.HOST), shell("stat -Lc %i /proc/self/ns/net"))
    assert int(ended.stdout) == ours
    assert int(launch(policy(), shell("stat -Lc %i /proc/self/ns/net")).stdout) != ours


def test_host_processes_are_invisible(launch: Launch) -> None:
    ended = launch(
        policy(),
        shell(f"ls -d /proc/[0-9]* | wc -l; test -e /proc/{os.getpid()} && echo seen; kill -0 {os.getpid()}"),
    )
    assert int(ended.stdout.split()[0]) <= 4
    assert "seen" not in ended.stdout


def test_no_privilege_is_left(launch: Launch) -> None:
    ended = launch(policy(), ("/bin/cat", "/proc/self/status"))
    fields = dict(line.split(":\t", 1) for line in ended.stdout.splitlines() if ":\t" in line)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[name], 16) == 0, name
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    assert set(fields["Uid"].split()) == {"1000"}
    assert "Groups" not in fields or set(fields["Groups"].split()) <= {"1000", "65534"}


def test_nested_namespaces_and_mounts_are_denied(launch: Launch) -> None:
    script = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
for flag in (0x10000000, 0x20000, 0x40000000):
    print(libc.unshare(flag), ctypes.get_errno())
print(libc.mount(b"x", b"/tmp", b"tmpfs", 0, None), ctypes.get_errno())
print(libc.umount2(b"/proc/sys", 2), ctypes.get_errno())
pid = os.fork()
if pid == 0: os._exit(0)
print("fork", os.waitpid(pid, 0)[1])
"""
    ended = launch(policy(), python(script))
    assert ended.stdout.split("\n")[:-1] == ["-1 1"] * 5 + ["fork 0"], ended.stderr


def test_threads_and_processes_work(launch: Launch) -> None:
    script = """
import concurrent.futures, multiprocessing, subprocess, tempfile, threading
with concurrent.futures.ThreadPoolExecutor(8) as pool: print(sum(pool.map(abs, range(100))))
print(True, subprocess.run(["echo", "sub"], capture_output=True).stdout)
lock = multiprocessing.Lock()
with lock, tempfile.NamedTemporaryFile() as f: print("temp", f.name.startswith("/tmp/"))
"""
    ended = launch(policy(), python(script))
    assert ended.stdout.split("\n")[:3] == ["4950", "True b'sub\\n'", "temp True"], ended.stderr


def test_no_secret_of_the_caller_is_inside(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2-environment")
    script = """
import os
seen = [repr(sorted(os.environ))]
for name in ("environ", "cmdline", "mem", "maps"):
    try:
        content = open(f"/proc/1/{name}", "rb").read(1 << 16)
        seen.append(f"{name} {content.strip(bytes(1))!r}")
    except OSError as error:
        seen.append(f"{name} {type(error).__name__}")
try:
    seen.append(repr(os.listdir("/proc/1/fd")) + os.readlink("/proc/1/root"))
except OSError as error:
    seen.append(type(error).__name__)
print("\\n".join(seen))
"""
    ended = launch(policy(), python(script))
    assert "hunter2" not in ended.stdout
    lines = ended.stdout.splitlines()
    assert "SECRET_TOKEN" not in lines[0] and "'HOME', 'LANG', " in lines[0]
    assert lines[1:] == [
        "environ PermissionError",
        "cmdline b''",
        "mem PermissionError",
        "maps PermissionError",
        "PermissionError",
    ]


def test_no_descriptor_is_inherited_but_those_passed(namespaces: None) -> None:
    leaked, passed = os.open("/etc/hostname", os.O_RDONLY), os.open("/etc/hostname", os.O_RDONLY)
    os.set_inheritable(leaked, True)
    read_end, write_end = os.pipe()
    command = Command(argv=shell("ls /proc/self/fd; exit 0"), stdout=write_end, pass_fds=(passed,))
    try:
        assert run(policy(), command).returncode == 0
        os.close(write_end)
        shown = {int(word) for word in os.read(read_end, 1000).split()}
    finally:
        for descriptor in (leaked, passed, read_end):
            os.close(descriptor)
    # `ls` opens the directory that it lists.
    assert {0, 1, 2, passed} <= shown and len(shown) == 5 and leaked not in shown


def test_set_id_bits_cannot_be_made(launch: Launch, project: Path) -> None:
    project.chmod(0o777)
    script = "cp /bin/true t; chmod u+s t; chmod g+s t; chmod 755 t; echo $?"
    ended = launch(policy(Mount.bind(str(project), writable=True)), shell(script), str(project))
    assert ended.stdout == "0\n"
    assert stat.S_IMODE((project / "t").stat().st_mode) == 0o755


def test_a_failed_setup_names_its_stage(namespaces: None) -> None:
    with pytest.raises(SetupError, match="does not exist") as caught:
        run_spawned(policy(Mount.bind("/no/such/source")), ("true",))
    assert caught.value.stage.startswith("bind") and caught.value.errno == 2
    run_spawned(policy(Mount.bind("/no/such/source", optional=True)), ("true",))


def test_a_link_to_the_hosts_root_is_not_bound_for_writing(namespaces: None, project: Path) -> None:
    (project / "link").symlink_to("/")
    with pytest.raises(SetupError, match="leads through a symbolic link"):
        run_spawned(policy(Mount.bind(f"{project}/link", "/everything", writable=True)), ("true",))
    # What may be missing may also be a link of the system.
    with pytest.raises(SetupError, match="must not be writable"):
        run_spawned(
            policy(Mount.bind(f"{project}/link", "/everything", writable=True, optional=True)), ("true",)
        )


def test_no_link_lies_on_the_way_to_what_is_shown_elsewhere(namespaces: None, project: Path) -> None:
    """What was a folder when it was judged may be a link to the caller's keys when it is mounted."""
    (project / "outside").mkdir()
    (project / "link").symlink_to("outside")
    (project / "outside" / "below").mkdir()
    for source in ("link", "link/below"):
        with pytest.raises(SetupError, match="leads through a symbolic link"):
            run_spawned(policy(Mount.bind(f"{project}/{source}", "/shown")), ("true",))
    run_spawned(policy(Mount.bind(f"{project}/outside", "/shown")), ("test", "-d", "/shown"))


def test_foreign_instruction_sets_are_killed(launch: Launch) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("`int 0x80` is an instruction of x86_64")
    script = """
import ctypes, mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20 (getpid of i386); int 0x80; ret
call = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
print("before", flush=True); print("after", call())
"""
    ended = launch(policy(), python(script))
    assert (ended.stdout, ended.returncode) == ("before\n", 128 + 31)


def test_a_fifo_of_the_host_cannot_be_written_through_a_read_only_bind(launch: Launch, project: Path) -> None:
    os.mkfifo(project / "fifo", 0o666)
    reader = os.open(project / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    script = "import os; os.open('/opt/shown/fifo', os.O_WRONLY | os.O_NONBLOCK)"
    try:
        assert (
            "PermissionError" in launch(policy(Mount.bind(str(project), "/opt/shown")), python(script)).stderr
        )
    finally:
        os.close(reader)


def test_a_working_directory_that_is_not_there(namespaces: None) -> None:
    with pytest.raises(SetupError, match="working directory") as caught:
        run_spawned(policy(), ("true",), cwd="/no/such")
    assert caught.value.stage == "cwd" and caught.value.hint


@pytest.mark.usefixtures("namespaces")
def test_device_nodes_keep_their_attributes() -> None:
    before = Path("/dev/null").stat()
    script = (
        "import os\n"
        "for change in (lambda: os.chmod('/dev/null', 0o666), lambda: os.utime('/dev/null')):\n"
        "    try: change()\n"
        "    except OSError as error: print(error.errno)\n"
        "print(os.write(os.open('/dev/null', os.O_WRONLY | os.O_CREAT | os.O_TRUNC), b'four'))"
    )
    assert run_spawned(policy(), python(script)).stdout == "30\n30\n4\n"
    assert Path("/dev/null").stat().st_mode == before.st_mode


@pytest.mark.usefixtures("namespaces")
def test_a_stream_is_reopened_for_what_it_is_open_for_alone(project: Path) -> None:
    kept, log = project / "kept", project / "log"
    kept.write_text("kept")
    log.write_text("earlier")
    script = (
        "import os\n"
        "R, W = os.O_RDONLY, os.O_WRONLY\n"
        "for number, flags in ((0, R), (0, os.O_RDWR), (0, W), (2, W), (2, R)):\n"
        "    try: os.open(f'/proc/self/fd/{number}', flags); print('opened')\n"
        "    except OSError as error: print(error.errno)"
    )
    with kept.open() as stream, log.open("a") as errors, (project / "out").open("w") as out:
        descriptors = {"stdin": stream.fileno(), "stdout": out.fileno(), "stderr": errors.fileno()}
        run(policy(), Command(argv=python(script), cwd="/", **descriptors))
    # Where the kernel has no Landlock the streams are as the host gave them.
    refused = str(errno.EACCES) if probe().landlock_abi else "opened"
    assert (project / "out").read_text().split() == ["opened", refused, refused, "opened", refused]


@pytest.mark.usefixtures("namespaces")
def test_a_folder_is_no_stream(project: Path) -> None:
    # It would open everything above and below it through the host's mounts. No interpreter starts with one.
    folder = os.open(project, os.O_RDONLY)
    try:
        with pytest.raises(SetupError):
            run(policy(), Command(argv=shell("true"), cwd="/", stdin=folder))
    finally:
        os.close(folder)


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("writable", [False, True])
def test_a_bind_under_its_own_name_passes_no_link(project: Path, writable: bool) -> None:
    (project / "elsewhere").mkdir()
    (project / "link").symlink_to("elsewhere")
    with pytest.raises(SetupError, match="symbolic link"):
        run(policy(Mount.bind(f"{project}/link", writable=writable)), Command(argv=shell("true"), cwd="/"))


def test_pipes_are_exact_to_the_byte(project: Path) -> None:
    """Every value in every place, both streams apart, no line ending translated."""
    (project / "given").write_bytes(os.urandom(16 << 20))
    with (
        (project / "given").open("rb") as given,
        (project / "out").open("wb") as out,
        (project / "err").open("wb") as err,
    ):
        command = Command(
            argv=shell("tee /dev/stderr"), stdin=given.fileno(), stdout=out.fileno(), stderr=err.fileno()
        )
        assert run(policy(), command).returncode == 0
    content = (project / "given").read_bytes()
    assert (project / "out").read_bytes() == content
    assert (project / "err").read_bytes() == content
