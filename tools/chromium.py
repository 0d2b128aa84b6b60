# SPDX-License-Identifier: MIT
"""Debian's Chromium without a window, driven over its debugging pipe (the DevTools protocol: JSON objects that end in a
zero byte): shows a page at any width, light or dark, takes its picture, and runs JavaScript in it."""
import base64
import json
import os
import select
import shutil
import subprocess
import tempfile

import machine
import patience

NAME = "chromium"
BUDGET = 600  # seconds of processor time, for all that is asked of one browser


class Unavailable(Exception):
    """Chromium does not answer, or not as it should; the text says so."""


class Lacking(Unavailable):
    """There is no Chromium."""


class Browser:
    """`with Browser() as browser`: one page in a profile that is thrown away."""

    def __init__(self):
        if not shutil.which(NAME):
            raise Lacking(f"{machine.LACKS}{NAME}: make deps")
        self.profile = tempfile.TemporaryDirectory(prefix="quiesce-chromium-", ignore_cleanup_errors=True)
        to_browser, self.write_end = os.pipe()
        self.read_end, from_browser = os.pipe()
        arguments = [NAME, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                     "--disable-extensions", "--disable-component-update", "--disable-background-networking",
                     "--hide-scrollbars", "--remote-debugging-pipe", f"--user-data-dir={self.profile.name}",
                     "about:blank"]
        # It reads from descriptor 3 and writes to descriptor 4.
        self.log = tempfile.TemporaryFile()
        script = f'exec 3<&{to_browser} 4>&{from_browser}; exec "$@"'
        self.process = subprocess.Popen(["/bin/sh", "-c", script, "sh", *arguments], stdin=subprocess.DEVNULL,
                                        stdout=self.log, stderr=self.log, pass_fds=(to_browser, from_browser),
                                        start_new_session=True)
        os.close(to_browser)
        os.close(from_browser)
        self.last, self.buffer, self.events, self.session = 0, b"", [], None
        self.patience = patience.Patience(self.process.pid, BUDGET)

    def __enter__(self):
        try:
            target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
            self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
            self.call("Page.enable")
            self.call("Network.enable")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error):
        if self.process.poll() is None:
            patience.kill_tree(self.process.pid)
        self.process.wait()
        os.close(self.write_end)
        os.close(self.read_end)
        self.log.close()
        self.profile.cleanup()

    def said(self):
        self.log.seek(0)
        return self.log.read().decode("utf-8", "replace")[-1000:].strip()

    def message(self):
        while b"\0" not in self.buffer:
            while not select.select([self.read_end], [], [], patience.LOOK_SECONDS)[0]:
                if why := self.patience.look():
                    raise Unavailable(f"{NAME} does not answer: {why}; it said: {self.said()}")
            some = os.read(self.read_end, 1 << 20)
            if not some:
                raise Unavailable(f"{NAME} has ended; it said: {self.said()}")
            self.buffer += some
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **params):
        """The method's result. Events that come before it are kept."""
        self.last += 1
        message = {"id": self.last, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write_end, json.dumps(message).encode() + b"\0")
        while True:
            got = self.message()
            if got.get("id") == self.last:
                if "error" in got:
                    raise Unavailable(f"{NAME}: {method}: {got['error'].get('message')}")
                return got["result"]
            self.events.append(got)

    def open(self, path, width, height, dark=False):
        """Show a file in a window of that size; returns the addresses that the page has requested."""
        self.events.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", media="",
                  features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.call("Page.navigate", url="file://" + os.path.abspath(path))
        while not any(e["method"] == "Page.loadEventFired" for e in self.events if "method" in e):
            self.events.append(self.message())
        self.evaluate("document.fonts.ready.then(() => 0)")
        return [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]

    def evaluate(self, script):
        """The value of an expression, or of the promise that it yields."""
        got = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in got:
            raise Unavailable(f"{NAME}: {got['exceptionDetails'].get('exception', {}).get('description', got)}")
        return got["result"].get("value")

    def screenshot(self, path, whole=False):
        got = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole,
                        **({"clip": self.whole_page()} if whole else {}))
        with open(path, "wb") as f:
            f.write(base64.b64decode(got["data"]))

    def whole_page(self):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        return {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}

    def print_to(self, path):
        got = self.call("Page.printToPDF", printBackground=False, preferCSSPageSize=True)
        with open(path, "wb") as f:
            f.write(base64.b64decode(got["data"]))
