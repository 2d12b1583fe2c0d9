"""Frozen data that flows between the rooms. No I/O; imports `packaging` and the standard library only."""
