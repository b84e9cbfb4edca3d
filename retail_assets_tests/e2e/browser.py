"""A headless Chromium, and the pictures taken with it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from retail_assets_tests.e2e.small_shop import ROOT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
QUIET += ["--disable-component-update", "--disable-sync", "--disable-quic"]
ARTIFACTS = ROOT / "e2e_artifacts"
PICTURES = "RETAIL_ASSETS_SCREENSHOTS"
"""Environment variable: the folder, docs/images, that ``DOCUMENTED`` pictures are renewed in."""
DOCUMENTED = {
    "lineage": "lineage",
    "substitution_rates": "asset",
    "backfill": "backfill",
    "landing_sensor": "sensor",
}
COLOURS = 64  # 17 to 41 kB a picture


@contextmanager
def page() -> Iterator[Page]:
    """An empty tab."""
    ARTIFACTS.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium.new_page(viewport={"width": 1280, "height": 800})
        chromium.close()


def picture(page: Page, name: str) -> None:
    """What the tab shows, into e2e_artifacts; small, into the folder of ``PICTURES`` too."""
    taken = ARTIFACTS / f"{name}.png"
    page.screenshot(path=taken)
    if (folder := os.environ.get(PICTURES)) and name in DOCUMENTED:
        Path(folder).mkdir(parents=True, exist_ok=True)
        small = Image.open(taken).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        small.save(Path(folder, f"{DOCUMENTED[name]}.png"), optimize=True)
