"""`python -m pypm`."""

from __future__ import annotations

from pypm.launch import main

main()
