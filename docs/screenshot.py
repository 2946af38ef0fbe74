"""Take the README's picture of the atlas: python docs/screenshot.py docs/atlas/index.html docs/atlas.png"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

source, target = map(Path, sys.argv[1:])
with sync_playwright() as playwright:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    page = browser.new_page(viewport={"width": 1280, "height": 760})
    page.goto(source.resolve().as_uri() + "#open=softmax")
    page.screenshot(path=target)
