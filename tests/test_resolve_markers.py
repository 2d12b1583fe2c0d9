"""Markers to nodes and back: what the text says is what `packaging` evaluates."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packaging.markers import Marker
from packaging.specifiers import SpecifierSet

from pypm.resolve.diagram import FALSE, TRUE
from pypm.resolve.marker_text import NEVER, marker_text, simplified
from pypm.resolve.markers import Markers, lower_bound

PYTHONS = ("3.8.0", "3.9.0", "3.9.5", "3.10.1", "3.11.0", "3.12.0", "3.12.4", "3.13.0")
SYSTEMS = (
    ("posix", "linux", "Linux"),
    ("posix", "darwin", "Darwin"),
    ("nt", "win32", "Windows"),
    ("posix", "freebsd14", "FreeBSD"),
)
ENVIRONMENTS = [
    {
        "implementation_name": implementation.lower(),
        "implementation_version": python,
        "os_name": os_name,
        "platform_machine": machine,
        "platform_python_implementation": implementation,
        "platform_release": "6.1.0",
        "platform_system": system,
        "platform_version": "#1",
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
        "sys_platform": platform,
        "extra": extra,
    }
    for python, (os_name, platform, system), machine, implementation, extra in product(
        PYTHONS, SYSTEMS, ("x86_64", "arm64"), ("CPython", "PyPy"), ("", "web")
    )
]

atoms = st.sampled_from(
    [
        "python_version >= '3.9'",
        "python_version < '3.12'",
        "python_version == '3.10'",
        "python_version != '3.11'",
        "python_version ~= '3.9'",
        "python_version in '3.9 3.12'",
        "python_version not in '3.9, 3.12'",
        "'3.11' <= python_version",
        "python_full_version >= '3.9.5'",
        "python_full_version < '3.12.1'",
        "python_full_version == '3.12.*'",
        "python_full_version ~= '3.12.1'",
        "python_full_version == '3.9'",
        "sys_platform == 'linux'",
        "sys_platform != 'win32'",
        "'linux' in sys_platform",
        "sys_platform in 'linux darwin'",
        "platform_system == 'Windows'",
        "os_name != 'nt'",
        "os_name == 'posix'",
        "platform_machine == 'arm64'",
        "platform_machine not in 'x86_64 amd64'",
        "platform_release >= '6'",
        "implementation_name == 'pypy'",
        "platform_python_implementation != 'PyPy'",
        "extra == 'web'",
        "extra != 'Web'",
    ]
)
texts = st.recursive(
    atoms,
    lambda inner: st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(
        lambda parts: f"({parts[0]}) {parts[1]} ({parts[2]})"
    ),
    max_leaves=6,
)


def truth(marker: Marker | None) -> list[bool]:
    return [marker is None or marker.evaluate(environment) for environment in ENVIRONMENTS]


@given(texts)
@settings(max_examples=80, deadline=None)
def test_the_text_of_a_marker_says_what_the_marker_said(text: str) -> None:
    markers = Markers()
    marker = Marker(text)
    node = markers.parse(marker)
    assert truth(simplified(markers, node, TRUE)) == truth(marker)


@given(texts, st.sampled_from([">=3.9", ">=3.10", ">=3.9,<3.12", ">=3.12.1"]))
@settings(max_examples=80, deadline=None)
def test_simplified_text_holds_for_every_python_that_is_admitted(text: str, requires_python: str) -> None:
    markers = Markers()
    specifiers = SpecifierSet(requires_python)
    care = markers.diagram.conjoin(markers.world(), markers.admits(specifiers))
    marker = Marker(text)
    written = simplified(markers, markers.parse(marker), care)
    for environment, before, after in zip(ENVIRONMENTS, truth(marker), truth(written), strict=True):
        if specifiers.contains(environment["python_full_version"]):
            assert before == after, environment


@given(texts)
@settings(max_examples=60, deadline=None)
def test_text_is_a_function_of_meaning_alone(text: str) -> None:
    first, second = Markers(), Markers()
    for unrelated in ("sys_platform == 'aix'", "python_version < '3.7'", "platform_machine == 's390x'"):
        second.parse(Marker(unrelated))
    marker = Marker(text)
    mirrored = Marker(f"({text}) or ({text})")
    assert marker_text(first, first.parse(marker), TRUE) == marker_text(second, second.parse(mirrored), TRUE)


@pytest.mark.parametrize(
    ("written", "requires_python", "expected"),
    [
        ("python_version >= '3.8'", ">=3.10", None),
        ("python_version < '3.9'", ">=3.10", NEVER),
        (
            "python_version >= '3.12' and sys_platform == 'linux' or python_version < '3.12'",
            ">=3.10",
            "python_version < '3.12' or sys_platform == 'linux'",
        ),
        (
            "sys_platform == 'win32' or sys_platform == 'darwin'",
            ">=3.10",
            "sys_platform == 'darwin' or sys_platform == 'win32'",
        ),
        ("python_full_version == '3.12.*'", ">=3.10", "python_version == '3.12'"),
        ("python_full_version <= '3.11'", ">=3.10", "python_full_version <= '3.11.0'"),
        ("sys_platform == 'win32' and os_name == 'posix'", ">=3.10", NEVER),
        ("'Web_UI' in extras", ">=3.10", "'web-ui' in extras"),
        (
            "'web' in extras or 'dev' in dependency_groups",
            ">=3.10",
            "'dev' in dependency_groups or 'web' in extras",
        ),
    ],
)
def test_markers_are_said_briefly(written: str, requires_python: str, expected: str | None) -> None:
    markers = Markers()
    care = markers.diagram.conjoin(markers.world(), markers.admits(SpecifierSet(requires_python)))
    assert sorted((marker_text(markers, markers.parse(Marker(written)), care) or "").split(" or ")) == sorted(
        (expected or "").split(" or ")
    )


def test_impossible_platforms_are_no_part_of_the_world() -> None:
    markers = Markers()
    for text in (
        "os_name == 'nt' and sys_platform == 'linux'",
        "os_name == 'posix' and sys_platform == 'win32'",
        "platform_system == 'FreeBSD' and sys_platform == 'darwin'",
    ):
        assert markers.diagram.disjoint(markers.parse(Marker(text)), markers.world())
    possible = markers.parse(Marker("platform_system == 'iOS' and sys_platform == 'ios'"))
    assert not markers.diagram.disjoint(possible, markers.world())


def test_platform_system_says_what_sys_platform_says() -> None:
    markers = Markers()
    for system, platform in (("Windows", "win32"), ("Darwin", "darwin"), ("Linux", "linux")):
        same = [Marker(f"platform_system == '{system}'"), Marker(f"sys_platform == '{platform}'")]
        assert markers.parse(same[0]) == markers.parse(same[1])
    contradiction = Marker("sys_platform == 'linux' and platform_system == 'Windows'")
    assert markers.parse(contradiction) == FALSE
    assert markers.parse(Marker("sys_platform == 'cygwin' and platform_system == 'CYGWIN_NT-10.0'")) != FALSE


def test_with_an_environment_only_extras_stay_open() -> None:
    markers = Markers(ENVIRONMENTS[0])
    assert markers.parse(Marker("python_version < '3.9' and sys_platform == 'linux'")) == TRUE
    assert markers.parse(Marker("sys_platform == 'win32'")) == FALSE
    assert markers.parse(Marker("'web' in extras")) not in (TRUE, FALSE)


@pytest.mark.parametrize(
    ("specifiers", "expected"),
    [
        (">=3.8", ((3, 8), 0)),
        (">=3.8,<4,!=3.9.0", ((3, 8), 0)),
        (">3.8", ((3, 8), 1)),
        ("~=3.8.2", ((3, 8, 2), 0)),
        ("==3.9.*", ((3, 9), 0)),
        (">=2.7,!=3.0.*,!=3.1.*", ((2, 7), 0)),
        (">=3.9,!=3.9.0,!=3.9.1", ((3, 9, 2), 0)),
        (">3.9,!=3.9.1", ((3, 9, 2), 0)),
        (">3.9,!=3.9.2", ((3, 9), 1)),
        (">=3.0,!=3.0.*,!=3.1.*", ((3, 2), 0)),
        (">=3.9.1,!=3.9.*", ((3, 10), 0)),
        ("<4", None),
        ("", None),
    ],
)
def test_the_lower_bound_ignores_everything_above(specifiers: str, expected: object) -> None:
    assert lower_bound(SpecifierSet(specifiers)) == expected
