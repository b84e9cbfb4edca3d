"""The one error hierarchy. Each message is one line: what is wrong, where, what to do."""

from __future__ import annotations


class RetailAssetsError(Exception):
    """Anything a user can mend. The CLI prints it as one line and exits with ``exit_code``."""

    exit_code = 1


class SettingsError(RetailAssetsError):
    """A setting, an environment variable or a file in data/rules is wrong."""

    exit_code = 2


class LandingError(RetailAssetsError):
    """A landed file cannot be read: names the file, and the line and column where known."""

    exit_code = 3

    def __init__(self, what: str, *, file: str, line: int | None = None, remedy: str = "") -> None:
        where = file if line is None else f"{file}, line {line}"
        super().__init__(f"{where}: {what}" + (f"; {remedy}" if remedy else ""))
        self.file, self.line = file, line


class ContractError(RetailAssetsError):
    """Rows break the contract of the table they were meant for; nothing was written."""

    exit_code = 4

    def __init__(self, table: str, broken: list[str]) -> None:
        super().__init__(f"table {table}: {'; '.join(broken)}; nothing was written")
        self.table, self.broken = table, broken


class ModelError(RetailAssetsError):
    """A model cannot answer on this data: names the category or product and says why."""

    exit_code = 5
