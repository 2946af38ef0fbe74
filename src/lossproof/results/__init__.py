"""What becomes of records: counts and gates, files, badges, and comparisons of two runs."""
