"""`make bench`: ratios beside uv and bubblewrap, never absolute times."""
