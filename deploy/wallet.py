#!/usr/bin/env python3
"""Runs the JavaScript client of the wallet service against a network on this machine.

It creates a store with two accounts, starts `rollmill-devnet` with notes of the first one at genesis, and once an epoch
is proven `rollmill-pxe serve` on that store. Then `pxe/js/live.js` pays from the first account to the second one,
repeats the payment with its idempotency key, and checks that one payment arrived. With `--out`, the page of
`pxe/js/browser` then pays in headless Chromium, with screenshots. At last every block of `docs/pxe.md` is executed.

Needs Node.js 18 or later. Exit codes: 0 all is well, 1 not. Everything that it starts ends with it.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

import live
import wallet_page

HERE = os.path.dirname(os.path.abspath(__file__))
CLIENT = os.path.join(HERE, "..", "pxe", "js", "live.js")
# Longest waits. A cold start generates keys, and a shared machine may be slow.
NETWORK_SECONDS, SERVICE_SECONDS, CLIENT_SECONDS, COMMAND_SECONDS = 1800, 60, 900, 120
# Grace at the end.
SERVICE_STOP_SECONDS, NETWORK_STOP_SECONDS = 30, 60


def say(text):
    print(f"wallet: {text}", flush=True)


class Wallet:
    """The program `rollmill-pxe` and a store for it in a folder of its own."""

    def __init__(self, program, folder):
        self.path = os.path.join(folder, "wallet.pxe")
        password = os.path.join(folder, "password")
        live.write(password, "a password of this run\n")
        os.chmod(password, 0o600)
        self.command = [program, "--store", self.path, "--password", f"file:{password}"]

    def store(self, *words):
        """What a subcommand of `store` prints: an address."""
        command = [*self.command, "store", *words]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=COMMAND_SECONDS
        )
        if done.returncode != 0:
            raise live.Failed(f"store {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout.strip()

    def serve(self, node, log, origin):
        options = ["--node-url", node, "--serve-listen", "127.0.0.1:0", "--serve-allow-origin", origin]
        return live.Process([*self.command, *options, "serve"], log, stdin=subprocess.DEVNULL)


def found(process, pattern):
    """A function that returns the first group of `pattern` in the log of a process that still runs."""

    def look():
        process.require()
        match = re.search(pattern, process.text())
        return match and match.group(1)

    return look


def pay(node, address, token):
    """Runs the client, with its output shown."""
    command = [node, CLIENT, f"http://{address}", token]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, check=False, timeout=CLIENT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise live.Failed(f"live.js does not end within {CLIENT_SECONDS} s") from error
    if done.returncode != 0:
        raise live.Failed(f"live.js ended with {done.returncode}")


def run(options, folder):
    node = shutil.which("node")
    if not node:
        raise live.Failed("no node; run: make setup")
    # What is missing is said before the minutes of the network.
    chromium = wallet_page.chromium(options.chromium) if options.out else None
    wallet = Wallet(os.path.join(options.programs, "rollmill-pxe"), folder)
    payer = wallet.store("create")
    wallet.store("add", "--label", "payee")
    say(f"the account with notes at genesis is {payer}")

    command = [os.path.join(options.programs, "rollmill-devnet"), "--dir", os.path.join(folder, "network")]
    command += ["--keep-running", "--agents", "1", "--blocks", "1", "--txs", "1", "--fund", payer]
    service, site = None, wallet_page.Site()
    network = live.Process(command, os.path.join(folder, "devnet.log"), stdin=subprocess.DEVNULL)
    try:
        at = live.wait(
            "epoch that is proven", NETWORK_SECONDS, found(network, r"running until Ctrl-C; node at (http://[0-9.:]+)")
        )
        say(f"the network runs, node at {at}")
        service = wallet.serve(at, os.path.join(folder, "first.log"), site.origin)
        address = live.wait(
            "address of the service", SERVICE_SECONDS,
            found(service, r"wallet service listening.*?address=\"?(127\.0\.0\.1:[0-9]+)"),
        )
        say(f"the service listens on {address}")
        pay(node, address, f"{wallet.path}.token")
        if options.out:
            with open(f"{wallet.path}.token", encoding="utf-8") as file:
                token = file.read().strip()
            wallet_page.pay_in_browser(chromium, site, f"http://{address}", token, options.out, folder)
            say(f"the page has paid; screenshots in {options.out}")
        network.require()
        service.require()
        service.stop(signal.SIGTERM, SERVICE_STOP_SECONDS)
        wallet_page.execute_document(options.programs, at, folder)
        say("every block of docs/pxe.md succeeded")
    except live.Failed:
        for process in filter(None, [service, network]):
            say(f"end of the log of {process.name}:\n{process.text()[-3000:]}")
        raise
    finally:
        site.stop()
        if service and service.child.poll() is None:
            service.stop(signal.SIGTERM, SERVICE_STOP_SECONDS)
        network.stop(signal.SIGINT, NETWORK_STOP_SECONDS)
    if service.child.returncode != 0:
        raise live.Failed(f"the service ended with {service.child.returncode} after SIGTERM")
    say("ok")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--programs", metavar="DIR", required=True, help="folder with rollmill-devnet, rollmill-pxe and the others"
    )
    parser.add_argument("--out", metavar="DIR", help="open the page in a browser too, and write screenshots there")
    parser.add_argument("--chromium", metavar="FILE", help="the browser of --out [default: chromium of PATH]")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="rollmill-wallet-") as folder:
        # Others may pass through: as root, PostgreSQL runs under another user and must reach its data below.
        os.chmod(folder, 0o711)
        try:
            run(options, folder)
        except (live.Failed, subprocess.TimeoutExpired) as error:
            print(f"wallet: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
