#!/usr/bin/env python3
"""Proves the Noir programs of noir/programs with `rollmill-noir` and with Barretenberg's `bb`, side by side.

    noir.py --programs target/release --json FILE     measure; the programs must be built with --release
    noir.py --table FILE                              write the table of docs/book/noir.md from such a result

For each program it makes a key, proves, verifies, deploys the generated contract on anvil and calls it with the proof,
with another public input and with a changed proof. bb proves the same witness (`rollmill-noir witness`) under the same
powers, and its public inputs must be ours. Both prove with blinding, for a verifier on Ethereum, in a process of their
own: a time is that of the whole process, with the program's circuit laid out and the key read from its file, and its
memory is the most that the kernel counted for it. Linux counts what this script had when it started the process as
well, so that no figure is below `memory_bytes_floor`. The runs of the two take turns.

bb is `--bb`, else that of contracts/node_modules (`npm i --no-save @aztec/bb.js@5.0.0` in contracts); anvil and solc
are there too (`make setup`). Exit codes: 0 all is well, 1 not. Everything that it starts ends with it.
"""

import argparse
import base64
import http.client
import json
import os
import platform
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import urllib.request

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SOURCES = os.path.join(ROOT, "noir", "programs")
ARTIFACTS = os.path.join(ROOT, "noir", "artifacts", "programs")
PACKAGES = os.path.join(ROOT, "contracts", "node_modules")
PAGE = os.path.join(ROOT, "docs", "book", "noir.md")
START, END = "<!-- written by benches/noir.py -->\n", "<!-- end of what benches/noir.py writes -->\n"
SCHEMA = 1
# Blinded, as ours, and with Keccak for the challenges.
TARGET = "evm"
# bb compiles in the [tau] of a ceremony, so under the development SRS its last equation cannot hold.
ONLY_PAIRING = "verification failed at pairing check"
# Longest waits.
PROCESS_SECONDS, ANVIL_SECONDS, CALL_SECONDS, STOP_SECONDS = 900, 30, 60, 10
# Settings of Barretenberg for another run.
UNSET = ("BB_MSM_LEGACY", "CRS_PATH")
# Anvil is on this machine: a proxy of the environment must not be asked for it.
LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))
# The longest line of a page.
COLUMNS = 120
# Below the limit of a transaction.
DEPLOY_GAS = 15_000_000
CHAIN_ID = 31337


class Failed(Exception):
    """What is wrong."""


def say(text):
    print(f"noir: {text}", file=sys.stderr, flush=True)


class Done:
    """A process that has ended: its output, its seconds and the most memory that it had, in bytes."""

    def __init__(self, command, folder, environment=None):
        self.name = " ".join(os.path.basename(part) for part in command[:6])
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as log:
            inherited = {name: value for name, value in os.environ.items() if name not in UNSET}
            start = time.monotonic()
            child = subprocess.Popen(
                command, cwd=folder, env={**inherited, **(environment or {})}, stdin=subprocess.DEVNULL,
                stdout=output, stderr=log,
            )
            timer = threading.Timer(PROCESS_SECONDS, child.kill)
            timer.start()
            try:
                # The usage of this child alone.
                _, status, usage = os.wait4(child.pid, 0)
            except BaseException:
                # A signal came: the child ends with this script.
                child.kill()
                raise
            finally:
                timer.cancel()
            self.seconds = time.monotonic() - start
            child.returncode = os.waitstatus_to_exitcode(status)
            # Linux counts in KiB.
            self.memory = usage.ru_maxrss * 1024
            self.code = child.returncode
            self.text, self.log = (read_all(file) for file in (output, log))

    def require(self):
        if self.code == -signal.SIGKILL and self.seconds >= PROCESS_SECONDS:
            raise Failed(f"{self.name} did not end within {PROCESS_SECONDS} s")
        if self.code != 0:
            raise Failed(f"{self.name} ended with {self.code}: {(self.text + self.log)[-800:].strip()}")
        return self


def read_all(file):
    file.seek(0)
    return file.read().decode(errors="replace")


class Runs:
    """Seconds and memory of several runs."""

    def __init__(self):
        self.seconds, self.memory = [], 0

    def add(self, done):
        self.seconds.append(done.seconds)
        self.memory = max(self.memory, done.memory)

    def figures(self):
        return {"seconds": [round(s, 4) for s in self.seconds], "memory_bytes_peak": self.memory}


class Rollmill:
    """`rollmill-noir`, with a directory of keys that ends with the run."""

    def __init__(self, programs, threads, keys):
        self.program = os.path.join(programs, "rollmill-noir")
        self.common = ["--device", "cpu", "--threads", str(threads), "--keys-dir", keys]

    def run(self, folder, *words):
        return Done([self.program, *self.common, *words], folder).require()


class Bb:
    """Barretenberg's program, with powers of the same SRS."""

    def __init__(self, program, threads, crs):
        self.program, self.crs = program, crs
        self.environment = {"HARDWARE_CONCURRENCY": str(threads), "BB_MSM_NEW": "1"}
        version = Done([program, "--version"], ROOT).require().text.strip()
        if not re.match(r"\d", version):
            raise Failed(f"{program} is not Barretenberg's bb: --version prints {version[:80]!r}")
        self.version = version

    def run(self, folder, *words):
        return Done([self.program, *words, "-t", TARGET], folder, self.environment)

    def prepare(self, folder):
        """Number of gates; the key is in out/vk then."""
        counted = self.run(folder, "gates", "-b", "program.gz").require().text
        try:
            gates = int(json.loads(counted[counted.index("{") :])["functions"][0]["circuit_size"])
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise Failed(f"bb gates prints no circuit_size: {counted[:400]!r}") from error
        # With too few powers bb would ask its servers for more.
        needed, points = 1 << gates.bit_length(), os.path.getsize(os.path.join(self.crs, "bn254_g1.dat")) // 64
        if points < needed:
            raise Failed(f"bb needs {needed} powers and the SRS has {points}; name a longer one with --srs")
        os.makedirs(os.path.join(folder, "out"), exist_ok=True)
        self.run(folder, "write_vk", "-b", "program.gz", "-o", "out", "-c", self.crs).require()
        return gates

    def prove(self, folder):
        words = ["prove", "-b", "program.gz", "-w", "witness.gz", "-k", "out/vk", "-o", "out", "-c", self.crs]
        return self.run(folder, *words).require()

    def verify(self, folder):
        words = ["verify", "-p", "out/proof", "-k", "out/vk", "-i", "out/public_inputs", "-c", self.crs]
        done = self.run(folder, *words)
        if done.code != 0 and ONLY_PAIRING not in done.text + done.log:
            done.require()
        with open(os.path.join(folder, "out", "public_inputs"), "rb") as file:
            return file.read()


class Anvil:
    """A chain on which contracts are called."""

    def __init__(self, folder):
        machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        program = os.path.join(PACKAGES, "@foundry-rs", f"anvil-linux-{machine}", "bin", "anvil")
        if not os.access(program, os.X_OK):
            raise Failed(f"no anvil at {program}; run: make setup")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url, self.log = f"http://127.0.0.1:{port}", os.path.join(folder, "anvil.log")
        command = [program, "--port", str(port), "--chain-id", str(CHAIN_ID), "--hardfork", "osaka"]
        with open(self.log, "wb") as output:
            self.child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
        try:
            self.wait()
            self.account = self.ask("eth_accounts")[0]
        except BaseException:
            self.stop()
            raise

    def wait(self):
        end = time.monotonic() + ANVIL_SECONDS
        while time.monotonic() < end and self.child.poll() is None:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                if "Listening on" in file.read():
                    return
            time.sleep(0.1)
        raise Failed(f"anvil does not listen after {ANVIL_SECONDS} s, see {self.log}")

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait(STOP_SECONDS)

    def answer(self, method, *params):
        """The whole answer to a call of JSON-RPC."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.url, body, {"content-type": "application/json"})
        try:
            with LOCAL.open(request, timeout=CALL_SECONDS) as response:
                return json.load(response)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Failed(f"{method}: anvil does not answer: {error}") from error

    def ask(self, method, *params):
        answer = self.answer(method, *params)
        if "error" in answer:
            raise Failed(f"{method}: {answer['error'].get('message')}")
        return answer["result"]

    def deploy(self, code):
        call = {"from": self.account, "data": f"0x{code}", "gas": hex(DEPLOY_GAS)}
        hash_ = self.ask("eth_sendTransaction", call)
        end = time.monotonic() + CALL_SECONDS
        while time.monotonic() < end:
            receipt = self.ask("eth_getTransactionReceipt", hash_)
            if receipt:
                if int(receipt["status"], 16) != 1:
                    raise Failed(f"the contract was not deployed: {receipt}")
                return receipt["contractAddress"]
            time.sleep(0.05)
        raise Failed(f"no receipt after {CALL_SECONDS} s")

    def accepts(self, contract, data):
        """Whether a contract returns true; it returns false or reverts for anything but a proof."""
        answer = self.answer("eth_call", {"from": self.account, "to": contract, "data": data}, "latest")
        if "error" not in answer:
            return int(answer["result"], 16) == 1
        if "revert" not in answer["error"].get("message", ""):
            raise Failed(f"eth_call: {answer['error']}")
        return False

    def gas(self, contract, data):
        return int(self.ask("eth_estimateGas", {"from": self.account, "to": contract, "data": data}), 16)


def compiled(folder, name):
    """Code of the contract in `folder` and the selector of its function."""
    sources = {}
    for file in [f"{name}.sol", "IVerifier.sol"]:
        with open(os.path.join(folder, file), encoding="utf-8") as source:
            sources[file] = {"content": source.read()}
    asked = {
        "language": "Solidity",
        "sources": sources,
        # As contracts/foundry.toml has them.
        "settings": {
            "viaIR": True,
            "evmVersion": "osaka",
            "optimizer": {"enabled": True, "runs": 200},
            "outputSelection": {f"{name}.sol": {name: ["evm.bytecode.object", "evm.methodIdentifiers"]}},
        },
    }
    compiler = [node(), os.path.join(ROOT, "contracts", "solcw.js"), "--standard-json", "--base-path", folder]
    done = subprocess.run(
        compiler, input=json.dumps(asked), capture_output=True, text=True, check=False, timeout=PROCESS_SECONDS
    )
    if done.returncode != 0:
        raise Failed(f"solcw.js ended with {done.returncode}: {done.stderr[-800:].strip()}")
    answer = json.loads(done.stdout)
    errors = [e["formattedMessage"] for e in answer.get("errors", []) if e.get("severity", "error") == "error"]
    if errors:
        raise Failed(f"{name}.sol does not compile: {errors[0]}")
    evm = answer["contracts"][f"{name}.sol"][name]["evm"]
    return evm["bytecode"]["object"], evm["methodIdentifiers"]["verify(bytes,bytes32[])"]


def node():
    found = shutil.which("node")
    if not found:
        raise Failed("no node; run: make setup")
    return found


def call_data(selector, proof, inputs):
    """The call `verify(proof, inputs)`, by the ABI of contracts."""
    padded = proof + bytes(-len(proof) % 32)
    words = [(64).to_bytes(32, "big"), (96 + len(padded)).to_bytes(32, "big")]
    words += [len(proof).to_bytes(32, "big"), padded, len(inputs).to_bytes(32, "big"), *inputs]
    return f"0x{selector}{b''.join(words).hex()}"


def check_contract(rollmill, anvil, folder, name, proof, inputs):
    """Deploys the contract of the key; returns the gas of a verification."""
    contract = "".join(part.capitalize() for part in name.split("_")) + "Verifier"
    rollmill.run(folder, "solidity", "--key", "key.json", "--contract", contract, "--output", "contract")
    code, selector = compiled(os.path.join(folder, "contract"), contract)
    address = anvil.deploy(code)
    data = call_data(selector, proof, inputs)
    if not anvil.accepts(address, data):
        raise Failed(f"{name}: the contract rejects the proof")
    other = (int.from_bytes(inputs[0], "big") ^ 1).to_bytes(32, "big")
    changed = bytearray(proof)
    changed[-1] ^= 1
    for what, wrong in [
        ("another public input", call_data(selector, proof, [other, *inputs[1:]])),
        ("no public input", call_data(selector, proof, inputs[1:])),
        ("a changed proof", call_data(selector, bytes(changed), inputs)),
    ]:
        if anvil.accepts(address, wrong):
            raise Failed(f"{name}: the contract accepts {what}")
    return anvil.gas(address, data)


def prepared(name, folder):
    """The program's artifact and inputs in a folder of their own, and its bytecode as bb reads it."""
    artifact = os.path.join(ARTIFACTS, f"{name}.json")
    if not os.path.exists(artifact):
        raise Failed(f"no {artifact}; run: cd noir && npm ci --ignore-scripts && node compile.js")
    shutil.copy(artifact, os.path.join(folder, "program.json"))
    shutil.copy(os.path.join(SOURCES, name, "Prover.toml"), folder)
    with open(artifact, encoding="utf-8") as file:
        bytecode = base64.b64decode(json.load(file)["bytecode"])
    with open(os.path.join(folder, "program.gz"), "wb") as file:
        file.write(bytecode)


def measured(name, folder, rollmill, bb, anvil, runs):
    """All figures of one program."""
    prepared(name, folder)
    gates = json.loads(rollmill.run(folder, "gates", "program.json", "--json").text)
    rollmill.run(folder, "key", "program.json", "--output", "key.json")
    rollmill.run(folder, "witness", "program.json")
    bb_gates = bb.prepare(folder)
    ours, theirs = Runs(), Runs()
    words = ["prove", "program.json", "--key", "key.json", "--output", "proof.json"]
    # The first run of each reads its files from the disk.
    rollmill.run(folder, *words)
    bb.prove(folder)
    for _ in range(runs):
        ours.add(rollmill.run(folder, *words))
        theirs.add(bb.prove(folder))
    rollmill.run(folder, "verify", "--key", "key.json", "--proof", "proof.json")
    with open(os.path.join(folder, "proof.json"), encoding="utf-8") as file:
        written = json.load(file)
    inputs = [bytes.fromhex(text[2:].zfill(64)) for text in written["public_inputs"]]
    if bb.verify(folder) != b"".join(inputs):
        raise Failed(f"{name}: bb proves other public inputs")
    proof = bytes.fromhex(written["proof"][2:])
    gas = check_contract(rollmill, anvil, folder, name, proof, inputs)
    return {
        "program": name,
        "rows": gates["rows"],
        "log_n": gates["log_n"],
        "public_inputs": gates["public_inputs"],
        "families": gates["families"],
        "proof_bytes": len(proof),
        "gas": gas,
        "rollmill": ours.figures(),
        "bb_gates": bb_gates,
        "bb": theirs.figures(),
    }


def names(only):
    found = [name for name in sorted(os.listdir(SOURCES)) if os.path.exists(os.path.join(SOURCES, name, "Nargo.toml"))]
    unknown = set(only or []) - set(found)
    if unknown:
        raise Failed(f"there is no program {', '.join(sorted(unknown))}")
    # Each once, in the order given.
    return list(dict.fromkeys(only or found))


def find_bb(given):
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    found = given or os.path.join(PACKAGES, "@aztec", "bb.js", "build", f"{machine}-linux", "bb")
    if not os.access(found, os.X_OK):
        raise Failed(f"no bb at {found}; run: cd contracts && npm i --no-save @aztec/bb.js@5.0.0, or name it with --bb")
    return os.path.abspath(found)


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = re.search(r"model name\s*: (.*)", file.read())
    return {
        # Some processors of ARM have no name there.
        "cpu": model.group(1) if model else f"a processor of {platform.machine()}",
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def measure(options, folder):
    programs = os.path.abspath(options.programs)
    cache = os.environ.get("ROLLMILL_CACHE") or os.path.expanduser("~/.cache/rollmill")
    srs = os.path.abspath(options.srs or os.path.join(cache, "keys", "srs.bin"))
    if not os.path.exists(srs):
        raise Failed(f"no SRS at {srs}; run: rollmill-agent keys --chain-id {CHAIN_ID}, or name it with --srs")
    keys, crs = os.path.join(folder, "keys"), os.path.join(folder, "crs")
    os.mkdir(keys)
    os.symlink(srs, os.path.join(keys, "srs.bin"))
    export = ["srs", "export", "--format", "bb", "--from", srs, "--out", crs]
    Done([os.path.join(programs, "rollmill-agent"), *export], folder).require()
    rollmill, bb = Rollmill(programs, options.threads, keys), Bb(find_bb(options.bb), options.threads, crs)
    commit = Done(["git", "rev-parse", "HEAD"], ROOT).require()
    result = {
        "schema": SCHEMA,
        "machine": machine(),
        "commit": commit.text.strip(),
        "unix_seconds": int(time.time()),
        "command": sys.argv,
        "threads": options.threads,
        "runs": options.runs,
        "bb_version": bb.version,
        "entries": [],
    }
    anvil = Anvil(folder)
    try:
        for name in names(options.only):
            own = os.path.join(folder, name)
            os.mkdir(own)
            entry = measured(name, own, rollmill, bb, anvil, options.runs)
            result["entries"].append(entry)
            ours, theirs = (statistics.median(entry[of]["seconds"]) for of in ("rollmill", "bb"))
            say(f"{name}: {entry['rows']} rows {ours:.2f} s, bb {entry['bb_gates']} gates {theirs:.2f} s")
            # The proofs of a long run need no place.
            shutil.rmtree(own)
            result["memory_bytes_floor"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            write(options.json, f"{json.dumps(result, indent=1)}\n")
    finally:
        anvil.stop()


def write(path, text):
    with open(f"{path}.part", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(f"{path}.part", path)


def table(result):
    """The lines between the marks of the page."""
    about, machine_of = result["entries"], result["machine"]
    floor, memory = result["memory_bytes_floor"] / 2**20, machine_of["memory_bytes"] / 2**30
    text = (
        f"{machine_of['cpu']} with {machine_of['cores']} cores and {memory:.0f} GiB, {result['threads']} threads, bb "
        f"{result['bb_version']}, {result['runs']} runs of each in turns, at commit {result['commit'][:12]}. Seconds "
        f"are the median of whole processes. Memory is the most of any run; the kernel counts {floor:.0f} MiB at least."
    )
    lines = [
        *textwrap.wrap(text, COLUMNS, break_long_words=False, break_on_hyphens=False),
        "",
        "| program | rows | seconds | MiB | gas on L1 | gates of bb | seconds | MiB |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    mib = lambda figures: round(figures["memory_bytes_peak"] / 2**20)
    for entry in about:
        ours, theirs = entry["rollmill"], entry["bb"]
        cells = [
            f"`{entry['program']}`", f"{entry['rows']:,}", f"{statistics.median(ours['seconds']):.2f}",
            f"{mib(ours):,}", f"{entry['gas']:,}", f"{entry['bb_gates']:,}",
            f"{statistics.median(theirs['seconds']):.2f}", f"{mib(theirs):,}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write_table(path):
    with open(path, encoding="utf-8") as file:
        result = json.load(file)
    if result.get("schema") != SCHEMA:
        raise Failed(f"{path} has schema {result.get('schema')}, this program knows {SCHEMA}")
    with open(PAGE, encoding="utf-8") as file:
        page = file.read()
    if START not in page or END not in page:
        raise Failed(f"{PAGE} has no marks of the table")
    before, rest = page.split(START, 1)
    after = rest.split(END, 1)[1]
    write(PAGE, f"{before}{START}\n{table(result)}\n\n{END}{after}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", metavar="DIR", help="folder with rollmill-noir and rollmill-agent")
    parser.add_argument("--json", metavar="FILE", help="file to write the result to")
    parser.add_argument("--table", metavar="FILE", help="write the table of docs/book/noir.md from this result alone")
    parser.add_argument("--bb", metavar="FILE", help="Barretenberg's program [default: that of contracts/node_modules]")
    parser.add_argument("--srs", metavar="FILE", help="SRS of the proofs [default: that of $ROLLMILL_CACHE/keys]")
    parser.add_argument("--only", metavar="NAME", nargs="+", help="programs to measure [default: all]")
    parser.add_argument("--runs", metavar="N", type=int, default=5, help="runs of each program and prover [default: 5]")
    cores = os.cpu_count()
    parser.add_argument("--threads", metavar="N", type=int, default=cores, help="of each [default: one per core]")
    options = parser.parse_args()
    if not options.table and not (options.programs and options.json):
        parser.error("--programs and --json, or --table")
    if options.runs < 1 or options.threads < 1:
        parser.error("--runs and --threads are 1 or more")
    # A signal ends this script as an error does, with all that it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        if options.table:
            write_table(options.table)
        else:
            with tempfile.TemporaryDirectory(prefix="rollmill-noir-") as folder:
                measure(options, folder)
    except (Failed, subprocess.TimeoutExpired, OSError, ValueError) as error:
        print(f"noir: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
