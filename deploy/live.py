#!/usr/bin/env python3
"""Checks metrics, dashboards and alerts on a running network.

It starts `rollmill-devnet` and a Prometheus with the rules of this directory that scrapes each process. Then:

1. `/metrics` of each process must pass `promtool check metrics`.
2. Each query of each dashboard must return data, but for panels that say "Empty unless"; none may be an error.
3. With `--faults`: an epoch that nobody proves, an account without ether, frozen agents, a frozen database, a frozen
   L1 and a GPU with errors must let the right alert fire, and it must resolve when the fault ends. There is no GPU:
   the driver is an emulator and its management library a fake.

Everything that it starts ends with it. Exit codes: 0 all is well, 1 not.
"""

import argparse
import contextlib
import glob
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
JOBS = {"broker": "rollmill-broker", "sequencer": "rollmill-sequencer", "prover-node": "rollmill-prover-node"}
AGENTS = 2
SCRAPE_SECONDS = 2
# Variables of the dashboards, as Grafana would fill them in.
VARIABLES = {"$instance": ".*", "$price": "1.00"}
# Longest waits. A cold start generates keys, and a shared machine may be slow.
START_SECONDS, ALERT_SECONDS = 900, 600
# Proof window of the network when alerts shall fire. Until a range was proven, RollmillEpochAtRisk takes 300 s for one
# and fires when less than three times that is left. The window of an epoch of 24 s is counted from its end.
WINDOW_SECONDS = 3 * 300 - 24 - 36


class Failed(Exception):
    """What is wrong."""


def say(text):
    print(f"live: {text}", flush=True)


def wait(what, seconds, ready):
    """Polls until `ready()` returns something true, and returns it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = ready()
        if found:
            return found
        time.sleep(0.5)
    raise Failed(f"after {seconds} s still no {what}")


def get(url):
    with urllib.request.urlopen(url, timeout=20) as answer:
        return answer.read().decode()


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def tool(name):
    cache = os.environ.get("ROLLMILL_CACHE") or os.path.expanduser("~/.cache/rollmill")
    found = shutil.which(name) or os.path.join(cache, "prometheus/usr/bin", name)
    if not os.access(found, os.X_OK):
        raise Failed(f"no {name}; run: make setup")
    return found


class Process:
    """A program in a session of its own, with its output in a file."""

    def __init__(self, command, log, **more):
        self.log, self.name = log, os.path.basename(command[0])
        with open(log, "wb") as output:
            self.child = subprocess.Popen(
                command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, **more
            )

    def text(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def require(self):
        if self.child.poll() is not None:
            raise Failed(f"{self.name} ended: {self.text()[-600:].strip()}")

    def stop(self, kind, grace):
        if self.child.poll() is None:
            self.child.send_signal(kind)
        try:
            self.child.wait(grace)
        except subprocess.TimeoutExpired:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()


def admin_address(path):
    """Where the process with this log serves its metrics; none while it does not."""
    with open(path, encoding="utf-8", errors="replace") as file:
        match = re.search(r"admin endpoint listening.*?address=\"?([0-9.:]+)", file.read())
    return match and match.group(1)


def metrics_addresses(folder):
    """The admin address of each process of the network, from its log; none before all are there."""
    found = {}
    for path in glob.glob(os.path.join(folder, "logs", "*.log")):
        address = admin_address(path)
        if address:
            found[os.path.basename(path)[: -len(".log")]] = address
    wanted = set(JOBS) | {f"agent-{i}" for i in range(1, AGENTS + 1)}
    return found if wanted <= set(found) else None


def configuration(addresses):
    jobs = {}
    for name, address in addresses.items():
        jobs.setdefault(JOBS.get(name, "rollmill-agent"), []).append(address)
    # JSON is YAML.
    return json.dumps({
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": "5s"},
        "rule_files": [os.path.join(HERE, "prometheus", "*.rules.yml")],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": targets}]} for job, targets in sorted(jobs.items())
        ],
    })


class Prometheus:
    def __init__(self, folder, addresses):
        self.config = os.path.join(folder, "prometheus.yml")
        write(self.config, configuration(addresses))
        command = [tool("prometheus"), f"--config.file={self.config}", "--web.listen-address=127.0.0.1:0"]
        command += [f"--storage.tsdb.path={os.path.join(folder, 'tsdb')}"]
        self.process = Process(command, os.path.join(folder, "prometheus.log"))
        self.address = wait("address of Prometheus", 60, self.listening)

    def scrape(self, addresses):
        """Scrapes these from now on."""
        write(self.config, configuration(addresses))
        self.process.child.send_signal(signal.SIGHUP)

    def listening(self):
        self.process.require()
        match = re.search(r'msg="Listening on" address=([0-9.:]+)', self.process.text())
        return match and match.group(1)

    def api(self, path, **query):
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            return json.loads(get(url))["data"]
        except urllib.error.HTTPError as error:
            raise Failed(json.loads(error.read().decode()).get("error", str(error))) from error

    def values(self, query):
        """The numbers that a query returns, those that are none left out."""
        data = self.api("query", query=query)
        result = [data["result"]] if data["resultType"] == "scalar" else [r["value"] for r in data["result"]]
        return [float(value) for _, value in result if not math.isnan(float(value))]

    def firing(self):
        alerts = self.api("alerts")["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def fires(self, alert):
        start = time.monotonic()
        wait(f"alert {alert}", ALERT_SECONDS, lambda: alert in self.firing())
        say(f"{alert} fires, {time.monotonic() - start:.0f} s after the fault")

    def resolves(self, alert):
        wait(f"end of alert {alert}", ALERT_SECONDS, lambda: alert not in self.firing())
        say(f"{alert} resolved")


def check_metrics(addresses):
    for name, address in sorted(addresses.items()):
        text = get(f"http://{address}/metrics")
        done = subprocess.run(
            [tool("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        if done.returncode != 0 or done.stdout or done.stderr:
            raise Failed(f"promtool check metrics of {name}: {done.stdout}{done.stderr}")
        say(f"{name}: {text.count('# TYPE')} metrics pass promtool check metrics")


def queries():
    """Dashboard, panel, query, and when the panel has data if that is not always."""
    found = []
    for path in sorted(glob.glob(os.path.join(HERE, "grafana", "*.json"))):
        with open(path, encoding="utf-8") as file:
            dashboard = json.load(file)
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                query = target["expr"]
                for name, value in VARIABLES.items():
                    query = query.replace(name, value)
                found.append((dashboard["uid"], panel["title"], query, panel.get("description", "")))
    if not found:
        raise Failed("there is no dashboard")
    return found


def check_queries(prometheus, network, seconds):
    every = queries()
    left = list(range(len(every)))

    def ask():
        network.require()
        for index in list(left):
            if prometheus.values(every[index][2]):
                left.remove(index)
        return not [index for index in left if not every[index][3].startswith("Empty unless ")]

    try:
        wait("data of each query", seconds, ask)
    except Failed as error:
        rows = [f"{every[i][0]}: {every[i][1]}: {every[i][2]}" for i in left if not every[i][3]]
        raise Failed("\n".join([str(error), *rows])) from error
    for index in left:
        dashboard, panel, query, when = every[index]
        say(f"no data, as {panel!r} of {dashboard} says ({when}): {query}")
    say(f"{len(every)} queries of the dashboards: {len(every) - len(left)} returned data, {len(left)} are empty and may be")


def processes():
    """Parent, name and arguments of every process, by its id."""
    found = {}
    for folder in glob.glob("/proc/[0-9]*"):
        try:
            with open(f"{folder}/stat", encoding="utf-8", errors="replace") as file:
                name, rest = re.match(r"\d+ \((.*)\) \S (.*)", file.read(), re.DOTALL).groups()
            with open(f"{folder}/cmdline", encoding="utf-8", errors="replace") as file:
                arguments = file.read().split("\0")
        except (OSError, AttributeError):
            # It ended meanwhile.
            continue
        found[int(folder[6:])] = (int(rest.split()[0]), name, arguments)
    return found


def below(root, wanted):
    """Ids of the processes started by `root`, directly or not, that `wanted(name, arguments)` selects."""
    every = processes()
    found, parents = [], {root}
    while parents:
        children = {pid for pid, (parent, _, _) in every.items() if parent in parents}
        found += [pid for pid in children if wanted(*every[pid][1:])]
        parents = children
    return found


class Frozen:
    """Processes that do nothing while this is open."""

    def __init__(self, what, pids):
        if not pids:
            raise Failed(f"the network has no {what}")
        self.pids = pids

    def __enter__(self):
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)

    def __exit__(self, *_):
        for pid in self.pids:
            os.kill(pid, signal.SIGCONT)


def named(devnet, part):
    """Ids of the network's processes whose program has this in its name."""
    return below(devnet.child.pid, lambda name, arguments: part in os.path.basename(arguments[0]) or name == part)


def arguments_of(devnet, part):
    """The program of the first such process, and a function from each of its flags to the value."""
    arguments = processes()[named(devnet, part)[0]][2]
    return arguments[0], lambda flag: arguments[arguments.index(flag) + 1]


def check_faults(prometheus, devnet, addresses, card, folder):
    before = prometheus.firing()
    say(f"firing before the faults: {', '.join(sorted(before)) or 'none'}")
    _, setting = arguments_of(devnet, "rollmill-prover-node")
    l1 = setting("--node-l1-urls").split(",")[0]
    account = setting("--prover-id")

    def balance(wei):
        call = {"jsonrpc": "2.0", "id": 1, "method": "anvil_setBalance", "params": [account, hex(wei)]}
        request = urllib.request.Request(l1, json.dumps(call).encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            if "error" in json.loads(answer.read()):
                raise Failed("anvil does not set the balance")

    # The network stops all of itself when a part of it fails, so it must not look.
    with Frozen("devnet", [devnet.child.pid]):
        balance(10**15)
        with Frozen("agents", named(devnet, "rollmill-agent")):
            prometheus.fires("RollmillAgentsGone")
        prometheus.resolves("RollmillAgentsGone")
        with Frozen("database", named(devnet, "postgres")):
            prometheus.fires("RollmillDatabaseGone")
        prometheus.resolves("RollmillDatabaseGone")
        prometheus.fires("RollmillBalanceLow")
        balance(10**21)
        prometheus.resolves("RollmillBalanceLow")
        with Frozen("L1", named(devnet, "anvil")):
            prometheus.fires("RollmillL1Stale")
        prometheus.resolves("RollmillL1Stale")
        # Last: its agent would be slow with a job, and nobody sends any more transactions.
        check_card(prometheus, devnet, addresses, card, folder)


def check_card(prometheus, devnet, addresses, card, folder):
    """An agent of its own has an emulated GPU, which begins to report errors of its memory and its driver."""
    made = subprocess.run([card, os.path.join(folder, "card")], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise Failed(f"{os.path.basename(card)} compiles no driver: {made.stderr.strip()}")
    faults = os.path.join(folder, "card-faults")
    write(faults, "")
    program, setting = arguments_of(devnet, "rollmill-agent")
    command = [program, "--name", "agent-card", "--device", "cuda:0", "--warm-keys=false", "--drain-seconds", "0"]
    command += ["--admin-listen", "127.0.0.1:0"]
    for flag in ["--broker", "--keys-dir", "--chain-id"]:
        command += [flag, setting(flag)]
    environment = {**os.environ, "LD_LIBRARY_PATH": made.stdout.strip(), "ROLLMILL_FAKE_NVML_FILE": faults}
    agent = Process(command, os.path.join(folder, "agent-card.log"), env=environment)
    try:
        def listening():
            agent.require()
            return admin_address(agent.log)

        def scraped():
            agent.require()
            return prometheus.values("count_over_time(rollmill_agent_card_xid_errors_total[5m]) >= 2")

        prometheus.scrape({**addresses, "agent-card": wait("agent with a GPU", 120, listening)})
        # A counter that grows before its second scrape has not grown for Prometheus.
        wait("metrics of the GPU", 300, scraped)
        early = prometheus.firing() & {"RollmillCardMemoryErrors", "RollmillCardXid"}
        if early:
            raise Failed(f"before the GPU fails there is {', '.join(sorted(early))}")
        write(faults, "ecc_uncorrected=1,xids=1")
        prometheus.fires("RollmillCardMemoryErrors")
        prometheus.fires("RollmillCardXid")
        # As after a reset of the GPU. The other alert stays for an hour.
        write(faults, "")
        prometheus.resolves("RollmillCardMemoryErrors")
    finally:
        agent.stop(signal.SIGTERM, 20)


def run(options, folder):
    network = os.path.join(folder, "network")
    command = [options.devnet, "--dir", network, "--keep-running", "--agents", str(AGENTS)]
    if options.faults:
        command += ["--proof-window-seconds", str(WINDOW_SECONDS)]
    devnet = Process([*command, "--blocks", "1", "--txs", "1"], os.path.join(folder, "devnet.log"))
    prometheus = None
    try:
        def ready():
            devnet.require()
            # The last agent is ready: its transactions come next.
            return f"agent-{AGENTS}: ready" in devnet.text() and metrics_addresses(network)

        addresses = wait("network", START_SECONDS, ready)
        say(f"the network runs: {', '.join(f'{name} {at}' for name, at in sorted(addresses.items()))}")
        idle = Frozen("agents", named(devnet, "rollmill-agent")) if options.faults else contextlib.nullcontext()
        # Nobody proves the first epoch for a while.
        with idle:
            prometheus = Prometheus(folder, addresses)
            if options.faults:
                prometheus.fires("RollmillEpochAtRisk")
        scraped = f"count(count_over_time(up[1h]) >= 2 and up == 1) == {len(addresses)}"
        wait("two scrapes of each process", 120, lambda: prometheus.values(scraped))
        check_metrics(addresses)
        check_queries(prometheus, devnet, options.data_seconds)
        if options.faults:
            prometheus.resolves("RollmillEpochAtRisk")
            check_faults(prometheus, devnet, addresses, options.card, folder)
    finally:
        if prometheus:
            prometheus.process.stop(signal.SIGTERM, 20)
        devnet.stop(signal.SIGINT, 60)
    say("ok")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devnet", metavar="FILE", required=True, help="the program rollmill-devnet, beside the others")
    parser.add_argument("--faults", action="store_true", help="let alerts fire too; takes about 15 min more")
    parser.add_argument("--card", metavar="FILE", help="the example card of agent/testing; --faults needs it")
    parser.add_argument(
        "--data-seconds", metavar="SECONDS", type=int, default=900, help="longest wait for data of each query [default: 900]"
    )
    options = parser.parse_args()
    if options.faults and not options.card:
        parser.error("--faults needs --card: cargo build -p rollmill-agent-testing --example card")
    with tempfile.TemporaryDirectory(prefix="rollmill-live-") as folder:
        try:
            run(options, folder)
        except Failed as error:
            print(f"live: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
