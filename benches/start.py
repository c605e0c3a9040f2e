#!/usr/bin/env python3
"""How soon carillon serves after a start with 100,000 messages in one mailbox (after a clean stop, after kill -9, with cold caches, without its sled), what memory that
takes, what 1,000 idle TLS sessions take, and how soon `carillon try --memory` is up.

    cargo build --release && python3 benches/start.py

Root is needed for the cold caches alone."""

import argparse
import pathlib
import resource
import shutil
import statistics
import subprocess
import tempfile
import time

from imap import Imap, message
from servers import PASSWORD, Carillon, free_port, memory_kib


def milliseconds(since):
    return 1000 * (time.perf_counter() - since)


def connect(server, tls=False):
    return Imap(server.tls_port if tls else server.port, "user", PASSWORD, tls)


class Measured(Carillon):
    def start(self):
        self.spawned = time.perf_counter()
        super().start()
        self.ready = milliseconds(self.spawned)

    def kill(self):
        self.process.kill()
        self.process.wait()


def write_mbox(path, count):
    with open(path, "w") as file:
        for number in range(count):
            file.write(f"From a@example.org Mon Jan 12 10:00:00 2026\nFrom: Person {number % 500} <p{number % 500}@example.org>\n"
                       f"To: user@example.org\nSubject: Letter {number} about something\nMessage-ID: <{number}@example.org>\n"
                       f"Date: Mon, 12 Jan 2026 10:{number // 60 % 60:02}:{number % 60:02} +0000\n\nLetter {number} says little.\n\n")


def started(server, what, before=lambda: None, how=None, rounds=5):
    """Medians over several starts."""
    figures = {"ready": [], "login": [], "first SELECT": [], "second SELECT": [], "PSS after start": [], "PSS after SELECT": []}
    for _ in range(rounds):
        (how or server.stop)()
        before()
        server.start()
        figures["ready"].append(server.ready)
        figures["PSS after start"].append(memory_kib(server.pids()) / 1024)
        begun = time.perf_counter()
        session = connect(server)
        figures["login"].append(milliseconds(begun))
        for name in ["first SELECT", "second SELECT"]:
            begun = time.perf_counter()
            session.command("SELECT INBOX")
            figures[name].append(milliseconds(begun))
        figures["PSS after SELECT"].append(memory_kib(server.pids()) / 1024)
        session.close()
    for name, values in figures.items():
        unit = "MiB" if name.startswith("PSS") else "ms"
        print(f"{what}: {name} {statistics.median(values):.1f} {unit} (worst {max(values):.1f})", flush=True)


def cold():
    subprocess.run(["sync"], check=True)
    try:
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("3\n")
    except PermissionError:
        print("not root: the caches stay warm")


def killed_at_work(server):
    """kill -9 in the middle of appends, so that there is something behind the checkpoint."""
    session = connect(server)
    end = time.monotonic() + 4
    number = 0
    while time.monotonic() < end:
        session.command("APPEND Work", message(number, 1024))
        number += 1
    server.kill()
    print(f"killed after {number} appends in 4 s")


def memory_of_work(server):
    session = connect(server)
    session.command("SELECT INBOX")
    for items in ["(UID FLAGS)", "(UID RFC822.SIZE INTERNALDATE ENVELOPE)"]:
        begun = time.perf_counter()
        session.command(f"FETCH 1:* {items}")
        print(f"FETCH 1:* {items} of 100,000: {milliseconds(begun):.0f} ms, PSS then {memory_kib(server.pids()) / 1024:.1f} MiB", flush=True)
    session.close()


def idle_sessions(server, count):
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    # What the first login costs, and the mailbox's state, are no session's.
    first = connect(server, True)
    first.command("SELECT INBOX")
    first.close()
    time.sleep(1)
    before = memory_kib(server.pids())
    sessions = []
    for _ in range(count):
        session = connect(server, True)
        session.command("SELECT INBOX")
        session.idle()
        sessions.append(session)
    time.sleep(2)
    after = memory_kib(server.pids())
    print(f"{count} idle TLS sessions on a mailbox of 100,000: {(after - before) / 1024:.1f} MiB, {(after - before) / count:.1f} KiB each "
          f"({before / 1024:.1f} before, {after / 1024:.1f} MiB in all)", flush=True)
    [session.close() for session in sessions]


def trying(binary, rounds=20):
    times = []
    for _ in range(rounds):
        ports = [str(free_port()) for _ in range(3)]
        begun = time.perf_counter()
        process = subprocess.Popen([binary, "try", "--memory", "--any-user", "x", "--imap-port", ports[0], "--imaps-port", ports[1], "--lmtp-port", ports[2]],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        while b"IMAP " not in process.stdout.readline():
            pass
        session = Imap(int(ports[0]), "somebody", "x")
        times.append(milliseconds(begun))
        session.close()
        process.terminate()
        process.communicate()
    print(f"try --memory, from exec to a login: {statistics.median(times):.1f} ms (worst of {rounds} {max(times):.1f})", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--binary", default="target/release/carillon")
    options = parser.parse_args()
    trying(options.binary)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="carillon-start-", dir="/var/tmp"))
    try:
        server = Measured(options.binary, directory)
        mbox = directory / "mbox"
        write_mbox(mbox, options.messages)
        begun = time.perf_counter()
        subprocess.run([options.binary, "import", "mbox", mbox, "user", "--data", server.directory], check=True)
        print(f"import of {options.messages}: {milliseconds(begun) / 1000:.1f} s, PSS then {memory_kib(server.pids()) / 1024:.1f} MiB", flush=True)
        connect(server).command("CREATE Work")
        started(server, "after a clean stop")
        started(server, "after kill -9", how=server.kill)
        started(server, "after kill -9 at work", how=lambda: killed_at_work(server), rounds=3)
        started(server, "cold caches", before=cold, how=server.kill, rounds=3)
        started(server, "without sled", before=lambda: shutil.rmtree(server.directory / "sled"), how=server.kill, rounds=1)
        memory_of_work(server)
        server.stop()
        server.start()
        idle_sessions(server, options.sessions)
        server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main()
