"""The science: pure functions and small dataclasses. No Dagster, no I/O, no globals."""
