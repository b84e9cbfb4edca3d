"""Landing files to typed tables: mapping, validation and quarantine, in DuckDB SQL."""
