"""Timings and memory of backends on workloads: ``lossproof bench``."""
