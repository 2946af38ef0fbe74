"""The cases: one folder per function, one YAML file per topic."""
