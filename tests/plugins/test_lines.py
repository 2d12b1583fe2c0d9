"""The host's own JSON: what it reads and writes is what the standard library would."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pypm.plugins.inside import lines
from pypm.plugins.link import line_of
from pypm.plugins.policy import INSIDE

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.dictionaries(st.text(), values))
def test_it_reads_and_writes_json(value: dict[str, Any]) -> None:
    assert lines.encoded(value) == json.dumps(value, separators=(",", ":"))
    assert lines.decoded(line_of(value).rstrip(b"\n")) == value


def test_what_is_not_json_is_not_read() -> None:
    with pytest.raises((ValueError, StopIteration)):
        lines.decoded(b"{]")


def test_a_host_of_a_native_plugin_imports_little() -> None:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); from inside import native, worker; print(*sys.modules)"
    )
    words = [sys.executable, "-I", "-S", "-c", program, str(INSIDE.parent)]
    loaded = set(subprocess.run(words, capture_output=True, text=True, check=True).stdout.split())
    assert not loaded & {
        "json",
        "re",
        "typing",
        "threading",
        "enum",
        "dataclasses",
        "functools",
        "collections",
    }
