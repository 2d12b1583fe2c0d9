"""Scenarios: small universes of packages with the answer that a resolver must give."""
