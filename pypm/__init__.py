"""pypm: a Python package manager that runs nothing foreign outside a sandbox.

This package has no import-time work: `pypm.launch` decides within milliseconds
whether a command can take the fast path.
"""

__version__ = "0.2.0"
