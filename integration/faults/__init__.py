"""`python -m integration.faults`: what a kill at a bad moment, or a crowd, leaves of a sync."""
