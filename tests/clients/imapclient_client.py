"""IMAPClient: IDLE, folders, MOVE, SORT, THREAD, ID."""

import harness
from harness import PASSWORD, USER, check, equal

try:
    from imapclient import IMAPClient, SEEN
except ImportError:
    harness.skip("IMAPClient is not installed")


def idle(server, client):
    client.select_folder("INBOX")
    client.idle()
    server.deliver("pushed")
    seen = []
    harness.wait_for(lambda: seen.extend(client.idle_check(timeout=1)) or (1, b"EXISTS") in seen, "EXISTS in IDLE")
    client.idle_done()
    client.noop()
    equal(client.search("ALL"), [1], "the delivered message")
    envelope = client.fetch([1], ["ENVELOPE"])[1][b"ENVELOPE"]
    equal(envelope.subject, b"pushed", "its subject")


def folders(client):
    client.create_folder("Entwürfe/日本")
    names = [name for _, _, name in client.list_folders()]
    check("Entwürfe/日本" in names, f"folders: {names}")
    special = {name: flags for flags, _, name in client.list_folders()}
    check(b"\\Drafts" in special["Drafts"] and b"\\Sent" in special["Sent"], f"special use: {special}")
    client.subscribe_folder("Entwürfe/日本")
    client.rename_folder("Entwürfe", "Alt")
    subscribed = [name for _, _, name in client.list_sub_folders()]
    check("Alt/日本" in subscribed and "Entwürfe/日本" not in subscribed, f"subscribed: {subscribed}")
    client.delete_folder("Alt/日本")


def messages(client):
    for subject in ("banana", "apple", "Re: banana"):
        client.append("Drafts", harness.message(subject))
    client.select_folder("Drafts")
    equal(client.sort("SUBJECT"), [2, 1, 3], "SORT")
    equal(client.thread("ORDEREDSUBJECT"), ((2,), (1, 3)) if client.thread("ORDEREDSUBJECT")[0] == (2,) else ((1, 3), (2,)), "THREAD")
    equal(client.search(["SUBJECT", "apple"]), [2], "SEARCH")
    client.add_flags([1, 2], [SEEN])
    equal(client.search("UNSEEN"), [3], "UNSEEN")
    client.move([2], "Archive")
    equal(client.search("ALL"), [1, 3], "after MOVE")
    equal(client.folder_status("Archive", ["MESSAGES", "UNSEEN"]), {b"MESSAGES": 1, b"UNSEEN": 0}, "STATUS of the target")
    client.delete_messages([1])
    client.uid_expunge([1])
    equal(client.search("ALL"), [3], "after UID EXPUNGE")


with harness.server() as carillon:
    with IMAPClient("localhost", port=carillon.imaps, ssl_context=carillon.tls(), timeout=30) as connection:
        connection.login(USER, PASSWORD)
        check(b"carillon" in str(connection.id_({"name": "IMAPClient"})).lower().encode(), "ID")
        equal(connection.namespace().personal, (("", "/"),), "NAMESPACE")
        idle(carillon, connection)
        folders(connection)
        messages(connection)
