"""mbsync: 500 messages both ways, flags, rename, delete; a second run changes nothing."""

import pathlib

import harness
from harness import PASSWORD, USER, check, equal

harness.need("mbsync")
COUNT = 500


def configuration(server, maildir):
    path = server.folder / "mbsyncrc"
    path.write_text(
        f"""IMAPAccount carillon
Host localhost
Port {server.imaps}
User {USER}
Pass "{PASSWORD}"
SSLType IMAPS
CertificateFile {server.ca}
SystemCertificates no

IMAPStore far
Account carillon

MaildirStore near
Path {maildir}/
Inbox {maildir}/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Remove Both
Expunge Both
SyncState *
""")
    return str(path)


def files(maildir, folder):
    root = pathlib.Path(maildir, folder)
    return sorted(path for part in ("cur", "new") for path in (root / part).iterdir())


def picture(maildir):
    """Every message's name and bytes."""
    names = (path for path in pathlib.Path(maildir).rglob("*") if path.is_file() and path.parent.name in ("cur", "new"))
    return {str(path): path.read_bytes() for path in names}


def fill(client):
    for number in range(COUNT):
        client.append("INBOX", "(\\Seen)" if number % 2 else None, None, harness.message(f"message {number}", f"text {number}\r\n" * (number % 50)))


def near_to_far(maildir, sync, server):
    inbox = files(maildir, "INBOX")
    equal(len(inbox), COUNT, "messages after the first run")
    equal(sum("S" in path.name.split(":2,")[-1] for path in inbox), COUNT // 2, "seen messages")
    flagged = inbox[0].with_name(inbox[0].name.split(":2,")[0] + ":2,FS")
    flagged.parent.parent.joinpath("cur", flagged.name).write_bytes(inbox[0].read_bytes())
    inbox[0].unlink()
    doomed = inbox[1]
    doomed.rename(doomed.parent.parent / "cur" / (doomed.name.split(":2,")[0] + ":2,ST"))
    new = pathlib.Path(maildir, "INBOX", "new", "1700000000.1.localhost")
    new.write_bytes(harness.message("written here").replace(b"\r\n", b"\n"))
    folder = pathlib.Path(maildir, "Made here")
    for part in ("cur", "new", "tmp"):
        (folder / part).mkdir(parents=True)
    (folder / "new" / "1700000001.1.localhost").write_bytes(harness.message("in a new folder").replace(b"\r\n", b"\n"))
    sync()
    client = server.client()
    flags, _, _ = harness.state(client, "INBOX")
    equal(len(flags), COUNT, "one deleted here, one made here")
    equal(sum("\\Flagged" in of_one for of_one in flags.values()), 1, "flagged there")
    check("written here" in harness.subjects(client, "INBOX"), "the new message is there")
    equal(harness.subjects(client, '"Made here"'), ["in a new folder"], "the new folder is there")
    return client


def far_to_near(maildir, sync, client):
    client.select("INBOX")
    # Messages that are there: which of them went away before depends on the order of mbsync's file names.
    uids = client.uid("SEARCH", "ALL")[1][0].decode().split()
    client.uid("STORE", ",".join(uids[10:20]), "+FLAGS", "(\\Flagged)")
    client.uid("STORE", ",".join(uids[20:30]), "+FLAGS", "(\\Deleted)")
    client.expunge()
    client.rename('"Made here"', "Renamed")
    client.append("INBOX", None, None, harness.message("written there"))
    sync()
    inbox = files(maildir, "INBOX")
    equal(len(inbox), COUNT - 10 + 1, "ten deleted there, one made there")
    there, _, _ = harness.state(client, "INBOX")
    flagged = sum("\\Flagged" in flags for flags in there.values())
    check(flagged >= 10, f"flagged there: {flagged}")
    equal(sum("F" in path.name.split(":2,")[-1] for path in inbox), flagged, "flagged here")
    equal(len(files(maildir, "Renamed")), 1, "the renamed folder")
    check(any(b"Subject: written there" in path.read_bytes() for path in inbox), "the new message is here")


with harness.server() as carillon:
    mails = carillon.folder / "maildir"
    mails.mkdir()
    config = configuration(carillon, mails)
    other = carillon.client()
    fill(other)

    def synchronise():
        return harness.run("mbsync", "--config", config, "--all")

    synchronise()
    other = near_to_far(mails, synchronise, carillon)
    far_to_near(mails, synchronise, other)
    before, there = picture(mails), harness.state(other, "INBOX")
    synchronise()
    equal(picture(mails) == before, True, "a second run changes nothing here")
    equal(harness.state(other, "INBOX"), there, "a second run changes nothing there")
    other.logout()
