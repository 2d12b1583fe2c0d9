"""What usually stops a build, recognised by its log, and the one thing to do about it.

Only the machine's own C library, compiler and headers are visible to a build, and no network: most failures
are one of these, and their messages name the missing thing but not where to get it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

_HEADERS = {
    "Python.h": "the interpreter's own headers: `apt install python3-dev` for the system's Python",
    "sys/capability.h": "libcap's headers: `apt install libcap-dev`",
    "ffi.h": "libffi's headers: `apt install libffi-dev`",
    "openssl/ssl.h": "OpenSSL's headers: `apt install libssl-dev`",
    "openssl/opensslv.h": "OpenSSL's headers: `apt install libssl-dev`",
    "libpq-fe.h": "PostgreSQL's headers: `apt install libpq-dev`",
    "mysql.h": "MySQL's headers: `apt install default-libmysqlclient-dev`",
    "libxml/xpath.h": "libxml2's headers: `apt install libxml2-dev libxslt1-dev`",
    "libxml/xmlversion.h": "libxml2's headers: `apt install libxml2-dev libxslt1-dev`",
    "zlib.h": "zlib's headers: `apt install zlib1g-dev`",
    "bzlib.h": "bzip2's headers: `apt install libbz2-dev`",
    "lzma.h": "xz's headers: `apt install liblzma-dev`",
    "sqlite3.h": "SQLite's headers: `apt install libsqlite3-dev`",
    "jpeglib.h": "libjpeg's headers: `apt install libjpeg-dev`",
    "yaml.h": "libyaml's headers: `apt install libyaml-dev`",
    "ldap.h": "OpenLDAP's headers: `apt install libldap-dev libsasl2-dev`",
    "krb5.h": "Kerberos' headers: `apt install libkrb5-dev`",
    "dbus/dbus.h": "D-Bus' headers: `apt install libdbus-1-dev`",
    "cairo.h": "cairo's headers: `apt install libcairo2-dev`",
    "portaudio.h": "PortAudio's headers: `apt install portaudio19-dev`",
    "systemd/sd-daemon.h": "systemd's headers: `apt install libsystemd-dev`",
}


def _header(match: re.Match[str]) -> str:
    name = match["name"]
    known = _HEADERS.get(name)
    return f"install {known}" if known else f"install the system package that holds the header `{name}`"


def _library(match: re.Match[str]) -> str:
    return f"install the system package that holds the library `lib{match['name']}` and its headers"


def _compiler(match: re.Match[str]) -> str:
    return f"the build needs `{match['name']}`: install a compiler (`apt install build-essential`)"


def _tool(match: re.Match[str]) -> str:
    return f"the build needs the program `{match['name']}`: install it below `/usr`, where builds can see it"


def _network(_: re.Match[str]) -> str:
    return (
        "the build wants the network, which builds do not have; ask its authors to ship what it downloads, "
        "or allow the hosts it needs with `allow-net` in `[tool.pypm.sandbox.build]`"
    )


def _module(match: re.Match[str]) -> str:
    return (
        f"the build imports `{match['name']}` without listing it in `build-system.requires`; "
        "ask its authors to add it (where there is only a `setup.py`, in a `pyproject.toml` beside it), "
        "or require a version that has a wheel"
    )


def _python_2(_: re.Match[str]) -> str:
    return "its `setup.py` is written for Python 2; require a newer version, or another package"


def _gone(match: re.Match[str]) -> str:
    return (
        f"its build needs `{match['name']}`, which newer Pythons and setuptools no longer have; "
        "require a newer version or one that has a wheel, or choose an older Python with `--python`"
    )


def _memory(_: re.Match[str]) -> str:
    return "the build ran out of memory; raise `memory` in `[tool.pypm.sandbox.build]`"


def _space(_: re.Match[str]) -> str:
    return "there is no space left for the build; `pypm cache prune` frees some"


def _read_only(match: re.Match[str]) -> str:
    return f"the build writes to `{match['name']}`, outside its own folder; ask its authors to change that"


_COMPILERS = r"gcc|g\+\+|cc|c\+\+|clang"
_TOOLS = r"cargo|rustc|cmake|ninja|make|swig|pkg-config|git|gfortran"
_PYTHON_2_MODULES = r"ConfigParser|StringIO|__builtin__|commands|httplib|urllib2|urlparse|Queue"
_GONE_MODULES = r"asynchat|asyncore|distutils|imp|pkg_resources"

_MENDS: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"fatal error: '?(?P<name>[\w./+-]+\.h(?:pp)?)'?(?:: No such file| file not found)", _header),
    (r"cannot find -l(?P<name>[\w.+-]+)", _library),
    (r"No package '(?P<name>[\w.+-]+)' found", _library),
    (
        rf"(?:unable to execute|No such file or directory:|command) '?(?P<name>{_COMPILERS})'?(?![\w-])",
        _compiler,
    ),
    (rf"[Uu]nknown compiler\(s\): \[\['?(?P<name>{_COMPILERS})", _compiler),
    (r"error: linker `(?P<name>cc)` not found", _compiler),
    (rf"No such file or directory: '(?P<name>{_TOOLS})'", _tool),
    (rf"\b(?P<name>{_TOOLS}): (?:command )?not found", _tool),
    (r"Temporary failure in name resolution|Name or service not known|Network is unreachable", _network),
    (r"Could not resolve host|NameResolutionError|failed to lookup address|dns error", _network),
    (rf"No module named '(?P<name>{_PYTHON_2_MODULES})'", _python_2),
    (r"SyntaxError: Missing parentheses in call to '(?:print|exec)'", _python_2),
    (rf"No module named '(?P<name>{_GONE_MODULES})\b", _gone),
    (r"(?:ModuleNotFoundError|ImportError): No module named '(?P<name>\w+)", _module),
    (r"MemoryError|Cannot allocate memory|virtual memory exhausted|Killed signal terminated", _memory),
    (r"No space left on device", _space),
    (r"Read-only file system: '(?P<name>[^']+)'", _read_only),
)
_CAUSES = tuple((re.compile(pattern), mend) for pattern, mend in _MENDS)


def diagnose(lines: Iterable[str]) -> str | None:
    """Give the hint for the last line that names a usual cause, or None.

    The last, because builds probe for things that they can do without, and fail with what they cannot.
    """
    for line in reversed(tuple(lines)):
        for pattern, mend in _CAUSES:
            if match := pattern.search(line):
                return mend(match)
    return None
