"""What commands print to a terminal, which obeys some characters: everything goes through here.

Tables and progress bars, which need rich, have a console of ``lossproof.cli.terminal`` instead.
"""

from __future__ import annotations

import sys

from lossproof.core.escape import visible


def say(line: str = "", *, error: bool = False) -> None:
    """One line, whatever stands in it; an ``error`` goes to standard error."""
    print(visible(line), file=sys.stderr if error else sys.stdout, flush=True)


def write(document: str) -> None:
    """A text of another format (Python, JSON), whose own writer has escaped what others wrote."""
    print(document)
