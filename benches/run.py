#!/usr/bin/env python3
"""Side by side with Dovecot: both servers on one disk, in alternation, medians of several rounds. Prints the table of docs/benchmarks.md, and writes all rounds.

    cargo build --release && python3 benches/run.py --rounds 5

Needs Debian's dovecot-imapd and root (Dovecot changes users). Everything is on the loopback."""

import argparse
import json
import pathlib
import platform
import select
import shutil
import statistics
import tempfile
import threading
import time

from imap import Imap, message
from servers import PASSWORD, Carillon, Dovecot, memory_kib


def connect(server, tls=False):
    return Imap(server.tls_port if tls else server.port, "user", PASSWORD, tls)


def timed(action):
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def append_rate(server, clients, each):
    sessions = [connect(server) for _ in range(clients)]
    sessions[0].command("CREATE Rate")

    def work(session):
        for number in range(each):
            session.command("APPEND Rate", message(number))

    threads = [threading.Thread(target=work, args=(session,)) for session in sessions]
    seconds = timed(lambda: [thread.start() for thread in threads] + [thread.join() for thread in threads])
    sessions[0].command("DELETE Rate")
    [session.close() for session in sessions]
    return clients * each / seconds


def populate(server, count):
    session = connect(server)
    session.command("CREATE Large")
    for start in range(0, count, 100):
        session.tags += 1
        tag = b"t%d" % session.tags
        data = tag + b" APPEND Large"
        for number in range(start, min(start + 100, count)):
            body = message(number)
            data += b" {%d+}\r\n" % len(body) + body
        session.send(data + b"\r\n")
        session.until(tag)
    session.close()


def large(server, figures):
    session = connect(server)
    figures["SELECT of 10,000, new session, ms"] = 1000 * timed(lambda: session.command("SELECT Large"))
    for name, items in (
        ("FETCH 1:* (UID FLAGS), ms", "(UID FLAGS)"),
        ("FETCH 1:* (ENVELOPE BODYSTRUCTURE), ms", "(ENVELOPE BODYSTRUCTURE)"),
        ("FETCH 1:* header fields, ms", "(BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE MESSAGE-ID)])"),
        ("FETCH 1:* BODY.PEEK[], ms", "(BODY.PEEK[])"),
    ):
        figures[name] = 1000 * timed(lambda: session.command(f"FETCH 1:* {items}"))
    figures["STORE 1:* +FLAGS, ms"] = 1000 * timed(lambda: session.command("STORE 1:* +FLAGS (\\Flagged)"))
    figures["STORE 1:* -FLAGS.SILENT, ms"] = 1000 * timed(lambda: session.command("STORE 1:* -FLAGS.SILENT (\\Flagged)"))
    figures["SEARCH SUBJECT, ms"] = 1000 * timed(lambda: session.command('SEARCH SUBJECT "Message 77 "'))
    figures["SEARCH TEXT of a rare word, ms"] = 1000 * timed(lambda: session.command('SEARCH TEXT "number 4711 of"'))
    figures["SORT (SUBJECT), ms"] = 1000 * timed(lambda: session.command("SORT (SUBJECT) UTF-8 ALL"))
    session.command("UNSELECT")
    session.command("RENAME Large Largest")
    figures["RENAME of a mailbox of 10,000, ms"] = 1000 * timed(lambda: session.command("RENAME Largest Large"))
    session.command("SELECT Large")
    noops = [1e6 * timed(lambda: session.command("NOOP")) for _ in range(1000)]
    figures["NOOP round trip, us"] = statistics.median(noops)
    session.close()


def push(server, idlers, rounds, figures):
    """From the writer's tagged OK to the EXISTS at each idler; all idlers are watched by one poll."""
    writer = connect(server)
    writer.command("CREATE Push")
    sessions = []
    for _ in range(idlers):
        session = connect(server)
        session.command("SELECT Push")
        session.idle()
        session.buffer = b""
        sessions.append(session)
    by_fd = {session.sock.fileno(): session for session in sessions}
    poll = select.epoll()
    for descriptor in by_fd:
        poll.register(descriptor, select.EPOLLIN)
    delays, missed = [], 0
    for number in range(rounds):
        arrived = {}
        acknowledged = []

        def write():
            writer.command("APPEND Push", message(number))
            acknowledged.append(time.perf_counter())

        thread = threading.Thread(target=write)
        thread.start()
        end = time.perf_counter() + 10
        while len(arrived) < idlers and time.perf_counter() < end:
            for descriptor, _ in poll.poll(0.5):
                data = by_fd[descriptor].sock.recv(1 << 16)
                if b"EXISTS" in data:
                    arrived[descriptor] = time.perf_counter()
        thread.join()
        missed += idlers - len(arrived)
        delays += [max(0.0, 1000 * (at - acknowledged[0])) for at in arrived.values()]
        time.sleep(0.05)
    delays.sort()
    figures[f"push to {idlers} idlers, p50 ms"] = statistics.median(delays)
    figures[f"push to {idlers} idlers, p99 ms"] = delays[min(len(delays) - 1, int(len(delays) * 0.99))]
    figures[f"push to {idlers} idlers, missed"] = missed
    poll.close()
    [session.close() for session in sessions]
    writer.command("DELETE Push")
    writer.close()


def session_memory(server, count, tls, figures):
    # What the first login costs is no session's: the working memory of the password hash, tables, libraries.
    connect(server, tls).close()
    time.sleep(1)
    before = memory_kib(server.pids())
    sessions = []
    for _ in range(count):
        session = connect(server, tls)
        session.command("SELECT INBOX")
        session.idle()
        sessions.append(session)
    time.sleep(2)
    kind = "TLS" if tls else "plain"
    figures[f"memory per idle {kind} session, KiB"] = (memory_kib(server.pids()) - before) / count
    [session.close() for session in sessions]
    time.sleep(1)


def one_round(server, options):
    figures = {}
    figures["APPEND of 4 KiB, 1 client, per s"] = append_rate(server, 1, options.appends)
    figures["APPEND of 4 KiB, 20 clients, per s"] = append_rate(server, 20, options.appends // 4)
    populate(server, 10_000)
    large(server, figures)
    for idlers, rounds in ((1, 20), (100, 10), (1000, 4)):
        push(server, idlers, rounds, figures)
    server.stop()
    figures["start, login and SELECT of 10,000, ms"] = 1000 * timed(lambda: restart(server))
    # A fresh process for each: memory that earlier sessions gave back would hide what these take.
    session_memory(server, 300, False, figures)
    server.stop()
    server.start()
    session_memory(server, 300, True, figures)
    server.stop()
    return figures


def restart(server):
    server.start()
    session = connect(server)
    session.command("SELECT Large")
    session.close()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--appends", type=int, default=400)
    parser.add_argument("--binary", default="target/release/carillon")
    parser.add_argument("--output", default="benches/figures.json")
    parser.add_argument("--only", choices=["carillon", "dovecot-maildir", "dovecot-mdbox"])
    options = parser.parse_args()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="carillon-bench-", dir="/var/tmp"))
    directory.chmod(0o755)
    makers = {
        "carillon": lambda: Carillon(options.binary, directory),
        "dovecot-maildir": lambda: Dovecot(directory, "maildir"),
        "dovecot-mdbox": lambda: Dovecot(directory, "mdbox"),
    }
    if options.only:
        makers = {options.only: makers[options.only]}
    results = {name: [] for name in makers}
    try:
        for number in range(options.rounds):
            for name, make in makers.items():
                results[name].append(one_round(make(), options))
                print(f"round {number + 1} of {name} done", flush=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    output = {"machine": platform.platform(), "rounds": options.rounds, "results": results}
    pathlib.Path(options.output).write_text(json.dumps(output, indent=1) + "\n")
    print(table(results))


def table(results):
    names = list(results)
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---:|" * len(names)]
    for figure in results[names[0]][0]:
        medians = [statistics.median(one[figure] for one in results[name]) for name in names]
        lines.append(f"| {figure} | " + " | ".join(f"{value:.4g}" for value in medians) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
