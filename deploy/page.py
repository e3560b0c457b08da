#!/usr/bin/env python3
"""Looks at the broker's web page in headless Chromium: takes screenshots, and checks what a picture does not show.

With `--url` it shows a running broker. With `--broker` it starts one of its own on a private PostgreSQL and gives it a
cluster to show: first one in which all is well, then one in trouble, as an operator and as a reader.

Each view is checked: no error in the console, and no part of the page that its own policy blocks; no scrolling
sideways, also on screens of 320 and 744 px; one live region; landmarks, headers of tables, names of buttons. Of a
cluster of its own also: HTML that an agent calls its device is shown as text; a reader sees no action; pardoning works.

Needs Debian's package chromium. Exit codes: 0 all is well, 1 not. Everything that it starts ends with it.
"""

import argparse
import base64
import fcntl
import hashlib
import http.client
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

# Name, width, height, and whether it is a phone.
DESKTOP, PHONE = ("desktop", 1280, 800, False), ("phone", 390, 844, True)
# Besides those of the screenshots: no screen may need scrolling sideways.
NARROW, TABLET = ("narrow", 320, 640, True), ("tablet", 744, 1133, True)
# The whole page is cut here.
HEIGHT_MAX = 6000
WAIT_SECONDS = 60
# Pause between two heartbeats of the made-up agents. They count as live for 45 s.
BEAT_SECONDS = 5
HTML = "<img src=x onerror=alert(1)><b>H200</b>"
VERSION = hashlib.sha256(b"made up").hexdigest()[:32]
# Of an agent, in cents of a dollar.
PRICE = ["--agent-cents-per-hour", "250"]
TYPES = {"tx_base": 9.5, "tx_merge": 4.1, "block_root": 6.0, "block_merge": 3.9, "epoch_root_1": 5.2}


class Failed(Exception):
    """What is wrong."""


def say(text):
    print(f"page: {text}", flush=True)


def wait(what, ready, seconds=WAIT_SECONDS):
    """Polls until `ready()` returns something true, and returns it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = ready()
        if found:
            return found
        time.sleep(0.1)
    raise Failed(f"after {seconds} s still no {what}")


class Browser:
    """A headless Chromium, spoken to through two pipes by the DevTools protocol."""

    def __init__(self, program, folder):
        command, self.commands = (high(fd) for fd in os.pipe())
        self.answers, answer = (high(fd) for fd in os.pipe())

        def pipes():
            # Chromium reads commands from 3 and writes answers to 4.
            os.dup2(command, 3)
            os.dup2(answer, 4)

        arguments = [program, "--headless=new", "--remote-debugging-pipe", f"--user-data-dir={folder}/profile",
                     "--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "about:blank"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        with open(f"{folder}/chromium.log", "wb") as log:
            self.child = subprocess.Popen(arguments, stdout=log, stderr=log, preexec_fn=pipes, close_fds=False)
        os.close(command)
        os.close(answer)
        self.last, self.unread, self.events = 0, b"", []

    def ask(self, method, session=None, **params):
        self.last += 1
        message = {"id": self.last, "method": method, "params": params}
        if session:
            message["sessionId"] = session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.read()
            if answer.get("id") == self.last:
                if "error" in answer:
                    raise Failed(f"Chromium rejects {method}: {answer['error'].get('message')}")
                return answer["result"]
            self.events.append(answer)

    def read(self):
        while b"\0" not in self.unread:
            if not select.select([self.answers], [], [], WAIT_SECONDS)[0]:
                raise Failed("Chromium does not answer")
            data = os.read(self.answers, 1 << 20)
            if not data:
                raise Failed("Chromium ended; see chromium.log with --keep")
            self.unread += data
        message, self.unread = self.unread.split(b"\0", 1)
        return json.loads(message)

    def stop(self):
        self.child.terminate()
        try:
            self.child.wait(20)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def high(fd):
    """The same file under a number that no other use takes."""
    copy = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20)
    os.close(fd)
    return copy


class Tab:
    """A page in a tab of its own, which shares nothing with other tabs."""

    def __init__(self, browser, url, device, scheme):
        self.browser, self.device = browser, device
        context = browser.ask("Target.createBrowserContext")["browserContextId"]
        target = browser.ask("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        self.target = target
        self.session = browser.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")
        self.resize(device)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.ask("Emulation.setEmulatedMedia", features=features)
        self.ask("Page.navigate", url=url)

    def ask(self, method, **params):
        return self.browser.ask(method, self.session, **params)

    def resize(self, device):
        _, width, height, is_phone = device
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, mobile=is_phone,
                 deviceScaleFactor=2 if is_phone else 1)

    def js(self, expression):
        done = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in done:
            raise Failed(f"{expression}: {done['exceptionDetails'].get('text')}")
        return done["result"].get("value")

    def reach(self, what, expression):
        return wait(what, lambda: self.js(expression))

    def enter(self, token):
        """Waits for the page, and gives it the token that it asks for."""
        state = self.reach("page", "['live', 'asking'].find((s) => document.body?.dataset.state === s)")
        if state == "asking" and token:
            self.js(f"document.getElementById('token').value = {json.dumps(token)};"
                    "document.getElementById('entry').requestSubmit()")
        if state == "live" or token:
            shown = "document.body.dataset.state === 'live' && !document.getElementById('overview').hidden"
            self.reach("overview", shown)

    def shoot(self, folder, name):
        """What the screen shows, and the whole page."""
        device, width, height, _ = self.device
        whole = min(self.js("document.documentElement.scrollHeight"), HEIGHT_MAX)
        for suffix, tall in (("", height), ("-whole", max(whole, height))):
            clip = {"x": 0, "y": 0, "width": width, "height": tall, "scale": 1}
            shot = self.ask("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
            path = os.path.join(folder, f"{name}-{device}{suffix}.png")
            with open(path, "wb") as file:
                file.write(base64.b64decode(shot["data"]))
        say(f"{name}-{device}.png: {self.js('document.getElementById(`headline`).textContent')}")

    def check(self):
        """What a picture does not show."""
        wrong = []
        for event in self.browser.events:
            if event.get("sessionId") != self.session:
                continue
            entry = event.get("params", {}).get("entry", {})
            # A request without a token is answered 401, which the console notes.
            is_expected = entry.get("source") == "network" and " 401 " in entry.get("text", "")
            if event["method"] == "Runtime.exceptionThrown" or (entry.get("level") == "error" and not is_expected):
                wrong.append(json.dumps(event["params"])[:400])
        wrong += self.js(STRUCTURE)
        for device in (self.device, NARROW, TABLET):
            self.resize(device)
            wide = self.js("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            if wide > 0:
                wrong.append(f"{device[0]}: the page is {wide} px wider than the screen")
        self.resize(self.device)
        if wrong:
            raise Failed("\n".join(wrong))

    def close(self):
        self.browser.ask("Target.closeTarget", targetId=self.target)


# What is wrong with the structure of the page, as a list of texts.
STRUCTURE = """(() => {
  const all = (selector) => Array.from(document.querySelectorAll(selector));
  const wrong = [];
  const one = (selector) => all(selector).length === 1 || wrong.push(`${all(selector).length} of ${selector}`);
  ["header", "main", "nav", "footer", "h1", "[aria-live]", "title"].forEach(one);
  if (document.documentElement.lang !== "en") wrong.push("the page has no language");
  if (document.images.length + all("iframe, object, embed").length) wrong.push("the page has an image or a frame");
  for (const section of all("section")) {
    if (!document.getElementById(section.getAttribute("aria-labelledby"))) wrong.push("a section has no name");
  }
  for (const table of all("table")) {
    const heads = table.querySelectorAll("thead th[scope=col]").length;
    for (const row of table.tBodies[0].rows) {
      if (row.cells[0].scope !== "row" || row.cells.length > heads) wrong.push(`a row of ${table.tBodies[0].id}`);
    }
  }
  for (const button of all("button")) {
    if (!(button.getAttribute("aria-label") || button.textContent.trim())) wrong.push("a button has no name");
  }
  for (const field of all("input, select")) if (!field.labels.length) wrong.push(`${field.id} has no label`);
  return wrong;
})()"""


class Cluster:
    """A broker of its own, with a cluster that exists in its database only."""

    def __init__(self, program, folder):
        self.program, self.folder = os.path.abspath(program), folder
        self.tokens = {role: self.token(role) for role in ("operator", "reader", "producer", "fleet")}
        self.log = f"{folder}/broker.log"
        with open(self.log, "wb") as log:
            command = self.command("--listen", "127.0.0.1:0", "--disk-free-min-percent", "1", *PRICE)
            self.child = subprocess.Popen(command, stdout=log, stderr=log)
        self.address = wait("address of the broker", self.listening)
        self.http = http.client.HTTPConnection(self.address, timeout=WAIT_SECONDS)
        self.sessions, self.leases, self.ended = {}, {}, threading.Event()
        self.beats = threading.Thread(target=self.beat, daemon=True)
        self.beats.start()

    @property
    def url(self):
        return f"http://{self.address}/"

    def command(self, *arguments):
        return [self.program, *arguments, "--data-dir", f"{self.folder}/broker"]

    def token(self, role):
        command = self.command("tokens", "add", f"the-{role}", role)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Failed(f"the broker makes no token: {done.stderr.strip()}")
        return done.stdout.strip()

    def listening(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            text = re.sub(r"\x1b\[[0-9;]*m", "", log.read())
        if self.child.poll() is not None:
            raise Failed(f"the broker ended: {text[-600:].strip()}")
        match = re.search(r"serving.*?address=\"?([0-9.:]+)", text)
        return match and match.group(1)

    def beat(self):
        """Keeps agents and leases alive, on a connection of its own."""
        own = http.client.HTTPConnection(self.address, timeout=WAIT_SECONDS)
        while not self.ended.wait(BEAT_SECONDS):
            try:
                for name in list(self.sessions):
                    body = {"agent": name, "leases": list(self.leases.get(name, []))}
                    self.call("fleet", "POST", "/v1/heartbeat", body, own)
            except (Failed, OSError, http.client.HTTPException) as error:
                say(f"the agents' heartbeats end: {error}")
                return

    def call(self, role, method, path, body=None, connection=None):
        is_bytes = isinstance(body, bytes)
        headers = {"authorization": f"Bearer {self.tokens[role]}"}
        if body is not None:
            headers["content-type"] = "application/octet-stream" if is_bytes else "application/json"
        connection = connection or self.http
        while True:
            connection.request(method, path, body if is_bytes or body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status == 429:
                time.sleep(float(answer.getheader("retry-after")))
            elif answer.status >= 300:
                raise Failed(f"{method} {path}: {answer.status} {text}")
            else:
                return json.loads(text) if text else None

    def upload(self, role, epoch, data):
        digest = hashlib.sha256(data).hexdigest()
        self.call(role, "PUT", f"/v1/artifacts/{digest}?epoch={epoch}", data)
        return digest

    def enqueue(self, epoch, counts, seconds):
        """Jobs by type, with a deadline so many seconds from now; returns their ids."""
        jobs = []
        for rank, (kind, count) in enumerate(counts.items(), 1):
            for n in range(count):
                digest = self.upload("producer", epoch, f"{epoch} {kind} {n}".encode())
                job = {"id": f"{epoch}:{kind}:{digest}", "version": VERSION, "rank": len(counts) - rank + 1}
                jobs.append({**job, "deadline_unix_seconds": int(time.time() + seconds)} if seconds else job)
        self.call("producer", "POST", "/v1/jobs", {"jobs": jobs})
        return [job["id"] for job in jobs]

    def capabilities(self, kinds):
        return [{"kind": kind, "version": VERSION} for kind in kinds]

    def join(self, name, kinds, device, factor):
        """An agent that is `factor` times as slow as usual."""
        self.sessions[name] = self.call("fleet", "POST", "/v1/sessions", {
            "agent": name, "installation": f"on-{name}", "capabilities": self.capabilities(kinds), "class": 0,
            "software": "rollmill-agent 0.1.0", "device": {"kind": "cuda", **device},
            "seconds": {kind: round(TYPES[kind] * factor, 2) for kind in kinds if kind in TYPES},
        })["session"]

    def claim(self, name, kinds):
        grant = self.call("fleet", "POST", "/v1/claim", {
            "agent": name, "session": self.sessions[name], "capabilities": self.capabilities(kinds), "class": 0,
            "wait_ms": 20_000,
        })["grant"]
        if grant is None:
            raise Failed(f"there is no job for {name}")
        return {"job": grant["job"], "lease_epoch": grant["lease_epoch"]}

    def complete(self, name, kinds):
        lease = self.claim(name, kinds)
        result = self.upload("fleet", lease["job"].split(":")[0], f"result of {lease['job']}".encode())
        seconds = TYPES.get(lease["job"].split(":")[1], 5.0)
        stats = {"witness_seconds": 0.1, "proving_seconds": seconds, "proof_bytes": 1, "peak_memory_bytes": 1}
        self.call("fleet", "POST", "/v1/complete", {"agent": name, "lease": lease, "result": result, "stats": stats})
        return lease["job"], result

    def all_is_well(self, agents):
        """An epoch that is half done, and one that has just begun, with time to spare."""
        kinds = list(TYPES)
        for n in range(agents):
            device = {"name": HTML, "uuid": "GPU-7"} if n == 7 else {"name": "NVIDIA H200", "uuid": f"GPU-{n}"}
            self.join(f"gpu-{n:03}", kinds, {**device, "memory_bytes": 150_754_820_096}, 0.8 + n % 5 * 0.1)
        self.enqueue(41, {"tx_base": 24, "tx_merge": 12, "block_root": 4, "block_merge": 3, "epoch_root_1": 1}, 1_500)
        self.enqueue(42, {"tx_base": 16, "tx_merge": 8, "block_root": 2}, 2_700)
        for n in range(26):
            self.complete(f"gpu-{n % agents:03}", kinds)
        for n in range(min(agents, 9)):
            name = f"gpu-{n:03}"
            self.leases[name] = [self.claim(name, kinds)]

    def trouble(self):
        """Jobs that nobody can do before their deadline, dead letters, and an agent that gives wrong results."""
        self.join("wrong", ["doubtful"], {"name": "NVIDIA L40S", "uuid": "GPU-wrong"}, 1.0)
        self.join("tries", ["broken"], {"name": "AMD EPYC 9354", "kind": "cpu", "threads": 64}, 1.0)
        self.enqueue(43, {"doubtful": 3, "broken": 6, "epoch_root_2": 2}, 560)
        for _ in range(3):
            job, result = self.complete("wrong", ["doubtful"])
            self.call("producer", "POST", "/v1/jobs/reject", {"id": job, "result": result, "reason": "does not verify"})
            self.call("producer", "POST", "/v1/jobs/cancel", {"ids": [job]})
        for _ in range(6):
            lease = self.claim("tries", ["broken"])
            self.call("fleet", "POST", "/v1/fail", {
                "agent": "tries", "lease": lease, "class": "bad_input",
                "message": "the input cannot be decoded: 1 byte is left after the last transaction",
            })

    def stop(self):
        self.ended.set()
        self.beats.join(WAIT_SECONDS)
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(60)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


def look(browser, url, token, out, name, device, scheme, more=lambda tab: None):
    tab = Tab(browser, url, device, scheme)
    tab.enter(token)
    more(tab)
    tab.shoot(out, name)
    tab.check()
    tab.close()


def headline(severity):
    return lambda tab: tab.reach(f"headline of {severity}",
                                 f"document.getElementById('headline').dataset.severity === '{severity}'")


def look_at_own(browser, cluster, out, agents):
    operator, reader = cluster.tokens["operator"], cluster.tokens["reader"]

    def in_order(tab):
        headline("good")(tab)
        tab.reach("an epoch in the headline",
                  "document.getElementById('headline').textContent.includes(' will be proven ')")
        tab.reach("graph from the leaves to the root", "Array.from(document.querySelectorAll('#graph strong'), "
                  "(name) => name.textContent).join() === 'tx_base,tx_merge,block_root,block_merge,epoch_root_1'")
        tab.reach("bars", "document.querySelector('#graph [data-part=done]').getBoundingClientRect().width > 0")
        tab.reach("what agents cost", "document.getElementById('agents-note').textContent.includes(' an hour')")

    look(browser, cluster.url, None, out, "asks", PHONE, "light")
    cluster.all_is_well(agents)
    for device in (DESKTOP, PHONE):
        look(browser, cluster.url, operator, out, "well", device, "light", in_order)
    cluster.trouble()

    def in_trouble(tab):
        headline("trouble")(tab)
        tab.reach("dead letters", "document.getElementById('dead').rows.length === 6")
        tab.reach("device as text", f"document.getElementById('agents').textContent.includes({json.dumps(HTML)})")
        tab.reach("actions", "document.querySelectorAll('tbody button').length === 13")

    def as_reader(tab):
        headline("trouble")(tab)
        tab.reach("dead letters", "document.getElementById('dead').rows.length === 6")
        if tab.js("document.querySelectorAll('tbody button').length"):
            raise Failed("a reader sees an action")

    def pardons(tab):
        in_trouble(tab)
        tab.js("document.querySelector('#agents button').click()")
        tab.reach("pardon", "document.getElementById('result').textContent === 'the-fleet.wrong pardoned.'")
        tab.reach("agent without a quarantine", "document.querySelectorAll('#agents button').length === 0")

    look(browser, cluster.url, reader, out, "reader", DESKTOP, "light", as_reader)
    look(browser, cluster.url, operator, out, "trouble", DESKTOP, "dark", in_trouble)
    look(browser, cluster.url, operator, out, "trouble", PHONE, "dark", in_trouble)
    look(browser, cluster.url, operator, out, "pardoned", DESKTOP, "dark", pardons)


def run(options, folder):
    program = options.chromium or shutil.which("chromium")
    if not program:
        raise Failed("no chromium; run: apt-get install chromium")
    os.makedirs(options.out, exist_ok=True)
    browser = cluster = None
    try:
        browser = Browser(program, folder)
        if options.url:
            token = None
            if options.token:
                with open(options.token, encoding="utf-8") as file:
                    token = file.read().strip()
            for device in (DESKTOP, PHONE):
                for scheme in ("light", "dark"):
                    look(browser, options.url, token, options.out, scheme, device, scheme)
        else:
            cluster = Cluster(options.broker, folder)
            look_at_own(browser, cluster, options.out, options.agents)
    finally:
        if browser:
            browser.stop()
        if cluster:
            cluster.stop()
    say(f"ok; screenshots in {options.out}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--broker", metavar="FILE", help="rollmill-broker, to start one with a made-up cluster")
    parser.add_argument("--url", metavar="URL", help="a running broker, instead")
    parser.add_argument("--token", metavar="FILE", help="file with a token for --url")
    parser.add_argument("--agents", metavar="N", type=int, default=120, help="agents in it [default: 120]")
    parser.add_argument("--out", metavar="DIR", default="target/page", help="for screenshots [default: target/page]")
    parser.add_argument("--chromium", metavar="FILE", help="the browser [default: chromium of PATH]")
    parser.add_argument("--keep", action="store_true", help="keep the folder with the logs")
    options = parser.parse_args()
    if not options.broker and not options.url:
        parser.error("one of --broker and --url is needed")
    folder = tempfile.mkdtemp(prefix="rollmill-page-")
    try:
        run(options, folder)
        return 0
    except Failed as error:
        where = f"; logs in {folder}" if options.keep else ""
        print(f"page: {error}{where}", file=sys.stderr)
        return 1
    finally:
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
