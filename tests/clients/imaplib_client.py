"""Python's imaplib: a whole round over TLS and over STARTTLS."""

import imaplib

import harness
from harness import PASSWORD, USER, check, equal


def starttls(server):
    client = imaplib.IMAP4("localhost", server.imap, timeout=30)
    client.starttls(ssl_context=server.tls())
    client.login(USER, PASSWORD)
    equal(client.select("INBOX")[0], "OK", "SELECT after STARTTLS")
    client.logout()


def wrong_password(server):
    client = imaplib.IMAP4_SSL("localhost", server.imaps, ssl_context=server.tls(), timeout=30)
    try:
        client.login(USER, "wrong")
    except imaplib.IMAP4.error as error:
        check("AUTHENTICATIONFAILED" in str(error), f"the refusal: {error}")
    else:
        raise AssertionError("a wrong password was accepted")
    client.shutdown()


def authenticate(server):
    client = imaplib.IMAP4_SSL("localhost", server.imaps, ssl_context=server.tls(), timeout=30)
    client.authenticate("PLAIN", lambda _: f"\0{USER}\0{PASSWORD}".encode())
    equal(client.state, "AUTH", "state after AUTHENTICATE")
    client.logout()


def round_trip(server):
    client = server.client()
    # imaplib keeps those from before the login until it is told to ask again.
    client._get_capabilities()
    check("IDLE" in client.capabilities and "UIDPLUS" in client.capabilities, f"capabilities: {client.capabilities}")
    equal(client.create("Work/2024")[0], "OK", "CREATE")
    equal(client.subscribe("Work/2024")[0], "OK", "SUBSCRIBE")
    body = harness.message("first", "line\r\n" * 1000)
    status, data = client.append("Work/2024", "(\\Flagged)", imaplib.Time2Internaldate(1_000_000_000), body)
    check(status == "OK" and b"APPENDUID" in data[0], f"APPEND: {data}")
    equal(client.select("Work/2024")[1], [b"1"], "EXISTS")
    status, data = client.uid("FETCH", "1", "(FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[])")
    equal(data[0][1], body, "the message's bytes")
    check(b"\\Flagged" in data[0][0] + data[1], f"flags: {data}")
    equal(client.search(None, "SUBJECT", "first")[1], [b"1"], "SEARCH")
    equal(client.sort("(REVERSE DATE)", "UTF-8", "ALL")[1], [b"1"], "SORT")
    equal(client.thread("REFERENCES", "UTF-8", "ALL")[1], [b"(1)"], "THREAD")
    equal(client.copy("1", "Archive")[0], "OK", "COPY")
    equal(client.uid("MOVE", "1", "Trash")[0], "OK", "MOVE")
    equal(client.uid("FETCH", "1", "(FLAGS)")[1], [None], "the moved message")
    equal(client.rename("Work", "Archive/Work")[0], "OK", "RENAME")
    names = b" ".join(client.lsub()[1])
    check(b"Archive/Work/2024" in names, f"LSUB after RENAME: {names}")
    equal(harness.subjects(client, "Archive"), ["first"], "what was copied")
    equal(harness.subjects(client, "Trash"), ["first"], "what was moved")
    client.select("Trash")
    client.store("1", "+FLAGS", "\\Deleted")
    equal(client.expunge()[1], [b"1"], "EXPUNGE")
    equal(client.namespace()[0], "OK", "NAMESPACE")
    equal(client.logout()[0], "BYE", "LOGOUT")


with harness.server() as carillon:
    starttls(carillon)
    wrong_password(carillon)
    authenticate(carillon)
    round_trip(carillon)
