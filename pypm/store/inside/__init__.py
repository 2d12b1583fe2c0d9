"""What runs inside the sandbox, under the target interpreter, with the standard library alone.

A foreign archive is parsed, inflated and compiled here and nowhere else. These modules support Python 3.8,
because any interpreter that a project may ask for runs them, and import each other relatively, because they
are mounted without the rest of pypm.
"""
