"""What the client scripts share: a carillon of their own over TLS, mail by LMTP, and a look at the result by a second client."""

import contextlib
import email.utils
import imaplib
import os
import pathlib
import shutil
import smtplib
import socket
import ssl
import subprocess
import sys
import tempfile
import time

USER = "alice"
PASSWORD = "correct horse"
SKIPPED = 77


def skip(why):
    """Ends the script with the exit code that means: not tested."""
    print(why)
    sys.exit(SKIPPED)


def need(*programs):
    for program in programs:
        if shutil.which(program) is None:
            skip(f"{program} is not installed")


def check(condition, what):
    """An assertion that no optimisation removes."""
    if not condition:
        raise AssertionError(what)


def equal(got, wanted, what):
    check(got == wanted, f"{what}: got {got!r}, wanted {wanted!r}")


def wait_for(condition, what, seconds=20):
    """Until the condition holds; its last value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        check(time.monotonic() < end, f"{what}: not within {seconds} s")
        time.sleep(0.05)


def run(*command, seconds=120, **options):
    """A program's output; its failure is ours."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, **options)
    check(done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """`carillon serve` over a data directory in a temporary folder."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.binary = os.environ["CARILLON_BIN"]
        self.data = self.folder / "data"
        self.imap, self.imaps, self.lmtp = free_port(), free_port(), free_port()
        self.ca = self.data / "tls" / "ca.pem"
        self.trace = self.folder / "trace"
        self.process = None

    def add_user(self, user):
        run(self.binary, "user", "add", user, "--password-stdin", "--data", str(self.data), input=PASSWORD + "\n")

    def start(self):
        with open(self.trace, "ab") as trace:
            self.process = subprocess.Popen(
                [self.binary, "serve", "--data", self.data, "--imap", f"127.0.0.1:{self.imap}", "--imaps", f"127.0.0.1:{self.imaps}",
                 "--lmtp", f"127.0.0.1:{self.lmtp}"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=trace)
        wait_for(self.answers, "the server's answer")

    def answers(self):
        check(self.process.poll() is None, f"the server ended:\n{self.trace.read_text()}")
        with contextlib.suppress(OSError):
            for port in (self.imap, self.imaps, self.lmtp):
                socket.create_connection(("127.0.0.1", port), 5).close()
            return self.ca.exists()
        return False

    def stop(self):
        self.process.terminate()
        equal(self.process.wait(20), 0, "exit code after SIGTERM")
        trace = self.trace.read_text(errors="replace")
        check("panicked" not in trace, f"the server panicked:\n{trace}")

    def tls(self):
        return ssl.create_default_context(cafile=self.ca)

    def client(self, user=USER):
        """Python's own client, logged in."""
        client = imaplib.IMAP4_SSL("localhost", self.imaps, ssl_context=self.tls(), timeout=30)
        client.login(user, PASSWORD)
        return client

    def deliver(self, subject, body="x", user=USER):
        """By LMTP."""
        with smtplib.LMTP("127.0.0.1", self.lmtp, timeout=30) as lmtp:
            refused = lmtp.sendmail("sender@example.org", [user], message(subject, body))
            equal(refused, {}, "recipients that were refused")


@contextlib.contextmanager
def server(*users):
    with tempfile.TemporaryDirectory(prefix="carillon-client-") as folder:
        carillon = Server(folder)
        for user in users or (USER,):
            carillon.add_user(user)
        carillon.start()
        try:
            yield carillon
        except BaseException:
            print(carillon.trace.read_text(errors="replace")[-4000:])
            carillon.process.kill()
            raise
        carillon.stop()


def message(subject, body="x"):
    """A small message, as bytes."""
    return (f"From: Sender <sender@example.org>\r\nTo: {USER}@example.org\r\nSubject: {subject}\r\n"
            f"Date: {email.utils.formatdate(1700000000)}\r\nMessage-ID: <{subject.replace(' ', '.')}@example.org>\r\n\r\n{body}\r\n").encode()


def subjects(client, mailbox):
    """The subjects of a mailbox, sorted."""
    status, _ = client.select(mailbox, readonly=True)
    equal(status, "OK", f"SELECT {mailbox}")
    status, data = client.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    equal(status, "OK", "FETCH")
    return sorted(part[1].decode().strip().removeprefix("Subject: ") for part in data if isinstance(part, tuple))


def state(client, mailbox):
    """UID -> flags (without \\Recent), and UIDVALIDITY and UIDNEXT."""
    status, _ = client.select(mailbox, readonly=True)
    equal(status, "OK", f"SELECT {mailbox}")
    validity, following = client.response("UIDVALIDITY")[1], client.response("UIDNEXT")[1]
    _, data = client.uid("FETCH", "1:*", "(FLAGS)")
    flags = {}
    for line in data:
        if line:
            uid = int(line.split(b"UID ")[1].split(b" ")[0].rstrip(b")"))
            flags[uid] = sorted(flag.decode() for flag in imaplib.ParseFlags(line) if flag != b"\\Recent")
    return flags, validity, following
