"""Take the README's picture of a built site: python .ci/picture.py site/index.html site/matrix.png"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


def take(source: Path, target: Path) -> None:
    """The matrix, with the clauses of one function."""
    browsers = [path for path in map(shutil.which, NAMES) if path is not None]
    if not browsers:
        raise SystemExit(f"picture: no browser here; install one of {', '.join(NAMES)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browsers[0], args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 760})
        page.goto(source.resolve().as_uri() + "#open=softmax")
        page.screenshot(path=target)
        browser.close()


if __name__ == "__main__":
    take(*map(Path, sys.argv[1:]))
