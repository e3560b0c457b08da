"""The page of pxe/js/browser in a real browser, and the blocks of docs/pxe.md, for wallet.py."""

import base64
import functools
import http.server
import json
import os
import re
import shutil
import signal
import subprocess
import threading

import live
import page

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
CLIENT = os.path.join(ROOT, "pxe", "js")
DOCUMENT = os.path.join(ROOT, "docs", "pxe.md")
CONNECT_SECONDS, PAY_SECONDS, STAGE_SECONDS, BLOCK_SECONDS, STOP_SECONDS = 120, 300, 900, 1800, 30


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves the files of the client, and logs nothing."""

    def log_message(self, *_):
        pass


class Site:
    """The folder pxe/js at an origin of this machine."""

    def __init__(self):
        handler = functools.partial(Quiet, directory=CLIENT)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.origin = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def shoot(tab, folder, name):
    shot = tab.ask("Page.captureScreenshot", captureBeyondViewport=True)
    with open(os.path.join(folder, f"{name}.png"), "wb") as file:
        file.write(base64.b64decode(shot["data"]))


def fill(tab, field, text):
    tab.js(f"document.getElementById({json.dumps(field)}).value = {json.dumps(text)}")


def press(tab, name):
    """Presses Enter on what has the focus or on an element, as with a keyboard."""
    tab.js(f"document.getElementById({json.dumps(name)}).focus()")
    for kind in ("keyDown", "keyUp"):
        tab.ask("Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", windowsVirtualKeyCode=13, text="\r")


def reach(tab, what, seconds, expression):
    """Waits for an expression, and fails with what the page says."""
    try:
        return page.wait(what, lambda: tab.js(expression), seconds)
    except page.Failed as error:
        said = tab.js("document.getElementById('message').textContent")
        raise live.Failed(f"{error}; the page says: {said}") from error


def pay_in_browser(chromium, site, service, token, out, folder):
    """Connects, pays from the first account that can to another one, and takes screenshots."""
    os.makedirs(out, exist_ok=True)
    browser = page.Browser(chromium, folder)
    try:
        for scheme in ("light", "dark"):
            tab = page.Tab(browser, f"{site.origin}/browser/", page.DESKTOP, scheme)
            reach(tab, "page", CONNECT_SECONDS,
                  "document.readyState === 'complete' && !!document.getElementById('url')")
            fill(tab, "url", service)
            fill(tab, "token", "wrong".ljust(64, "0"))
            press(tab, "token")
            reach(tab, "word about a wrong token", CONNECT_SECONDS,
                  "document.getElementById('message').textContent.includes('token is wrong')")
            fill(tab, "token", token)
            press(tab, "token")
            reach(tab, "accounts", CONNECT_SECONDS, "document.body.dataset.state === 'live'")
            shoot(tab, out, f"accounts-{scheme}")
            for device in (page.PHONE, page.NARROW):
                tab.resize(device)
                wide = tab.js("document.documentElement.scrollWidth - document.documentElement.clientWidth")
                if wide > 0:
                    raise live.Failed(f"{device[0]}: the page is {wide} px wider than the screen")
            tab.resize(page.DESKTOP)
            if scheme == "dark":
                transfer(tab, out)
            tab.close()
    except page.Failed as error:
        raise live.Failed(str(error)) from error
    finally:
        browser.stop()


def transfer(tab, out):
    tab.js("document.getElementById('pending').checked = true")
    for payer in range(tab.js("document.getElementById('from').length")):
        tab.js(f"document.getElementById('from').selectedIndex = {payer}")
        other = tab.js(f"document.getElementById('from').options[{1 if payer == 0 else 0}].value")
        fill(tab, "to", other)
        fill(tab, "amount", "1000")
        press(tab, "amount")
        asked = ("!document.getElementById('order').querySelector('button').disabled &&"
                 "(!document.getElementById('confirm').hidden ||"
                 " document.getElementById('message').textContent !== '')")
        reach(tab, "fee", PAY_SECONDS, asked)
        if not tab.js("document.getElementById('confirm').hidden"):
            break
    else:
        raise live.Failed("no account can pay in the page")
    if "fee" not in tab.js("document.getElementById('quote').textContent"):
        raise live.Failed("the page shows no fee before it sends")
    shoot(tab, out, "confirm")
    press(tab, "send")
    reach(tab, "transfer in a block", STAGE_SECONDS, "document.getElementById('stages').textContent.includes('Block')")
    shoot(tab, out, "sent")


def blocks(text):
    """The commands and the module of the blocks that are executed."""
    found = {kind: re.findall(rf"^```{kind} run\n(.*?)^```$", text, re.M | re.S) for kind in ("sh", "js")}
    if not found["sh"] or not found["js"]:
        raise live.Failed("docs/pxe.md has no block to execute")
    return found["sh"], "\n".join(found["js"])


def execute_document(programs, node_url, folder):
    """Executes docs/pxe.md in the folder of the store."""
    with open(DOCUMENT, encoding="utf-8") as file:
        commands, module = blocks(file.read())
    environment = {**os.environ, "PATH": f"{os.path.abspath(programs)}:{os.environ['PATH']}",
                   "ROLLMILL": os.path.abspath(ROOT), "ROLLMILL_PXE_NODE_URL": node_url}
    live.write(os.path.join(folder, "app.mjs"), module)
    try:
        for text in [*commands, "node app.mjs\n"]:
            done = subprocess.run(["bash", "-c", "set -euo pipefail\n" + text], cwd=folder, env=environment,
                                  stdin=subprocess.DEVNULL, check=False, timeout=BLOCK_SECONDS)
            if done.returncode:
                raise live.Failed(f"a block of docs/pxe.md failed with {done.returncode}:\n{text}")
    finally:
        stop_service(os.path.join(folder, "service.pid"))


def stop_service(path):
    """Stops the service that a block started."""
    try:
        with open(path, encoding="utf-8") as file:
            pid = int(file.read())
        os.kill(pid, signal.SIGTERM)
    except (OSError, ValueError):
        return
    try:
        page.wait("end of the service", lambda: not running(pid), STOP_SECONDS)
    except page.Failed:
        os.kill(pid, signal.SIGKILL)


def running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


def chromium(named):
    found = named or shutil.which("chromium")
    if not found:
        raise live.Failed("no chromium for --out; install Debian's package chromium")
    return found
