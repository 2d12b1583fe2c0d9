"""The environments that scenarios ask for: marker variables and wheel tags of a platform that need not be
here."""

from __future__ import annotations

from packaging.tags import compatible_tags, cpython_tags

from pypm.model.target import Target

DEFAULT_PLATFORM = "x86_64-manylinux_2_28"


def target_for(python: str, platform: str | None) -> Target:
    """Return the environment of a CPython on a platform, named as uv names platforms."""
    release = [int(part) for part in python.split(".")]
    full = ".".join(str(part) for part in (*release, 0, 0)[:3])
    series = (*release, 0)[:2]
    machine, system, platforms = _platform(platform or DEFAULT_PLATFORM)
    names = {
        "linux": ("posix", "linux", "Linux"),
        "macos": ("posix", "darwin", "Darwin"),
        "windows": ("nt", "win32", "Windows"),
    }
    os_name, sys_platform, platform_system = names[system]
    tags = [str(tag) for tag in cpython_tags(series, platforms=platforms)]
    tags += [str(tag) for tag in compatible_tags(series, f"cp{series[0]}{series[1]}", platforms)]
    return Target(
        marker_environment={
            "implementation_name": "cpython",
            "implementation_version": full,
            "os_name": os_name,
            "platform_machine": machine,
            "platform_python_implementation": "CPython",
            "platform_release": "",
            "platform_system": platform_system,
            "platform_version": "",
            "python_full_version": full,
            "python_version": f"{series[0]}.{series[1]}",
            "sys_platform": sys_platform,
        },
        tags=tuple(tags),
    )


def _platform(name: str) -> tuple[str, str, list[str]]:
    if name in ("linux", "macos", "windows"):
        name = {"linux": "x86_64-manylinux_2_28", "macos": "aarch64-apple-darwin"}.get(
            name, "x86_64-pc-windows"
        )
    machine, _, rest = name.partition("-")
    if "windows" in rest:
        return ("AMD64" if machine == "x86_64" else machine.upper(), "windows", ["win_amd64"])
    if "darwin" in rest:
        arch = "arm64" if machine == "aarch64" else machine
        versions = [
            f"macosx_{major}_0_{kind}" for major in range(15, 10, -1) for kind in (arch, "universal2")
        ]
        return arch, "macos", versions
    legacy = {"manylinux2014": 17, "manylinux2010": 12, "manylinux1": 5}
    newest = legacy.get(rest) or int(rest.rsplit("_", 1)[-1] if rest.rsplit("_", 1)[-1].isdigit() else 28)
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in range(newest, 4, -1)]
    platforms += [f"{tag}_{machine}" for tag, minor in legacy.items() if minor <= newest]
    return machine, "linux", [*platforms, f"linux_{machine}"]
