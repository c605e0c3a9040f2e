"""Real mail through the real server: `carillon import` of maildirs and mboxes, also cut off and started again, and every message read back over IMAP, byte for
byte; ENVELOPE and BODYSTRUCTURE of all are compared with Python's email. tests/real_mail.rs runs it.

    CARILLON_BIN=target/debug/carillon round_trip.py DIRECTORY
"""

import collections
import contextlib
import email
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

import compare
import over_imap

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "clients"))
import harness  # noqa: E402
from harness import PASSWORD, check, equal  # noqa: E402

FIRST_DATE = 1_600_000_000
# The greater part is in INBOX, so that an import can be cut off in it.
FOLDERS = ["INBOX", "INBOX", "INBOX", "INBOX", "Lists", "Lists/2024", "Entwürfe"]
WIRE = {"INBOX": "", "Lists": ".Lists", "Lists/2024": ".Lists.2024", "Entwürfe": ".Entw&APw-rfe"}
FLAGS = ["", "S", "FS", "RS", "DT"]
LETTERS = {"S": r"\Seen", "F": r"\Flagged", "R": r"\Answered", "D": r"\Draft", "T": r"\Deleted"}
# In mbox these fields are flags.
STATUS = re.compile(rb"^(x-)?(status|keywords)[ \t]*:", re.I | re.M)

Message = collections.namedtuple("Message", "text date flags")


def crlf(text):
    """What the manual says of a lone LF."""
    return re.sub(rb"(?<!\r)\n", b"\r\n", text)


def on_disk(text, number):
    """With LF line ends, as mail lies in most maildirs; every fourth as it came."""
    plain = text.replace(b"\r\n", b"\n")
    return plain if number % 4 and crlf(plain) == text else text


def corpus(directory):
    messages = {}
    files = sorted(directory.glob("*.eml"))
    for number, path in enumerate(files):
        text = path.read_bytes()
        flags = "".join(sorted(FLAGS[number % len(FLAGS)]))
        messages.setdefault(FOLDERS[number % len(FOLDERS)], []).append((number, text, flags, FIRST_DATE + 61 * number))
    # Three of one kind are three messages, also when half of them were imported before.
    inbox = messages["INBOX"]
    middle = len(inbox) // 2
    inbox[middle:middle] = [inbox[middle]] * 2
    return messages


def write_maildir(root, messages):
    expected = {}
    for folder, entries in messages.items():
        for name in ["cur", "new", "tmp"]:
            (root / WIRE[folder] / name).mkdir(parents=True)
        for place, (number, text, flags, date) in enumerate(entries):
            path = root / WIRE[folder] / "cur" / f"{place:06}.M{number}.example:2,{flags}"
            path.write_bytes(on_disk(text, number))
            os.utime(path, (date, date))
            expected.setdefault(folder, []).append(Message(text, date, frozenset(LETTERS[letter] for letter in flags)))
    return expected


def write_mboxes(root, messages):
    """As mboxrd: every From_ line in the text gets one more >."""
    expected = {}
    root.mkdir()
    for folder, entries in messages.items():
        path = root / f"{folder.replace('/', '-')}.mbox"
        with open(path, "wb") as file:
            for number, text, _, date in entries:
                lines = on_disk(text, number)
                ending = b"" if lines.endswith(b"\n") else b"\n"
                file.write(f"From somebody@example.org {time.asctime(time.gmtime(date))}\n".encode())
                file.write(re.sub(rb"^(>*From )", rb">\1", lines, flags=re.M) + ending + b"\n")
                header = re.split(rb"\r?\n\r?\n", text, maxsplit=1)[0]
                flags = None if STATUS.search(header) else frozenset()
                expected.setdefault(folder.replace("/", "-"), []).append(Message(crlf(lines + ending), date, flags))
    return expected


def import_command(server, kind, path, user, **options):
    return subprocess.Popen([server.binary, "import", kind, path, user, "--data", server.data], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def imported(server, kind, path, user, code=0):
    """Runs an import to its end; how many messages were imported, there already, unreadable, and all that it said."""
    process = import_command(server, kind, path, user)
    output, errors = process.communicate(timeout=240)
    equal(process.returncode, code, f"exit code of import {kind}, which said {output}{errors}")
    numbers = re.search(r"(\d+) messages imported, (\d+) were there already, (\d+) could not be read", output)
    check(numbers, f"import {kind} said {output}")
    return *map(int, numbers.groups()), output


def cut_off(process, victim, is_far_enough):
    """kill -9 in the middle; whether it was in time."""
    end = time.monotonic() + 120
    while process.poll() is None and not is_far_enough():
        check(time.monotonic() < end, "the import does not get on")
        time.sleep(0.005)
    is_running = process.poll() is None
    victim.kill()
    victim.wait()
    process.wait(60)
    process.stdout.close()
    process.stderr.close()
    return is_running


def bytes_written(process):
    """So much an import has written; 0 where the system does not tell, and at its end."""
    with contextlib.suppress(OSError):
        return int(re.search(r"wchar: (\d+)", pathlib.Path(f"/proc/{process.pid}/io").read_text())[1])
    return 0


def seconds(text):
    date, zone = text.decode().rsplit(" ", 1)
    equal(zone, "+0000", "zone of INTERNALDATE")
    months = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
    day, month, rest = date.strip().split("-")
    year, clock = rest.split(" ")
    hour, minute, second = map(int, clock.split(":"))
    return time.struct_time((int(year), months.index(month) + 1, int(day), hour, minute, second, 0, 0, 0))


def read_back(server, user, expected):
    """Every message of the account, in order, byte for byte; how many."""
    client = over_imap.Imap(server.imap, user, PASSWORD)
    total = 0
    for folder, messages in expected.items():
        client.command(f'EXAMINE "{encoded(folder)}"')
        found = client.fetch("1:*", "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
        equal(len(found), len(messages), f"messages in {user}'s {folder}")
        for number, message in enumerate(messages, 1):
            values, what = found[number], f"message {number} of {user}'s {folder}"
            if b"\0" in message.text and same_but_base64(message.text, values["BODY[]"]):
                message = messages[number - 1] = message._replace(text=values["BODY[]"])
            if values["BODY[]"] != message.text:
                start = len(os.path.commonprefix([values["BODY[]"], message.text]))
                raise AssertionError(f"{what} is not as it was at byte {start}: {values['BODY[]'][start - 40:start + 40]!r}, but it was "
                                     f"{message.text[start - 40:start + 40]!r}")
            equal(int(values["RFC822.SIZE"]), len(message.text), f"RFC822.SIZE of {what}")
            equal(time.strftime("%F %T", seconds(values["INTERNALDATE"])), time.strftime("%F %T", time.gmtime(message.date)), f"INTERNALDATE of {what}")
            if message.flags is not None:
                equal(frozenset(values["FLAGS"]) - {r"\Recent"}, message.flags, f"flags of {what}")
        total += len(messages)
    return total


def same_but_base64(original, stored):
    """No string of IMAP may hold NUL: what has some is kept as base64 (RFC 3516 §4.4), and says the same."""
    def said(text):
        return [part.get_payload(decode=True) for part in email.message_from_bytes(text).walk() if not part.is_multipart()]
    return b"\0" not in stored and said(original) == said(stored)


def encoded(folder):
    return folder.replace("ü", "&APw-")


def compare_structures(server, user, expected):
    """ENVELOPE, BODYSTRUCTURE and every section of every message."""
    client = over_imap.Imap(server.imap, user, PASSWORD)
    different, tolerated, sections = [], collections.Counter(), 0
    for folder, messages in expected.items():
        client.command(f'EXAMINE "{encoded(folder)}"')
        found = client.fetch("1:*", "(ENVELOPE BODYSTRUCTURE)")
        structures = {number: over_imap.Structure(values["BODYSTRUCTURE"]) for number, values in found.items()}
        for number, message in enumerate(messages, 1):
            names = sorted({name for part in structures[number].all() for name in part.names()})
            sections += len(names)
            values = {}
            for start in range(0, len(names), 200):
                items = " ".join(f"BODY.PEEK[{name}]" for name in names[start : start + 200])
                values |= client.fetch(str(number), f"({items})")[number]
            try:
                structure = structures[number].placed(message.text, values, 0, len(message.text))
                summary = {"envelope": over_imap.envelope(found[number]["ENVELOPE"]), "structure": structure}
                comparison = compare.compare(message.text, summary)
                tolerated.update(comparison.tolerated)
                differences = comparison.differences
            except ValueError as error:
                differences = [str(error)]
            if differences:
                different.append(f"message {number} of {folder}, {message.text[:100]!r}:\n    " + "\n    ".join(differences[:5]))
    check(not different, f"{len(different)} messages are not what Python's email says:\n" + "\n".join(different[:20]))
    return sections, tolerated


def whole(server, maildir, expected):
    """A maildir with two files that are no messages: they are named, all else is there."""
    nothing, nowhere = maildir / "cur" / "nothing:2,", maildir / "cur" / "nowhere:2,"
    nothing.write_bytes(b"")
    nowhere.symlink_to("does-not-exist")
    count = sum(map(len, expected.values()))
    new, present, unread, output = imported(server, "maildir", maildir, "alice", code=65)
    equal((new, present, unread), (count, 0, 2), "first import of the maildir")
    check(str(nothing) in output and str(nowhere) in output, f"what could not be read is not named: {output}")
    nothing.unlink()
    nowhere.unlink()
    equal(imported(server, "maildir", maildir, "alice")[:3], (0, count, 0), "the same import once more")
    equal(read_back(server, "alice", expected), count, "messages read back")


def resumed(server, maildir, expected):
    """kill -9 of the command, then of the server, in the middle of an import."""
    goal, cuts = len(expected["INBOX"]), 0

    def has(count):
        def look():
            status = client.command("STATUS INBOX (MESSAGES)")[0]
            return int(status[3][1]) >= count
        return look

    for share in [0.2, 0.5]:
        client = over_imap.Imap(server.imap, "bob", PASSWORD)
        process = import_command(server, "maildir", maildir, "bob")
        cuts += cut_off(process, process, has(goal * share))
    client = over_imap.Imap(server.imap, "bob", PASSWORD)
    process = import_command(server, "maildir", maildir, "bob")
    cuts += cut_off(process, server.process, has(goal * 0.7))
    server.start()
    check(cuts >= 1, "no import was cut off: make the corpus larger")
    count = sum(map(len, expected.values()))
    new, present, unread, _ = imported(server, "maildir", maildir, "bob")
    check(new + present == count and unread == 0, f"of {count} messages {new} were imported and {present} there already")
    equal(read_back(server, "bob", expected), count, "messages read back")
    return cuts, present


def without_server(server, mboxes, expected):
    """mbox files straight into the store, cut off and resumed; once more through the server."""
    server.stop()
    goal = sum(path.stat().st_size for path in mboxes.iterdir()) // 5
    process = import_command(server, "mbox", mboxes, "carol")
    was_cut = cut_off(process, process, lambda: bytes_written(process) > goal)
    count = sum(map(len, expected.values()))
    new, present, unread, _ = imported(server, "mbox", mboxes, "carol")
    check(not was_cut or present < count, "the import was over before it was cut off")
    check(new + present == count and unread == 0, f"of {count} messages {new} were imported and {present} there already")
    server.start()
    equal(imported(server, "mbox", mboxes, "carol")[:3], (0, count, 0), "the same import through the server")
    equal(read_back(server, "carol", expected), count, "messages read back")
    return was_cut, present


def main():
    directory = pathlib.Path(sys.argv[1])
    messages = corpus(directory)
    begun = time.monotonic()
    done = lambda what: print(f"{time.monotonic() - begun:6.1f} s: {what}", flush=True)
    with tempfile.TemporaryDirectory(prefix="carillon-mail-") as folder, harness.server("alice", "bob", "carol") as server:
        maildir, mboxes = pathlib.Path(folder) / "maildir", pathlib.Path(folder) / "mboxes"
        in_maildir, in_mboxes = write_maildir(maildir, messages), write_mboxes(mboxes, messages)
        whole(server, maildir, in_maildir)
        done(f"{sum(map(len, in_maildir.values()))} messages of a maildir are there, byte for byte")
        sections, tolerated = compare_structures(server, "alice", in_maildir)
        done(f"ENVELOPE and BODYSTRUCTURE are as Python's email says, {sections} sections are where they should be")
        for reason, count in tolerated.most_common():
            print(f"         {count:6} tolerated: {reason}")
        cuts, present = resumed(server, maildir, in_maildir)
        done(f"maildir cut off {cuts} times by kill -9, with {present} messages there before the last start: nothing twice, nothing missing")
        was_cut, present = without_server(server, mboxes, in_mboxes)
        done(f"mbox without server, cut off: {was_cut}, with {present} messages there before the second start: nothing twice, nothing missing")
        server.stop()
        harness.run(server.binary, "log", "verify", "--data", str(server.data), seconds=240)
        done("log verify finds nothing")
        server.start()


if __name__ == "__main__":
    main()
