"""Somebody at a browser, and everything that a browser would complain about meanwhile."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response, expect

WITHIN_MS = 60_000
WIDE = {"width": 1180, "height": 820}
PHONE = {"width": 390, "height": 844}
NOT_REPLAYED = re.compile(r"/events$|\.js($|\?)|\.css($|\?)|\.svg($|\?)")


LONGEST_WORD = 25
# A word that stands in two lines has two boxes, one below the other. A hyphen is a place to break at.
BROKEN_WORDS = """longest => {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const broken = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (!node.parentElement.checkVisibility()) continue;
    for (const found of node.data.matchAll(/[\\p{L}\\p{N}_.@]+/gu)) {
      if (found[0].length > longest) continue;
      const range = document.createRange();
      range.setStart(node, found.index);
      range.setEnd(node, found.index + found[0].length);
      const tops = new Set([...range.getClientRects()].map((box) => Math.round(box.top)));
      if (tops.size > 1) broken.push(found[0]);
    }
  }
  return broken;
}"""


class Visitor:
    """`page`: Playwright's. `secrets`: what may stand in no answer."""

    def __init__(
        self,
        browser: Browser,
        url: str,
        screenshots: Path | None,
        *,
        is_dark: bool = False,
        has_phone: bool = False,
        has_scripts: bool = True,
        other_hosts: tuple[str, ...] = (),
    ) -> None:
        self.url = url
        self._screenshots = screenshots
        self._hosts = {urlsplit(each).netloc for each in (url, *other_hosts)}
        self._faults: list[str] = []
        self._expected_statuses: set[int] = set()
        self._may_be_cut_off = False
        self._seen: dict[str, None] = {}
        self._context = browser.new_context(
            viewport=PHONE if has_phone else WIDE,  # type: ignore[arg-type]
            has_touch=has_phone,
            color_scheme="dark" if is_dark else "light",
            java_script_enabled=has_scripts,
            timezone_id="UTC",
            locale="en-GB",
        )
        self._context.set_default_timeout(WITHIN_MS)
        self.page: Page = self._context.new_page()
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self._faults.append(f"error in a script: {error}"))
        self.page.on("request", self._see_request)
        self.page.on("response", self._see_response)

    # What somebody does.

    def sign_in(self, key: str) -> None:
        self.go("/sign-in")
        self.page.get_by_label("API key").fill(key)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("heading", name="Jobs")).to_be_visible()

    def go(self, path: str, *, status: int = 200) -> None:
        """Open a page of ours. `status`: what it is expected to answer."""
        with self.expecting(status):
            answer = self.page.goto(self.url + path)
        assert answer is not None
        assert answer.status == status, path

    def expecting(self, status: int) -> "_Expecting":
        """A context in which an answer of this status is no fault."""
        return _Expecting(self._expected_statuses, status)

    def may_be_cut_off(self) -> None:
        """From now on a request that gets no answer is no fault."""
        self._may_be_cut_off = True

    def upload(self, file: Path) -> None:
        self.go("/jobs/new")
        self.page.get_by_label("Drop a CSV here").set_input_files(file)

    def confirm(self, deed: str) -> None:
        """Press the button of this name in the confirmation."""
        self.page.locator("#confirm").get_by_role("button", name=deed).click()

    def shoot(self, name: str, *, whole: bool = False) -> None:
        """A screenshot, for the docs, where they are asked for."""
        if self._screenshots is None:
            return
        self.page.screenshot(path=self._screenshots / f"{name}.png", full_page=whole, animations="disabled")

    def may_use_the_clipboard(self) -> None:
        """As somebody who has pressed a button may."""
        self._context.grant_permissions(["clipboard-read", "clipboard-write"])

    # What may not be.

    def assert_accessible(self) -> None:
        """By axe-core, in the present colours."""
        results = Axe().run(
            self.page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
        )
        found = results.response["violations"]
        told = [
            f"{each['id']}: {node['target']} {node['failureSummary']}"
            for each in found
            for node in each["nodes"]
        ]
        assert not told, f"{self.page.url}: " + "; ".join(told)

    def assert_fits(self) -> None:
        """Nothing of the page is beside the screen."""
        width, wanted = self.page.evaluate("[innerWidth, document.documentElement.scrollWidth]")
        assert wanted <= width, f"{self.page.url} is {wanted} px wide, on {width} px"

    def assert_words_are_whole(self) -> None:
        """No word of the page goes on in the next line; what is longer than any word may."""
        broken = self.page.evaluate(BROKEN_WORDS, LONGEST_WORD)
        assert broken == [], f"{self.page.url}: {broken}"

    def assert_no_secret(self, secrets: set[str]) -> None:
        """Of all addresses that were opened, once more: no answer holds one of these."""
        cookies = {cookie["name"]: cookie["value"] for cookie in self._context.cookies()}
        with httpx.Client(cookies=cookies, timeout=60) as client:
            for address in self._seen:
                if urlsplit(address).netloc == urlsplit(self.url).netloc and not NOT_REPLAYED.search(address):
                    text = client.get(address).text
                    assert [secret for secret in secrets if secret in text] == [], address

    def assert_all_went_well(self) -> None:
        assert not self._faults, self._faults

    def leave(self) -> None:
        self._context.close()

    def _hear(self, message: ConsoleMessage) -> None:
        # The browser says so of every answer of 400 or more; whether it was expected is seen with the answer.
        if self._may_be_cut_off and message.text.startswith("htmx:"):
            return
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            where = message.location
            self._faults.append(
                f"console: {message.text} ({where['url']}, line {where['lineNumber']}; on {self.page.url})"
            )

    def _see_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc not in self._hosts:
            self._faults.append(f"a request to another host: {request.url}")
        if request.method == "GET":
            self._seen[request.url] = None

    def _see_response(self, response: Response) -> None:
        if response.status >= 400 and response.status not in self._expected_statuses:
            self._faults.append(f"{response.status} from {response.url}")


class _Expecting:
    def __init__(self, statuses: set[int], status: int) -> None:
        self._statuses = statuses
        self._status = status

    def __enter__(self) -> None:
        self._statuses.add(self._status)

    def __exit__(self, *_: object) -> None:
        self._statuses.discard(self._status)
