"""Adapters: how they are found and loaded, and which behaviours are recorded of them."""
