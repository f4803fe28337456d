"""Debian's Chromium, which Playwright drives."""

from pathlib import Path

CHROMIUM = Path("/usr/bin/chromium")
