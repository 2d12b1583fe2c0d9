"""Programs that try to get out of the sandbox, and the harness that lets them try."""
