"""Source trees to wheels: the PEP 517 and PEP 660 front end, and the scripts that run inside the sandbox."""
