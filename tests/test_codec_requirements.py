from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from pypm.codec.requirements import canonical_requirement, parse_requirement
from pypm.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("flask = 1.0", "`flask==1.0`"),
        ("flask=1.0", "`flask==1.0`"),
        ("flask ^1.2", "`flask>=1.2,<2`"),
        ("flask[async]^0.2.3", "`flask[async]>=0.2.3,<0.3`"),
        ("flask >=^1", "`flask>=1,<2`"),
        ("flask ~1.2", "`flask~=1.2`"),
        ("flask ~1", "`flask~=1.0`"),
        ("flask =>1.2", "`flask>=1.2`"),
        ("flask 1.0", "`flask==1.0`"),
        ("flask@1.0", "`flask==1.0`"),
        ("flask@latest", "write `flask`:"),
        ("flask >=1 <2", "commas"),
        ("flask; python_version = '3.8'", "`==` in markers"),
        ("git+https://host.test/a/b.git", "`NAME @ git+https://host.test/a/b.git`"),
        ("https://host.test/a.whl", "`NAME @ https://host.test/a.whl`"),
        ("./here", "tool.pypm.sources"),
        ("", "empty"),
    ],
)
def test_usual_mistakes_are_mended_by_their_hint(text: str, hint: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_requirement(text, where="project.dependencies[3]")
    assert caught.value.message.startswith("`project.dependencies[3]` is not a requirement: ")
    assert caught.value.reference == "malformed-requirement"
    assert hint in (caught.value.hint or "")


def test_the_caret_stands_under_the_column() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_requirement("flask = 1", where="x")
    assert caught.value.details == ("flask = 1", "      ^")


@pytest.mark.parametrize("text", ["flask[", "flask; os_name", "flask>=1,,<2", "§"])
def test_unusual_mistakes_have_no_hint_but_their_place(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_requirement(text, where="x")
    assert caught.value.hint is None
    assert caught.value.details[0] == text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Flask_X[B, a.a]<4,>=3 ; os_name=='nt'", 'flask-x[a-a,b] >=3, <4; os_name == "nt"'),
        ("a(>=1)", "a>=1"),
        ("A @ https://host.test/a.whl ;os_name=='nt'", "a @ https://host.test/a.whl ; os_name == 'nt'"),
    ],
)
def test_every_spelling_has_one_canonical_text(one: str, other: str) -> None:
    assert canonical_requirement(Requirement(one)) == canonical_requirement(Requirement(other))


_names = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,6}[A-Za-z0-9])?", fullmatch=True)
_specifiers = st.builds("{}{}".format, st.sampled_from([">=", "<", "==", "!=", "~="]), st.just("1.2"))
_markers = st.sampled_from(["", "; os_name == 'nt'", "; python_version >= '3.10' and extra == 'x'"])


@given(_names, st.lists(_names, max_size=3), st.lists(_specifiers, max_size=3), _markers)
def test_the_canonical_text_parses_to_itself(
    name: str, extras: list[str], specifiers: list[str], marker: str
) -> None:
    requirement = Requirement(f"{name}[{','.join(extras)}]{','.join(specifiers)}{marker}")
    text = canonical_requirement(requirement)
    assert canonical_requirement(Requirement(text)) == text
    assert Requirement(text).specifier == requirement.specifier
