"""offlineimap3: to a Maildir and back; a second run changes nothing."""

import pathlib

import harness
from harness import PASSWORD, USER, check, equal

harness.need("offlineimap")


def configuration(server, maildir):
    path = server.folder / "offlineimaprc"
    path.write_text(
        f"""[general]
accounts = test
metadata = {server.folder}/offlineimap
maxsyncaccounts = 1
ui = quiet

[Account test]
localrepository = near
remoterepository = far

[Repository near]
type = Maildir
localfolders = {maildir}

[Repository far]
type = IMAP
remotehost = localhost
remoteport = {server.imaps}
remoteuser = {USER}
remotepass = {PASSWORD}
ssl = yes
sslcacertfile = {server.ca}
maxconnections = 2
""")
    return str(path)


def files(folder):
    return sorted(path for part in ("cur", "new") for path in (folder / part).iterdir())


with harness.server() as carillon:
    mails = pathlib.Path(carillon.folder, "maildir")
    config = configuration(carillon, mails)
    client = carillon.client()
    for number in range(60):
        client.append("INBOX", "(\\Seen)" if number % 2 else None, None, harness.message(f"message {number}"))
    client.create("Lists/rust")
    client.append("Lists/rust", None, None, harness.message("in a folder"))

    def synchronise():
        harness.run("offlineimap", "-o", "-c", config)

    synchronise()
    inbox = files(mails / "INBOX")
    equal(len(inbox), 60, "messages after the first run")
    equal(sum("S" in path.name.split(":2,")[-1] for path in inbox), 30, "seen messages")
    equal(len(files(mails / "Lists.rust")) if (mails / "Lists.rust").exists() else len(files(mails / "Lists" / "rust")), 1, "the folder")
    inbox[0].rename(mails / "INBOX" / "cur" / (inbox[0].name.split(":2,")[0] + ":2,FS"))
    inbox[1].unlink()
    (mails / "INBOX" / "new" / "1700000000_0.1.localhost").write_bytes(harness.message("written here").replace(b"\r\n", b"\n"))
    synchronise()
    flags, _, _ = harness.state(client, "INBOX")
    equal(len(flags), 60, "one deleted here, one made here")
    equal(sum("\\Flagged" in of_one for of_one in flags.values()), 1, "flagged there")
    check("written here" in harness.subjects(client, "INBOX"), "the new message is there")
    before = harness.state(client, "INBOX"), sorted(path.name for path in files(mails / "INBOX"))
    synchronise()
    equal((harness.state(client, "INBOX"), sorted(path.name for path in files(mails / "INBOX"))), before, "a second run changes nothing")
    client.logout()
