"""swaks over LMTP: one reply per recipient, and the mail is there before the reply."""

import subprocess

import harness
from harness import check, equal

harness.need("swaks")


def swaks(server, *recipients):
    command = ["swaks", "--protocol", "LMTP", "--server", "127.0.0.1", "--port", str(server.lmtp), "--from", "you@example.org", "--timeout", "30",
               "--to", ",".join(recipients), "--header", "Subject: by swaks", "--body", "first\n.\n..second\n"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


with harness.server("alice", "bob") as carillon:
    done = swaks(carillon, "alice@localhost", "bob@localhost")
    equal(done.returncode, 0, f"swaks:\n{done.stdout}{done.stderr}")
    for user in ("alice", "bob"):
        client = carillon.client(user)
        equal(harness.subjects(client, "INBOX"), ["by swaks"], f"INBOX of {user}")
        client.select("INBOX")
        text = client.fetch("1", "(BODY[])")[1][0][1]
        check(b"\r\nfirst\r\n.\r\n..second\r\n" in text, f"the body: {text}")
        check(text.startswith(b"Return-Path: <you@example.org>\r\n"), f"the top: {text[:200]}")
        check(b"\r\nDelivered-To: " in text and b"\r\nReceived: " in text, f"the trace fields: {text[:400]}")
    replies = [line for line in done.stdout.splitlines() if line.startswith("<-") and " 250 2." in line]
    check(len(replies) >= 4, f"a reply for each recipient: {done.stdout}")
    partly = swaks(carillon, "alice@localhost", "nobody@localhost")
    check("550" in partly.stdout + partly.stderr, f"an unknown recipient: {partly.stdout}{partly.stderr}")
    equal(harness.subjects(carillon.client("alice"), "INBOX"), ["by swaks", "by swaks"], "the other recipient's mail")
