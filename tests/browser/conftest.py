"""A real browser, driven by its own protocol over a pipe: no driver, no port, no network."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
START_S = 60  # a cold start on a busy machine
NAMES = ("chromium", "chromium-browser", "google-chrome")


class Browser:
    """One Chromium process; `open` gives a tab with a size and a colour scheme."""

    def __init__(self, program: str, profile: Path) -> None:
        self._inbox, their_out = os.pipe()
        their_in, self._outbox = os.pipe()
        # Chromium reads commands on descriptor 3 and answers on 4.
        shell = f'exec 3<&{their_in} 4>&{their_out}; exec "$@"'
        self._process = subprocess.Popen(
            ["/bin/bash", "-c", shell, "chromium", program, *FLAGS, f"--user-data-dir={profile}"],
            pass_fds=(their_in, their_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(their_in)
        os.close(their_out)
        self._buffer, self._last = b"", 0
        self.events: list[dict] = []

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.call("Browser.close")
        self._process.wait(timeout=START_S)
        os.close(self._inbox)
        os.close(self._outbox)

    def call(self, method, session=None, **params):
        """Send one command and wait for its result; events on the way are kept."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self._outbox, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self.events.append(answer)

    def wait_for(self, event, session):
        for kept in self.events:
            if kept.get("method") == event and kept.get("sessionId") == session:
                return kept["params"]
        while True:
            answer = self._read()
            self.events.append(answer)
            if answer.get("method") == event and answer.get("sessionId") == session:
                return answer["params"]

    def _read(self):
        while b"\0" not in self._buffer:
            block = os.read(self._inbox, 1 << 20)
            if not block:
                raise ConnectionError("Chromium ended")
            self._buffer += block
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def open(self, path: Path, *, width=1280, height=900, dark=False, touch=False, until="drawn"):
        """A page as one reader sees it, loaded and with its plots drawn (or those `in sight`)."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session, target)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.call(f"{domain}.enable")
        page.resize(width, height, mobile=touch)
        page.call("Emulation.setTouchEmulationEnabled", enabled=touch)
        page.scheme("dark" if dark else "light")
        page.call("Page.navigate", url=path.resolve().as_uri())
        self.wait_for("Page.loadEventFired", session)
        page.settle(until)
        return page


class Page:
    """An open tab."""

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser, self._session, self._target = browser, session, target

    def call(self, method, **params):
        return self._browser.call(method, self._session, **params)

    def run(self, script: str):
        """The value of a JavaScript expression (a promise's, when it is kept)."""
        answer = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def resize(self, width: int, height: int, *, mobile=False) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.call("Emulation.setDeviceMetricsOverride", **size)

    def scheme(self, name: str) -> None:
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": name}],
        )

    def settle(self, until="drawn") -> None:
        """Wait until the page says that its plots are drawn, all or those in sight."""
        reached = json.dumps([until, "drawn"])
        self.run(
            f"""new Promise((done) => {{
                const look = () => {reached}.includes(document.documentElement.dataset.plots)
                    || !document.getElementById("figures") ? done() : setTimeout(look, 10);
                look();
            }})"""
        )

    def screenshot(self, path: Path, *, whole=True) -> None:
        picture = self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(picture["data"]))

    def complaints(self) -> list[str]:
        """What the console would show: errors, refused scripts, exceptions."""
        found = []
        for event in self._mine():
            method, params = event["method"], event["params"]
            if method == "Runtime.exceptionThrown":
                found.append(json.dumps(params["exceptionDetails"]))
            if method == "Log.entryAdded":
                found.append(params["entry"]["text"])
            if method == "Runtime.consoleAPICalled" and params["type"] in {"error", "warning"}:
                found.append(json.dumps(params["args"]))
        return found

    def requests(self) -> list[str]:
        """Every address that was asked for."""
        self.run("1")  # events before this answer have then arrived
        sent = [e for e in self._mine() if e["method"] == "Network.requestWillBeSent"]
        return [event["params"]["request"]["url"] for event in sent]

    def close(self) -> None:
        self._browser.call("Target.closeTarget", targetId=self._target)

    def _mine(self):
        return [e for e in self._browser.events if e.get("sessionId") == self._session]


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Chromium; a test that needs it is skipped where there is none, but fails under CI."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None and os.environ.get("CI") == "true":
        pytest.fail("there is no Chromium, and under CI=true no browser test may be left out")
    if program is None:
        pytest.skip("there is no Chromium (install the package `chromium`)")
    found = Browser(program, tmp_path_factory.mktemp("profile"))
    yield found
    found.close()
