"""The specification: pages of numbered clauses, and JSON Schemas."""
