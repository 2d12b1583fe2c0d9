"""Asked of an interpreter once: what it is, as JSON on stdout. Runs on Python 3.6 and later with `-I -S`."""

# Every import here is paid by every interpreter that is asked: no `pathlib`, no `__future__` (3.6 lacks it).
# ruff: noqa: PTH110, PTH113, PTH118, PTH119, PTH120, PTH123

import json
import os
import platform
import sys
import sysconfig


def real_executable() -> str:
    """Return the binary outside any virtual environment, links resolved."""
    executable = os.path.realpath(sys.executable)
    folder = os.path.dirname(executable)
    for place in (folder, os.path.dirname(folder)):
        settings = os.path.join(place, "pyvenv.cfg")
        if os.path.isfile(settings):
            # A virtual environment made with copies: the link does not lead out, its settings do.
            with open(settings, encoding="utf-8") as lines:
                for line in lines:
                    key, _, value = line.partition("=")
                    if key.strip().lower() == "home":
                        return os.path.realpath(os.path.join(value.strip(), os.path.basename(executable)))
    return executable


def marker_environment() -> dict:  # type: ignore[type-arg] # subscripts need 3.9
    """Return the variables of PEP 508."""
    info = sys.implementation.version
    version = f"{info.major}.{info.minor}.{info.micro}"
    if info.releaselevel != "final":
        version += info.releaselevel[0] + str(info.serial)
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": version,
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    }


def libc() -> str:
    """Return the C library and its version, such as `glibc 2.36`; empty where there is no telling."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or ""
    except (AttributeError, OSError, ValueError):
        return ""


def main() -> None:
    """Print the answer."""
    variables = sysconfig.get_config_vars()
    paths = sysconfig.get_paths()
    library = os.path.join(variables.get("LIBDIR") or "", variables.get("LDLIBRARY") or "")
    shared = bool(variables.get("Py_ENABLE_SHARED")) and os.path.exists(library)
    answer = {
        "executable": real_executable(),
        "version": platform.python_version(),
        "version_info": list(sys.version_info[:3]),
        "build": " ".join(platform.python_build()),
        "compiler": platform.python_compiler(),
        "implementation": sys.implementation.name,
        "cache_tag": sys.implementation.cache_tag,
        "base_prefix": os.path.realpath(sys.base_prefix),
        "exec_prefix": os.path.realpath(sys.base_exec_prefix),
        "stdlib": os.path.realpath(paths["stdlib"]),
        "include": os.path.realpath(paths["include"]),
        "platform": sysconfig.get_platform(),
        "library": os.path.realpath(library) if shared else "",
        "soabi": variables.get("SOABI") or "",
        "free_threaded": bool(variables.get("Py_GIL_DISABLED")),
        "debug": hasattr(sys, "gettotalrefcount"),
        "libc": libc(),
        "is_64bit": sys.maxsize > 2**32,
        "markers": marker_environment(),
    }
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
