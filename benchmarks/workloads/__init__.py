"""Workloads: cases at the sizes of training steps, which benchmarks time."""
