"""One file an attack; see `docs/escape.md` for what a file may define."""
