from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from pypm.codec.pyproject import DEFAULT_REQUIRES_PYTHON, content_hash, parse_project
from pypm.errors import ConfigurationError
from pypm.model.project import (
    DEFAULT_INDEX_NAME,
    DEFAULT_INDEX_URL,
    Index,
    IndexSource,
    PathSource,
    Project,
    UrlSource,
    VcsSource,
    WorkspaceSource,
)

ROOT = Path("/somewhere/my-project")
HEAD = '[project]\nname = "demo"\nversion = "1.0"\n'

FULL = """
[build-system]
requires = ["hatchling==1.27.0"]
build-backend = "hatchling.build"

[project]
name = "My.Demo"
version = "1.0.0-rc1"
requires-python = ">=3.10,<4"
dependencies = ["Flask[async]>=2", "tomli; python_version < '3.11'"]
scripts = { demo = "demo.cli:main" }

[project.optional-dependencies]
Fast_Path = ["uvloop"]

[dependency-groups]
test = ["pytest"]
dev = ["ruff", { include-group = "Test" }]

[tool.other]
anything = 1

[tool.pypm]
constraints = ["werkzeug<3"]
overrides = ["jinja2==3.1"]
exclusions = ["colorama"]
environments = "sys_platform == 'linux'"
required-environments = ["sys_platform == 'win32'"]
conflicts = [[{ extra = "fast-path" }, { group = "test" }]]
resolution = "lowest-direct"
prerelease = "allow"
exclude-newer = "7 days"
exclude-newer-package = { Flask = 2026-01-31 }
no-build = true
no-binary-package = ["Some_Thing"]
default-groups = ["test"]
sandbox = { run = { memory = "1 GiB" } }
signing = { required = true }

[[tool.pypm.index]]
name = "corp"
url = "https://corp.test/simple/"
explicit = true

[[tool.pypm.index]]
name = "folder"
url = "./wheels"
format = "flat"

[tool.pypm.sources]
flask = { index = "corp" }
uvloop = [
    { git = "https://host.test/u.git", rev = "abc", marker = "os_name == 'posix'" },
    { url = "https://host.test/u.whl", marker = "os_name != 'posix'" },
]
pytest = { path = "./vendor//pytest/", editable = true }
ruff = { workspace = true }
"""


def parse(text: str) -> Project:
    return parse_project(text.encode(), root=ROOT)


def problems(text: str) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        parse(text)
    assert caught.value.reference == "invalid-configuration"
    return caught.value.details


def test_a_full_project() -> None:
    project = parse(FULL)
    assert (project.name, project.version, project.root) == ("my-demo", "1.0.0rc1", ROOT)
    assert project.requires_python == SpecifierSet(">=3.10,<4")
    assert [str(requirement) for requirement in project.dependencies] == [
        "Flask[async]>=2",
        'tomli; python_version < "3.11"',
    ]
    assert project.extras == {"fast-path": (Requirement("uvloop"),)}
    assert project.groups == {
        "test": (Requirement("pytest"),),
        "dev": (Requirement("ruff"), Requirement("pytest")),
    }
    assert project.default_groups == ("test",)
    assert project.scripts == {"demo": "demo.cli:main"}
    assert project.is_package
    assert project.build_system is not None
    assert project.build_system.backend == "hatchling.build"
    assert project.sandbox == {"run": {"memory": "1 GiB"}}
    assert project.tool == {"signing": {"required": True}}


def test_where_packages_come_from() -> None:
    project = parse(FULL)
    assert project.indexes == (
        Index(name="corp", url="https://corp.test/simple", explicit=True),
        Index(name="folder", url="./wheels", flat=True),
        Index(name=DEFAULT_INDEX_NAME, url=DEFAULT_INDEX_URL),
    )
    posix, other = Marker("os_name == 'posix'"), Marker("os_name != 'posix'")
    assert project.sources == {
        "flask": (IndexSource(index="corp"),),
        "uvloop": (
            VcsSource(kind="git", url="https://host.test/u.git", revision="abc", marker=posix),
            UrlSource(url="https://host.test/u.whl", marker=other),
        ),
        "pytest": (PathSource(path="vendor/pytest", editable=True),),
        "ruff": (WorkspaceSource(),),
    }


def test_what_steers_resolution() -> None:
    settings = parse(FULL).settings
    assert (settings.strategy, settings.prerelease, settings.exclude_newer) == (
        "lowest-direct",
        "allow",
        "7 days",
    )
    assert settings.exclude_newer_package == {"flask": "2026-01-31"}
    assert settings.constraints == (Requirement("werkzeug<3"),)
    assert settings.overrides == (Requirement("jinja2==3.1"),)
    assert settings.exclusions == ("colorama",)
    assert settings.environments == (Marker("sys_platform == 'linux'"),)
    assert settings.required_environments == (Marker("sys_platform == 'win32'"),)
    assert settings.conflicts == (("extra:fast-path", "group:test"),)
    assert (settings.no_build, settings.no_binary) == (True, False)
    assert settings.no_binary_package == ("some-thing",)


def test_a_small_project_gets_the_defaults() -> None:
    project = parse(HEAD)
    assert project.requires_python == DEFAULT_REQUIRES_PYTHON
    assert project.indexes == (Index(name=DEFAULT_INDEX_NAME, url=DEFAULT_INDEX_URL),)
    assert (project.dependencies, project.default_groups, project.build_system) == ((), (), None)
    assert not project.is_package


def test_a_file_without_project_is_virtual() -> None:
    project = parse('[dependency-groups]\ndev = ["ruff"]\n[tool.pypm]\nno-build = true')
    assert (project.name, project.version, project.is_package) == ("my-project", None, False)
    assert project.default_groups == ("dev",)


def test_package_can_be_chosen() -> None:
    build = '[build-system]\nrequires = ["x"]\n'
    assert parse(HEAD + build).is_package
    assert not parse(HEAD + build + "[tool.pypm]\npackage = false").is_package
    assert parse(HEAD + "[tool.pypm]\npackage = true").is_package


def test_a_build_system_without_backend_is_the_legacy_one() -> None:
    build_system = parse(HEAD + '[build-system]\nrequires = ["setuptools"]').build_system
    assert build_system is not None
    assert build_system.backend == "setuptools.build_meta:__legacy__"


def test_a_default_index_of_the_project_stands_last() -> None:
    text = (
        '[[tool.pypm.index]]\ndefault = true\nurl = "https://m.test/s"\n'
        '[[tool.pypm.index]]\nname = "b"\nurl = "https://b.test"\n'
    )
    assert [index.name for index in parse(text).indexes] == ["b", DEFAULT_INDEX_NAME]


def test_all_problems_are_told_at_once_with_their_paths() -> None:
    found = problems(
        """
[project]
name = "-x-"
dependencies = ["a", "b = 1", 3]
dynamic = ["dependencies", "nmae"]
requires-python = "3.10"
[tool.pypm]
no-biuld = true
constraint-dependencies = []
cache-dir = "/x"
"""
    )
    text = "\n".join(found)
    assert len(found) == 10
    for part in (
        "`project.name`: `-x-` is not a name",
        "`project.dependencies[1]` is not a requirement",
        "hint: write `b==1`",
        "`project.dependencies[2]`: must be text, not a whole number",
        "`project.version`: is missing",
        "`project.requires-python`: `3.10` is not a version condition (PEP 440): did you mean `>=3.10`?",
        "`project.dynamic[0]`: `dependencies` is given in `[project]` too",
        "`tool.pypm.no-biuld`: unknown key: did you mean `no-build`?",
        "`tool.pypm.constraint-dependencies`: unknown key: it is called `constraints` here",
        "`tool.pypm.cache-dir`: unknown key: this is for the user to decide",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[project]\n", "`project.name`: is missing"),
        ('project = "x"', "`project`: must be a table, not text"),
        ('[project]\nname = "a"\nversion = "x.y"', "`project.version`: `x.y` is not a version"),
        (HEAD + 'requires-python = ">=3.12,<3.8"', "no version satisfies"),
        (HEAD + 'dynamic = ["name"]', "`name` must not be dynamic"),
        (HEAD + 'dynamic = ["dependecies"]', "did you mean `dependencies`?"),
        (HEAD + "dependecies = []", "`project.dependecies`: unknown key: did you mean `dependencies`?"),
        (HEAD + "[project.dependency-groups]", "outside `[project]`"),
        (
            HEAD + 'scripts = { a = "no way" }',
            "`project.scripts.a`: `no way` is not of the form `module:function`",
        ),
        (HEAD + 'scripts = { "../a" = "a:b" }', "is not a name for a script"),
        (HEAD + 'scripts = { a = "a:b" }\ngui-scripts = { a = "a:b" }', "in `scripts` and in `gui-scripts`"),
        (HEAD + "[project.optional-dependencies]\na-b = []\nA_b = []", "the extra `a-b` is defined twice"),
        (HEAD + "[dependency-group]", "unknown table: did you mean `dependency-groups`?"),
        ("[dependency-groups]\na-b = []\nA_b = []", "the group `a-b` is defined twice"),
        ('[dependency-groups]\na = [{ include-group = "b" }]', "there is no group `b`"),
        ('[dependency-groups]\na = [{ include-group = "a" }]', "in a circle: a -> a"),
        ('[dependency-groups]\na = [{ include = "a" }]', "did you mean `include-group`?"),
        ("[dependency-groups]\na = [1]", "must be a requirement or"),
        ("[build-system]", "`build-system.requires`: is missing"),
        ('[build-system]\nrequires = []\nbuild-backend = "a b"', "`a b` is not of the form"),
        ('[build-system]\nrequires = []\nbackend-path = ["../x"]', "leads out of the project"),
        ('[tool.pypm]\nenvironments = ["os = 1"]', "is not a marker"),
        ('[tool.pypm]\nresolution = "lowets"', "did you mean `lowest`?"),
        ('[tool.pypm]\nno-build = "yes"', "`tool.pypm.no-build`: must be `true` or `false`, not text"),
        ("[tool.pypm.build-dependencies]", "`tool.pypm.build-dependencies`: unknown key"),
        ("[tool.pypm.audit]", "`tool.pypm.audit`: unknown key"),
        ('[tool.pypm]\nexclude-newer = "soon"', "neither a date"),
        ("[tool.pypm]\nexclude-newer = 7", "must be a date"),
        ('[tool.pypm]\nconstraints = ["a[b]<1"]', "cannot ask for extras"),
        ('[tool.pypm]\ndefault-groups = ["x"]', "there is no group `x`"),
        ("[tool.pypm]\npackage = true", "describes no package"),
        ('[tool.pypm]\nconflicts = [[{ extra = "x" }]]', "there is no extra `x`"),
        ("[dependency-groups]\na = []\n[tool.pypm]\nconflicts = [[{ group = 'a' }]]", "at least two"),
        ('[tool.pypm]\nconflicts = [[{ extras = "x" }]]', "`tool.pypm.conflicts[0][0].extras`: unknown key"),
        ("[tool.pypm]\nconflicts = [1]", "must be a list of tables"),
        ('[[tool.pypm.index]]\nurl = "https://a.test"', "name`: is missing"),
        ('[[tool.pypm.index]]\nname = "a"', "`tool.pypm.index[0].url`: is missing"),
        ('[[tool.pypm.index]]\nname = "a"\nurl = "a.test"', "must start with `https://`"),
        ('[[tool.pypm.index]]\nname = "a"\nurl = "https://u:p@a.test"', "holds credentials"),
        ('[[tool.pypm.index]]\nname = "a"\nurl = "https://a.test"\nformat = "html"', "must be one of"),
        ('[[tool.pypm.index]]\nname = "a"\nurl = "https://a.test"\n' * 2, "two indexes named `a`"),
        ('[[tool.pypm.index]]\nname = "default"\nurl = "https://a.test"', "add `default = true`"),
        ('[tool.pypm.sources]\na = { index = "corp" }', "there is no index `corp`"),
        ('[tool.pypm.sources]\na = { path = "a", git = "b" }', "has `path` and `git`"),
        ("[tool.pypm.sources]\na = {}", "has none"),
        ('[tool.pypm.sources]\na = { path = "a", rev = "b" }', "`tool.pypm.sources.a.rev`: unknown key"),
        ('[tool.pypm.sources]\na = { git = "a", rev = "b", tag = "c" }', "more than one of"),
        ('[tool.pypm.sources]\na = { git = "--upload-pack=x" }', "is not the address of a repository"),
        ('[tool.pypm.sources]\na = [{ path = "a" }, { path = "b" }]', "needs a `marker`"),
        (f'[project]\nname = "a"\nversion = "{"1" * 9999}"', "is not a version"),
        (
            f'[project]\nname = "a"\nversion = "1"\nrequires-python = ">=3.{"1" * 9999}"',
            "not a version condition",
        ),
        ('[tool.pypm]\nexclude-newer = "999999999999 days"', "is neither a date"),
        ('[tool.pypm.sources]\na = "corp"', "must be a table or a list of tables"),
        ('[tool.pypm.sources]\na = { git = "g", subdirectory = "../x" }', "leads out of the source tree"),
    ],
)
def test_each_problem_is_named(text: str, problem: str) -> None:
    assert any(problem in line for line in problems(text)), problems(text)


def test_credentials_are_not_repeated_in_the_message() -> None:
    text = '[[tool.pypm.index]]\nname = "a"\nurl = "https://user:secret@a.test"'
    assert "secret" not in "".join(problems(text))


def test_a_circle_of_groups_is_shown() -> None:
    found = problems(
        '[dependency-groups]\na = [{include-group = "b"}]\n'
        'b = [{include-group = "c"}]\nc = [{include-group = "b"}]'
    )
    assert found == ("`dependency-groups.c[0]`: groups include each other in a circle: b -> c -> b",)


def test_a_syntax_error_is_shown_with_line_and_column() -> None:
    with pytest.raises(ConfigurationError, match="line 2, column 8") as caught:
        parse("[project]\nname = demo\n")
    assert caught.value.details == ("2 | name = demo", "  |        ^")


@pytest.mark.parametrize(
    "content",
    [
        *(b"\xff", b"\xef\xbb\xbf[project]", b"a = " + b"[" * 100_000, b"[a", b"a = 1\na = 2"),
        b"a = " + b"9" * 10_000,
    ],
)
def test_what_is_not_toml_is_refused(content: bytes) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_project(content, root=ROOT)
    assert caught.value.reference == "malformed-toml"


def test_the_content_hash_is_the_same_for_every_spelling() -> None:
    other = (
        FULL.replace("\n[tool.other]\nanything = 1\n", "")
        .replace(
            '"Flask[async]>=2", "tomli; python_version < \'3.11\'"',
            '\n"tomli ;python_version<\\"3.11\\"",\n"flask[ASYNC] >= 2", # why\n',
        )
        .replace("Fast_Path", '"fast.path"')
        .replace("vendor//pytest/", "vendor/pytest")
        .replace('">=3.10,<4"', '"<4, >=3.10"')
        .replace('version = "1.0.0-rc1"', 'version = "2"')
        .replace("signing = { required = true }", "")
    )
    assert other != FULL
    assert content_hash(parse(other)) == content_hash(parse(FULL))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<4", "<5"),
        ("Flask[async]>=2", "Flask>=2"),
        ('["uvloop"]', '["uvloop>1"]'),
        ('test = ["pytest"]', 'test = ["pytest>1"]'),
        ("werkzeug<3", "werkzeug<4"),
        ("lowest-direct", "lowest"),
        ("7 days", "8 days"),
        ("2026-01-31", "2026-02-01"),
        ("no-build = true", "no-build = false"),
        ("https://corp.test", "https://corp2.test"),
        ("explicit = true", "explicit = false"),
        ('rev = "abc"', 'rev = "abd"'),
        ("editable = true", "editable = false"),
        ("sys_platform == 'linux'", "sys_platform == 'darwin'"),
        ('default-groups = ["test"]', ""),
        ("hatchling==1.27.0", "hatchling==1.28.0"),
        ('exclusions = ["colorama"]', ""),
    ],
)
def test_the_content_hash_changes_with_every_input(before: str, after: str) -> None:
    assert before in FULL
    assert content_hash(parse(FULL.replace(before, after))) != content_hash(parse(FULL))


def test_a_mirror_of_the_default_index_keeps_the_content_hash() -> None:
    mirrored = HEAD + '[[tool.pypm.index]]\nurl = "https://mirror.test/simple"\ndefault = true'
    assert content_hash(parse(mirrored)) == content_hash(parse(HEAD))
    named = HEAD + '[[tool.pypm.index]]\nname = "m"\nurl = "https://mirror.test/simple"\ndefault = true'
    assert content_hash(parse(named)) != content_hash(parse(HEAD))
    assert content_hash(parse(named), default_index_url="https://mirror.test/simple") == content_hash(
        parse(HEAD)
    )


def test_the_content_hash_of_a_virtual_project_is_independent_of_its_folder() -> None:
    text = b'[dependency-groups]\ndev = ["ruff"]'
    one, other = (parse_project(text, root=Path(folder)) for folder in ("/a/one", "/b/other"))
    assert content_hash(one) == content_hash(other)


@given(st.permutations(["a>=1", "b", "c[x]; os_name == 'nt'", "d<2,>=1"]), st.randoms())
def test_the_order_of_requirements_is_no_input(dependencies: list[str], rng: random.Random) -> None:
    listed = ", ".join(f'"{dependency}"' for dependency in dependencies)
    lines = [f"dependencies = [{listed}]", 'requires-python = ">=3.11"']
    rng.shuffle(lines)
    base = (
        HEAD
        + 'requires-python = ">=3.11"\ndependencies = ["a>=1", "b", "c[x]; os_name == \'nt\'", "d<2,>=1"]'
    )
    assert content_hash(parse(HEAD + "\n".join(lines))) == content_hash(parse(base))


def test_this_projects_own_file_is_valid() -> None:
    root = Path(__file__).resolve().parent.parent
    project = parse_project((root / "pyproject.toml").read_bytes(), root=root)
    assert project.name == "pypm"
    assert project.is_package
    assert "dev" in project.default_groups
