"""Text on the terminal."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

UNBOUNDED = 10_000


def console(*, off_terminal: int = 120) -> Any:
    """stdout as rich sees it: as wide as the terminal, or so wide where it is a pipe or a file."""
    from rich.console import Console

    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else off_terminal, highlight=False, markup=False)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, cut: str = "") -> Any:
    """A table without lines; cells wrap on a narrow terminal, but those of the column `cut` are cut off."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        made.add_column(name, no_wrap=name == cut or name == header[0])
    for row in rows:
        made.add_row(*row)
    return made
