"""Adapters in processes of their own: what is sent, how it is answered, and how a process ends."""
