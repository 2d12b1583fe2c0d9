"""Summaries of weather stations, out of a table of daily measurements."""
