"""Write docs/findings.md: python -m tests.findings --write"""

from __future__ import annotations

import sys
from pathlib import Path

from lossproof.site.findings import page

PAGE = Path(__file__).parent.parent / "docs" / "findings.md"
LINK = "../spec/{}.md"

if __name__ == "__main__":
    if "--write" in sys.argv:
        PAGE.write_text(page(LINK), encoding="utf-8")
    else:
        print(page(LINK), end="")
