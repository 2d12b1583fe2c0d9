"""The plugin `auditwheel` beside PyPA's program of the same name, on their tables and on real wheels."""
