"""Real projects, locked on the real index beside a peer."""
