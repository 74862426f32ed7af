"""A workload, a nemesis, a history of every call, and a checker: see tests/README.md."""
