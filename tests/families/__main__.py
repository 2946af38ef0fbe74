"""``python -m tests.families`` names the case files that are not what the families make; ``--write`` makes
them anew, and removes those that no family makes any more."""

from __future__ import annotations

import sys

from lossproof.case.read import load_file
from tests.families._page import is_made, page
from tests.families._topic import CASES, every_topic


def main() -> int:
    write = "--write" in sys.argv
    stale = 0
    topics = {topic.path: topic for topic in every_topic()}
    for path, topic in topics.items():
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        new = page(topic, old)
        if new == old:
            continue
        stale += 1
        print(path.relative_to(CASES.parent))
        load_file(path, new)
        if write:
            path.write_text(new, encoding="utf-8")
    for path in sorted(CASES.rglob("*.yaml")):
        if path not in topics and is_made(path.read_text(encoding="utf-8")):
            stale += 1
            print(f"{path.relative_to(CASES.parent)}: no family makes it")
            if write:
                path.unlink()
    return 1 if stale and not write else 0


if __name__ == "__main__":
    raise SystemExit(main())
