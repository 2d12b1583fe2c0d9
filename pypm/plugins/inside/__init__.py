"""What runs in the sandboxed host: standard library only, loaded from this folder by whichever interpreter.

`context` is the exception that is used on both sides: what a hook is told has one definition.
"""
