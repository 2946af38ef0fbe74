"""What of this folder ``pytest benchmarks`` times: backends on workloads.

Workloads have the form of case files, but are timed, not judged. What the harness itself costs is timed
where it is asked for: ``pytest benchmarks/harness``.
"""

collect_ignore = ["harness"]
collect_ignore_glob = ["workloads/*"]
