"""What the harness of real test suites says about tests that fail."""

from integration.suites.__main__ import Comparison, Run, failing


def test_what_fails_is_told_with_where() -> None:
    outside = Run(outcomes={"a": "failed", "b": "passed", "c": "error", "d": "passed"}, seconds=0, printed="")
    inside = Run(outcomes={"a": "error", "b": "failed", "c": "passed", "d": "skipped"}, seconds=0, printed="")
    comparison = Comparison(suite="x", outside=outside, inside=inside, named={}, unnamed=("b", "c", "d"))
    assert list(failing(comparison)) == [("a", "both ways"), ("b", "inside"), ("c", "outside")]
