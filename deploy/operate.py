#!/usr/bin/env python3
"""Executes the commands of docs/operate.md on three folders of this machine, with a development L1 and a PostgreSQL.

Blocks that start with "```sh run N" are executed in their order, for machine N, by bash. What stands for a real machine:

- `/etc/rollmill`, `/var/lib/rollmill`, `/var/cache/rollmill`: below the machine's folder; the cache is shared
- `mN.internal`: 127.0.0.1; `https://l1.example` and `https://beacon.example`: anvil
- `systemctl`: starts and stops a program with the settings file that its unit names, and with a development key
- `rsync`: copies to another machine's folder
- `psql`, `pg_dump`, `pg_restore`: at the port of the test's PostgreSQL; with the password in their arguments they fail

Exit codes: 0 every command succeeded, 1 not. Everything that it starts ends with it.
"""

import argparse
import glob
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(ROOT, "docs/operate.md")
BLOCK_SECONDS = 900
# Keys of anvil's first accounts, which are public: deployer, member of the sample's committee, prover.
DEPLOYER = "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
KEYS = {
    "rollmill-sequencer": "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    "rollmill-prover-node": "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
}
# What bash knows besides the programs.
PRELUDE = r"""
set -euo pipefail
systemctl() {
    local act=$1 unit=${!#} pid="$MACHINE/${!#}.pid"
    if [ "$act" = stop ]; then
        kill "$(cat "$pid")"
        # One that has ended and that nobody waits for is a zombie, which takes signals.
        for _ in $(seq 300); do
            case $(ps -o stat= -p "$(cat "$pid")") in ''|Z*) return 0 ;; esac
            sleep 0.2
        done
        echo "operate: $unit does not stop" >&2
        return 1
    fi
    local key="KEY_${unit//-/_}"
    ROLLMILL_L1_KEY="${!key:-}" nohup "$unit" --config "$MACHINE/etc/rollmill/$unit.toml" \
        >> "$MACHINE/$unit.log" 2>&1 < /dev/null &
    echo $! > "$pid"
}
rsync() {
    local to=${!#} from
    to="$MACHINES/${to%%.internal:*}${to#*:}"
    for from in "$@"; do
        case $from in --*|*.internal:*) ;; *) mkdir -p "$to" && cp -a "$from" "$to" ;; esac
    done
}
# Every user of a machine can read the arguments of its processes.
without_password() {
    case "$*" in *"$DATABASE_PASSWORD"*)
        echo "operate: the arguments of $1 have the password of the database" >&2
        return 1 ;;
    esac
    command "$@"
}
psql() { without_password psql "$@"; }
pg_dump() { without_password pg_dump "$@"; }
pg_restore() { without_password pg_restore "$@"; }
"""


class Failed(Exception):
    """What is wrong."""


def blocks(text):
    """Machine, line and commands of each block that is executed."""
    out, found = [], None
    for number, line in enumerate(text.splitlines(), 1):
        start = re.fullmatch(r"```sh run ([123])", line)
        if start:
            found = (int(start[1]), number, [])
        elif line.startswith("```") and found:
            out.append((found[0], found[1], "\n".join(found[2]) + "\n"))
            found = None
        elif found:
            found[2].append(line)
    if not out:
        raise Failed(f"{PAGE} has no block to execute")
    return out


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            # The state follows the name in parentheses.
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return False


def write_secret(path, text, mode=0o600):
    with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "w", encoding="utf-8") as file:
        file.write(text)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Lab:
    """The folders, anvil and PostgreSQL."""

    def __init__(self, folder, programs):
        self.folder, self.programs, self.children = folder, programs, []
        for machine in "123":
            for path in ("etc/rollmill", "var/lib/rollmill"):
                os.makedirs(os.path.join(folder, "m" + machine, path))
        self.cache = os.environ.get("ROLLMILL_CACHE") or os.path.expanduser("~/.cache/rollmill")
        self.l1 = f"http://127.0.0.1:{free_port()}"
        self.database_port, self.database_password = free_port(), secrets.token_hex(16)

    def spawn(self, name, command):
        with open(os.path.join(self.folder, name + ".log"), "w", encoding="utf-8") as log:
            self.children.append(subprocess.Popen(command, stdout=log, stderr=log))

    def start(self):
        anvil = os.environ.get("ROLLMILL_ANVIL") or os.path.join(
            ROOT, "contracts/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil")
        self.spawn("anvil", [anvil, "--port", self.l1.rsplit(":", 1)[1], "--hardfork", "osaka",
                             "--enable-tx-gas-limit", "--block-time", "1", "--mixed-mining"])
        self.start_postgres()
        write_secret(os.path.join(self.folder, "m1/etc/rollmill/deployer.key"), DEPLOYER)

    def start_postgres(self):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        if not found:
            raise Failed("no PostgreSQL; run: make setup")
        programs, data, port = found[-1], os.path.join(self.folder, "postgres"), self.database_port
        os.mkdir(data)
        given = os.path.join(data, "password")
        write_secret(given, self.database_password)
        user = []
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
            for path in (data, given):
                shutil.chown(path, "nobody", "nogroup")
            os.chmod(self.folder, 0o755)
        subprocess.run([*user, f"{programs}/initdb", "--username=rollmill", "--auth=scram-sha-256", f"--pwfile={given}",
                        "-D", f"{data}/db"], stdout=subprocess.DEVNULL, check=True)
        os.remove(given)
        self.spawn("postgres", [*user, f"{programs}/postgres", "-D", f"{data}/db", "-p", str(port), "-h", "127.0.0.1",
                                "-k", data])
        # What section 4 of the page writes, except that the test creates a database of its own here.
        settings = os.path.join(self.folder, "m1/etc/rollmill")
        password_file = os.path.join(settings, "pgpass")
        write_secret(password_file, f"127.0.0.1:*:*:rollmill:{self.database_password}\n")
        write_secret(os.path.join(settings, "database-url"),
                     f"postgres://rollmill:{self.database_password}@127.0.0.1:{port}/rollmill", 0o640)
        create = ["psql", "--quiet", f"postgres://rollmill@127.0.0.1:{port}/postgres", "--no-password", "--command",
                  "CREATE DATABASE rollmill"]
        environment, end = {**os.environ, "PGPASSFILE": password_file}, time.monotonic() + 60
        while subprocess.run(create, capture_output=True, check=False, env=environment).returncode:
            if time.monotonic() > end:
                raise Failed("PostgreSQL does not start; see postgres.log")
            time.sleep(0.3)

    def run(self, machine, line, commands):
        home = os.path.join(self.folder, f"m{machine}")
        # The target of a copy stays a path of that machine.
        commands = re.sub(r"(\.internal:)(/etc|/var)", r"\1@\2", commands)
        for old, new in (("/etc/rollmill", f"{home}/etc/rollmill"), ("/var/lib/rollmill", f"{home}/var/lib/rollmill"),
                         ("/var/cache/rollmill", self.cache), ("https://l1.example", self.l1),
                         ("https://beacon.example", self.l1)):
            commands = re.sub(r"(?<!@)" + re.escape(old), new, commands)
        commands = commands.replace(".internal:@", ".internal:")
        commands = re.sub(r"https://m[123]\.internal", "https://127.0.0.1", commands)
        environment = {name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ}
        environment.update({f"KEY_{name.replace('-', '_')}": key for name, key in KEYS.items()})
        environment.update({
            "PATH": f"{self.programs}:{os.environ['PATH']}", "MACHINE": home, "MACHINES": self.folder,
            # The page's URLs have PostgreSQL's usual port.
            "PGPORT": str(self.database_port), "DATABASE_PASSWORD": self.database_password,
            # anvil numbers its slots by blocks.
            "ROLLMILL_SEQUENCER_NODE_BEACON_IDS": "numbers", "ROLLMILL_PROVER_NODE_NODE_BEACON_IDS": "numbers",
            "ROLLMILL_L1_KEY": KEYS["rollmill-sequencer" if machine == 2 else "rollmill-prover-node"],
        })
        print(f"operate: machine {machine}, line {line}", flush=True)
        done = subprocess.run(["bash", "-c", PRELUDE + commands], cwd=home, env=environment, timeout=BLOCK_SECONDS,
                              check=False)
        if done.returncode:
            raise Failed(f"the block at line {line} of docs/operate.md failed with {done.returncode}")

    def check_keys(self):
        """No machine but the first has a private key that is not its own."""
        for path in glob.glob(os.path.join(self.folder, "m[23]/etc/rollmill/tls/*.key")):
            machine = os.path.relpath(path, self.folder).split(os.sep)[0]
            if os.path.basename(path) != machine + ".key":
                raise Failed(f"{machine} has the private key {os.path.basename(path)}")

    def stop(self):
        pids = []
        for path in glob.glob(os.path.join(self.folder, "m?", "*.pid")):
            with open(path, encoding="utf-8") as file:
                try:
                    pids.append(int(file.read()))
                except ValueError:
                    pass
        # First what they are asked, then what they are made to do.
        for act in (signal.SIGTERM, signal.SIGKILL):
            for pid in filter(is_running, pids):
                os.kill(pid, act)
            end = time.monotonic() + 60
            while any(map(is_running, pids)) and time.monotonic() < end:
                time.sleep(0.2)
        for child in reversed(self.children):
            child.send_signal(signal.SIGINT)
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", required=True, metavar="DIR", help="folder of the programs")
    parser.add_argument("--keep", action="store_true", help="keep the folders with their logs")
    arguments = parser.parse_args()
    # So that what it started ends with it, as after an interrupt.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = tempfile.mkdtemp(prefix="rollmill-operate-")
    lab = Lab(folder, os.path.abspath(arguments.programs))
    try:
        with open(PAGE, encoding="utf-8") as page:
            found = blocks(page.read())
        lab.start()
        for block in found:
            lab.run(*block)
        lab.check_keys()
        print(f"operate: {len(found)} blocks succeeded")
        return 0
    except (Failed, OSError, subprocess.SubprocessError) as error:
        where = f"logs in {folder}" if arguments.keep else "--keep keeps the logs"
        print(f"operate: {error}; {where}", file=sys.stderr)
        return 1
    finally:
        lab.stop()
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
