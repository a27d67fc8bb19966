"""Opens a dashboard of Superset in headless Chromium and writes down what its charts got, by Superset's own Python:

    python superset_browser.py http://127.0.0.1:8088 SLUG CHARTS DIRECTORY

CHROMIUM names the browser, SUPERSET_USER and SUPERSET_PASSWORD who looks. Writes DIRECTORY/charts.json
({id of the chart: {"query": what the page asked, "data": rows}}) and DIRECTORY/dashboard.png.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Response, TimeoutError, sync_playwright

_PATIENCE_MS = 240_000


def main(url: str, slug: str, charts: int, directory: Path) -> int:
    """Open the dashboard, wait until its charts have data, write down what they got; 1 when the page shows errors."""
    seen: dict[str, Any] = {}

    def note(response: Response) -> None:
        if "/api/v1/chart/data" in response.url and response.status == 200:
            asked = json.loads(response.request.post_data or "{}")
            chart = asked["form_data"].get("slice_id")  # the filters ask for their values too, and are no charts
            if chart is not None:
                seen[str(chart)] = {"query": asked["queries"][0], "data": response.json()["result"][0]["data"]}

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ["CHROMIUM"],
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
            ],
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1750})
        page.set_default_timeout(_PATIENCE_MS)
        page.on("response", note)
        _log_in(page, url)
        page.goto(f"{url}/superset/dashboard/{slug}/?standalone=1", wait_until="commit")
        deadline = time.monotonic() + _PATIENCE_MS / 1000
        while len(seen) < charts and time.monotonic() < deadline:
            page.wait_for_timeout(500)
        page.wait_for_timeout(5000)
        page.screenshot(path=directory / "dashboard.png")
        trouble = [line for line in page.inner_text("body").splitlines() if "error" in line.lower()]
        browser.close()
    (directory / "charts.json").write_text(json.dumps(seen))
    print(f"{len(seen)} of {charts} charts got data; errors on the page: {trouble or 'none'}", file=sys.stderr)
    return 0 if len(seen) >= charts and not trouble else 1


def _log_in(page: Page, url: str) -> None:
    """Fill in the form and send it; again when the page was not ready to listen and stays where it is."""
    for last in (False, False, True):
        page.goto(f"{url}/login/", wait_until="networkidle")
        page.fill("#username", os.environ["SUPERSET_USER"])
        page.fill("#password", os.environ["SUPERSET_PASSWORD"])
        page.click("button[type=submit]")
        try:
            page.wait_for_url(lambda address: "/login" not in address, timeout=30_000)
            return
        except TimeoutError:
            if last:
                raise


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])))
