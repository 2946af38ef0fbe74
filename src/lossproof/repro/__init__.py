"""Standalone scripts that show what a backend does, to be filed upstream.

A short one calls the framework alone; the long one carries the sources of adapter and comparison.
"""
