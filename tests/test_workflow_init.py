from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypm.codec.pyproject import parse_project
from pypm.codec.requirementsfile import RequirementsFile, parse_requirements_file
from pypm.codec.toml import parse_toml
from pypm.errors import ConfigurationError, StorageError, UsageError
from pypm.model.project import Index
from pypm.workflow.init import NewProject, plan_project, read_requirements, write_project


def planned(name: str = "My.Demo", **more: Any) -> dict[str, str]:
    return dict(plan_project(NewProject(name=name, python="3.11", **more)))


def imported(**files: str) -> RequirementsFile:
    named = {name.replace("_", "."): text for name, text in files.items()}
    return parse_requirements_file("requirements.txt", named.__getitem__)


def test_an_app_has_no_build_system_and_runs(tmp_path: Path) -> None:
    files = planned(kind="app")
    project = parse_project(files["pyproject.toml"].encode(), root=tmp_path)
    assert (project.name, str(project.requires_python), project.is_package) == ("my-demo", ">=3.11", False)
    assert files[".python-version"] == "3.11\n"
    assert "/.venv/" in files[".gitignore"].splitlines()
    assert write_project(tmp_path, files.items()) == ()
    output = subprocess.run(
        [sys.executable, "main.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert output.stdout == "Hello from my-demo!\n"


def test_a_lib_is_a_typed_package_in_src_layout_whose_test_passes(tmp_path: Path) -> None:
    files = planned(kind="lib")
    project = parse_project(files["pyproject.toml"].encode(), root=tmp_path)
    assert project.is_package
    assert [str(one) for one in project.groups["dev"]] == ["pytest"], "what its own test needs"
    assert project.build_system is not None
    assert project.build_system.backend == "hatchling.build"
    assert files["src/my_demo/py.typed"] == ""
    write_project(tmp_path, files.items())
    program = "import sys; sys.path[:0] = ['src', 'tests']; import test_my_demo; test_my_demo.test_hello()"
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)


def test_a_script_carries_its_requirements() -> None:
    files = planned(kind="script", imported=imported(requirements_txt="flask>=2\n"))
    assert list(files) == ["my_demo.py"]
    lines = files["my_demo.py"].splitlines()
    assert (lines[0], lines[5]) == ("# /// script", "# ///")
    metadata = "\n".join(line.removeprefix("# ") for line in lines[1:5])
    assert parse_toml(metadata.encode(), file_name="x") == {
        "requires-python": ">=3.11",
        "dependencies": ["flask>=2"],
    }
    compile(files["my_demo.py"], "my_demo.py", "exec")


@given(st.text(min_size=1, max_size=20))
def test_any_description_is_written_as_valid_toml(description: str) -> None:
    files = planned(description=description)
    assert (
        parse_toml(files["pyproject.toml"].encode(), file_name="x")["project"]["description"] == description
    )


@pytest.mark.parametrize(
    ("name", "kind", "hint"),
    [
        ("mein projekt!", "app", "such as `mein-projekt`"),
        ("§", "app", "choose one with `--name`"),
        ("class", "lib", "no Python keyword"),
        ("3d", "lib", "starts with a letter"),
    ],
)
def test_a_name_that_cannot_be_is_refused(name: str, kind: Any, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        planned(name, kind=kind)
    assert caught.value.reference == "invalid-name"
    assert hint in (caught.value.hint or "")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "main.py").symlink_to(tmp_path / "elsewhere")
    assert write_project(tmp_path, planned().items()) == ("README.md", "main.py")
    assert (tmp_path / "README.md").read_text() == "mine"
    assert not (tmp_path / "elsewhere").exists()
    assert (tmp_path / "pyproject.toml").exists()


def test_a_project_that_is_there_stays_untouched(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("mine")
    with pytest.raises(UsageError, match=r"there is a `pyproject\.toml`"):
        write_project(tmp_path, planned().items())
    assert [path.name for path in tmp_path.iterdir()] == ["pyproject.toml"]


def test_a_requirements_file_becomes_a_project(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "requirements.txt").write_text(
        "# what we need\n"
        "--index-url https://user:secret@mirror.test/simple\n"
        "--extra-index-url=https://corp.test/simple\n"
        "-f ./wheels\n"
        "Flask >= 2  # web\n"
        "requests==2.32.3 \\\n    --hash=sha256:aa \\\n    --hash=sha256:bb\n"
        "-r more/extra.txt\n"
        "-cmore/limits.txt\n"
        "-e ./local\n"
        "--no-binary :all:\n"
        "flask>=2\n"
    )
    (tmp_path / "more" / "extra.txt").write_text("tomli; python_version < '3.11'\n-c limits.txt\n")
    (tmp_path / "more" / "limits.txt").write_text("werkzeug<3\n")
    found = read_requirements(tmp_path / "requirements.txt")
    assert [str(requirement) for requirement in found.requirements] == [
        "Flask>=2",
        "requests==2.32.3",
        'tomli; python_version < "3.11"',
    ]
    assert found.notes == (
        "requirements.txt:2: the credentials of the address were left out; keep them in `~/.netrc`",
        "requirements.txt:11: `./local` was left out; name it in `[tool.pypm.sources]`",
        "requirements.txt:12: `--no-binary` was left out",
        "2 hashes were left out: the lock has its own",
    )
    project = parse_project(planned(imported=found)["pyproject.toml"].encode(), root=tmp_path)
    assert project.dependencies == found.requirements
    assert [str(constraint) for constraint in project.settings.constraints] == ["werkzeug<3"]
    assert project.indexes == (
        Index(name="extra-1", url="https://corp.test/simple"),
        Index(name="find-links-1", url="./wheels", flat=True),
        Index(name="default", url="https://mirror.test/simple"),
    )


def test_lines_that_are_no_requirements_are_told_all_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        imported(requirements_txt="flask = 2\nfine\n./local\n")
    first, second = caught.value.details
    assert first.startswith("`requirements.txt:1` is not a requirement")
    assert "`flask==2`" in first
    assert second.startswith("`requirements.txt:3` is not a requirement")


def test_files_that_include_each_other_are_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        imported(requirements_txt="-r b.txt", b_txt="-r requirements.txt")
    assert "requirements.txt -> b.txt -> requirements.txt" in caught.value.details[0]


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot read `.*none\.txt`"):
        read_requirements(tmp_path / "none.txt")
