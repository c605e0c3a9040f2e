"""curl: list, upload, fetch, search, custom commands, over TLS with the CA."""

import harness
from harness import PASSWORD, USER, check, equal

harness.need("curl")


def curl(server, path, *options):
    command = ["curl", "--silent", "--show-error", "--max-time", "30", "--cacert", str(server.ca), "--user", f"{USER}:{PASSWORD}"]
    return harness.run(*command, *options, f"imaps://localhost:{server.imaps}/{path}")


with harness.server() as carillon:
    listing = curl(carillon, "")
    check(all(name in listing for name in ("INBOX", "Drafts", "Sent", "Trash")), f"LIST: {listing}")
    carillon.deliver("hello", "a body of some length")
    text = curl(carillon, "INBOX;MAILINDEX=1")
    check("Subject: hello" in text and "a body of some length" in text, f"FETCH: {text}")
    check("a body" in curl(carillon, "INBOX;UID=1;SECTION=TEXT"), "a section by UID")
    upload = carillon.folder / "upload.eml"
    upload.write_bytes(harness.message("uploaded", "by curl"))
    curl(carillon, "Archive", "--upload-file", str(upload))
    equal(harness.subjects(carillon.client(), "Archive"), ["uploaded"], "what was uploaded")
    check("SEARCH 1" in curl(carillon, "Archive?SUBJECT%20uploaded"), "SEARCH")
    curl(carillon, "Archive", "--request", "STORE 1 +FLAGS \\Deleted")
    curl(carillon, "Archive", "--request", "EXPUNGE")
    equal(harness.subjects(carillon.client(), "Archive"), [], "after EXPUNGE")
    equal(harness.subjects(carillon.client(), "INBOX"), ["hello"], "INBOX")
    refused = harness.subprocess.run(
        ["curl", "--silent", "--max-time", "30", "--user", f"{USER}:{PASSWORD}", f"imaps://localhost:{carillon.imaps}/"], capture_output=True)
    check(refused.returncode in (60, 35), f"without the CA curl must refuse the certificate, it ended with {refused.returncode}")
