"""What everything else is said in: the table of functions, dtypes, clauses, verdicts, and text for people."""
