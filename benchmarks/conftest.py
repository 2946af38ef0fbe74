"""Workloads have the form of case files, but are timed, not judged."""

collect_ignore_glob = ["workloads/*"]
