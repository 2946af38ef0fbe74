"""Standalone scripts that show what a backend does, to be filed upstream."""
