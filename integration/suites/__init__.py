"""Test suites of real projects, run outside and inside the sandbox, compared test by test."""
