"""Plugins: native or in Python, called at the stages of a command, each in a sandboxed host of its own.

`pypm_plugin.h` is the ABI; everything else in this room is checked against it.
"""
