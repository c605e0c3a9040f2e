"""Compares carillon's ENVELOPE and BODYSTRUCTURE with Python's email package, for every message of a directory.

    cargo build -p carillon-protocol --example structure
    compare.py DIRECTORY [--example target/debug/examples/structure] [--show N]

Exits with 1 if a difference is left that no rule below explains. Each rule is counted.
"""

import argparse
import collections
import email
import email.message
import email.policy
import email.utils
import json
import pathlib
import re
import subprocess
import sys


# Where carillon stops to take parts apart.
DEPTH = 64


class Tolerated(Exception):
    """A difference that is known, with its reason."""


def octets(text):
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text


def unfolded(value):
    """The rule of RFC 5322 §2.2.3, and NUL as ? because no IMAP string may hold it."""
    return octets(value).replace(b"\r", b"").replace(b"\n", b"").strip(b" \t\x0c").replace(b"\0", b"?")


def fields(message, name):
    return [value for field, value in message.raw_items() if field.lower() == name]


def first(message, name):
    values = fields(message, name)
    return unfolded(values[0]) if values else None


def ours(value):
    return None if value is None else bytes(value)


class Comparison:
    def __init__(self, raw):
        self.raw = raw
        self.differences = []
        self.tolerated = collections.Counter()
        # Where the multiparts round a part end.
        self.ends = set()

    def check(self, what, expected, found):
        if expected != found:
            self.differences.append(f"{what}: email says {expected!r}, carillon {found!r}")

    def tolerate(self, reason):
        self.tolerated[reason] += 1

    # ENVELOPE

    def field_with_blank(self, message, name):
        """Whether a name has a blank before its colon (RFC 5322 §4.5.3), which email does not know."""
        return re.search(rb"^" + name.encode() + rb"[ \t]+:", self.raw, re.I | re.M)

    def envelope(self, message, envelope, path):
        for name in ["date", "subject", "in-reply-to", "message-id"]:
            key = name.replace("-", "_")
            self.check(f"{path} {name}", first(message, name), ours(envelope[key]))
        lists = {name: self.addresses(message, name) for name in ["from", "sender", "reply-to", "to", "cc", "bcc"]}
        for name, expected in lists.items():
            found = [flat(address) for address in envelope[name.replace("-", "_")] if address["host"] is not None]
            field = name
            if name in ("sender", "reply-to") and not expected:
                expected, field = lists["from"], "from"
            if expected == found:
                continue
            if self.field_with_blank(message, field):
                self.tolerate("a blank before a field's colon")
                continue
            try:
                addresses_explained(b", ".join(unfolded(value) for value in fields(message, field)), expected, found)
                self.check(f"{path} {name}", expected, found)
            except Tolerated as reason:
                self.tolerate(str(reason))

    def addresses(self, message, name):
        values = [unfolded(value).decode("utf-8", "surrogateescape") for value in fields(message, name)]
        pairs = email.utils.getaddresses(values)
        return [(octets(name.strip()), octets(address)) for name, address in pairs if name or address]

    # SORT DATE

    def sent(self, message, digest):
        date = first(message, "date")
        parsed = email.utils.parsedate_tz(date.decode("utf-8", "surrogateescape")) if date else None
        try:
            expected = email.utils.mktime_tz(parsed) if parsed else None
        except (ValueError, OverflowError):
            expected = None
        found = digest["sent"] and digest["sent"]["unix_seconds"]
        if expected == found:
            return
        if expected is None or found is None:
            # Neither reads all that is written: words in other languages, "12:43 PM", months before days.
            self.tolerate("a date that only one of them reads")
        elif re.search(rb"[+-]([3-9]\d|2[5-9])\d\d|[+-]\d{3}$|\(.*\) [+-]\d{4}", date):
            self.tolerate("an impossible zone, or a comment before it")
        else:
            self.check("sent", expected, found)

    # BODYSTRUCTURE

    def part(self, message, part, path, default="text/plain"):
        header = self.raw[part["header_start"] : part["body_start"]]
        if any(defect in ("MissingHeaderBodySeparatorDefect", "FirstHeaderLineIsContinuationDefect") for defect in defects(message)):
            # email ends a header at the first line that is no field; RFC 5322 §2.1 only at the blank line, as other IMAP servers do.
            return self.tolerate("a line in the header that is no field")
        if not re.search(rb"(^|\n)\r?\n$", header) and header:
            # Without blank line all is header: email sometimes finds a body.
            self.tolerate("a header without end")
        if b"\r" in re.sub(rb"\r\n", b"", self.raw):
            # email takes a lone CR for a line end.
            return self.tolerate("lone CR in the message")
        self.fields(message, part, path)
        media = f"{part['media_type']}/{part['subtype']}".lower()
        expected = message.get_content_type()
        if message.get_content_maintype() == "multipart" and not message.is_multipart():
            # email keeps the type of a multipart whose boundary does not occur; carillon shows its text (RFC 2046 wants at least one part).
            if media == "text/plain":
                return self.tolerate("multipart without parts")
            value = message.get("content-type", "")
            # It misses one that is folded inside its quotes, or with rubbish behind them.
            if re.search(r'boundary="[^"]*(\n[^"]*"|"\s*[^;\s])', value, re.I):
                return self.tolerate("a boundary that email misses")
            return self.check(f"{path} type", "multipart without parts", media)
        if path.count(".") >= DEPTH:
            # What is nested deeper is opaque, by design.
            return self.tolerate("too deep")
        if media != expected:
            self.type_explained(message, media, expected, path)
        content = part["content"]
        if media.startswith("multipart/"):
            self.children(message, content, part["body_end"], path)
        elif media == "message/rfc822":
            inner_envelope, inner = content["Message"]
            nested = message.get_payload()
            if not isinstance(nested, list):
                return self.tolerate("message/rfc822 that email did not parse")
            self.envelope(nested[0], inner_envelope, f"{path}.msg")
            self.part(nested[0], inner, f"{path}.msg")
        elif not isinstance(message.get_payload(), list):
            self.leaf(message, part, path)
        else:
            # email takes all of message/* apart; BODYSTRUCTURE only message/rfc822 (RFC 9051 §7.5.2).
            self.tolerate("message/* other than rfc822")

    def type_explained(self, message, media, expected, path):
        value = first(message, "content-type") or b""
        if media == "text/plain" and not re.match(rb"\s*[!#$&'*+.^_`{|}~%0-9A-Za-z-]+\s*/\s*[!#$&'*+.^_`{|}~%0-9A-Za-z-]", value):
            # RFC 2045 §5.2: what is no type is text/plain.
            return self.tolerate("a Content-Type that is none")
        # email takes what follows the type up to the first ; with all characters; a token ends before (RFC 2045 §5.1).
        if re.sub(r"[^!-~].*|[()<>@,:\\\"\[\]?=].*", "", expected) == media:
            return self.tolerate("rubbish behind the subtype")
        self.check(f"{path} type", expected, media)

    def children(self, message, content, end, path):
        parts, expected = content["Multipart"], message.get_payload()
        self.ends.add(end)
        if re.search(rb"\n(--[^\r\n]+?)(--)?[ \t]*\r?\n\1(--)?[ \t]*\r?(\n|$)", self.raw):
            # email takes them for one; RFC 2046 §5.1.1 has an empty part between.
            return self.tolerate("two delimiters one after the other")
        if len(parts) != len(expected):
            return self.check(f"{path} number of parts", len(expected), len(parts))
        for number, (inner, part) in enumerate(zip(expected, parts), 1):
            self.part(inner, part, f"{path}.{number}")

    def leaf(self, message, part, path):
        # get_payload() would replace octets that are no ASCII.
        text = octets(message._payload or "")
        body = self.raw[part["body_start"] : part["body_end"]]
        self.check(f"{path} size of the octets", part["size"], len(body))
        if text != body and text == re.sub(rb"\r?\n$", b"", body) and part["body_end"] in self.ends:
            # email takes the last line end from a part that no delimiter ends; it belongs to the delimiter (RFC 2046 §5.1.1).
            self.tolerate("a multipart without its end")
        elif text != body:
            self.check(f"{path} octets", text[:200], body[:200])
        if part["media_type"].lower() == "text":
            self.check(f"{path} lines", body.count(b"\n"), part["lines"])

    def fields(self, message, part, path):
        # Of a multipart no client sees the encoding, for one.
        for key in {"id", "description", "md5", "location"} & part.keys():
            self.check(f"{path} {key}", first(message, f"content-{key}"), ours(part[key]))
        encoding = (first(message, "content-transfer-encoding") or b"7BIT").decode("latin-1")
        if "encoding" in part and encoding.strip().lower() != part["encoding"].lower():
            self.encoding_explained(encoding, part["encoding"], path)
        disposition = part["disposition"]
        expected = first(message, "content-disposition")
        if expected is not None or disposition:
            name = (expected or b"").split(b";")[0].strip().lower()
            found = disposition[0].lower().encode() if disposition else b""
            self.check(f"{path} disposition", name, found)
            self.parameters(expected or b"", disposition[1] if disposition else [], f"{path} disposition")
        value = first(message, "content-type")
        # Of what is no type there are no parameters either.
        if value and re.match(rb"[^;]*/", value) and message.get_content_type() == f"{part['media_type']}/{part['subtype']}".lower():
            self.parameters(value, part["parameters"], f"{path} type")

    def encoding_explained(self, expected, found, path):
        if expected.strip() == "" and found == "7BIT":
            return self.tolerate("an empty Content-Transfer-Encoding")
        # The value is one token (RFC 2045 §6.1).
        if re.match(r"\s*\"?" + re.escape(found) + r"([^!#-~]|[();,\"])", expected, re.I):
            return self.tolerate("rubbish behind the transfer encoding")
        self.check(f"{path} encoding", expected, found)

    def parameters(self, value, found, path):
        found = [(name.lower().encode("utf-8"), bytes(text)) for name, text in found]
        expected = []
        for piece in email.message._parseparam(";" + value.decode("utf-8", "surrogateescape"))[1:]:
            name, equals, text = piece.partition("=")
            if equals and name.strip():
                expected.append((octets(name.strip().lower()), octets(unquoted(text.strip()))))
        if expected == found:
            return
        if b"(" in value and [name for name, _ in expected] == [name for name, _ in found]:
            # email keeps comments (RFC 5322 §3.2.2) as part of the value.
            return self.tolerate("a comment in the parameters")
        if [pair for pair in expected if pair not in found] and value.count(b'"') % 2:
            return self.tolerate("a quoted string without end")
        self.check(f"{path} parameters", expected, found)


def flat(address):
    mailbox, host = bytes(address["mailbox"] or []), bytes(address["host"] or [])
    return bytes(address["name"] or []), mailbox + b"@" + host if host else mailbox


def unquoted(text):
    """As email.utils.unquote, but what stands behind the closing quote is dropped and every escape is undone."""
    match = re.match(r'"((?:[^"\\]|\\.)*)"', text, re.S)
    return re.sub(r"\\(.)", r"\1", match[1], flags=re.S) if match else text.lstrip('"')


def bare(address):
    """An address without quoting: ENVELOPE's mailbox is the local part with its quotes taken off (RFC 9051 §7.5.2)."""
    return re.sub(rb"\\(.)", rb"\1", address).replace(b'"', b"").replace(b" ", b"")


def addresses_explained(value, expected, found):
    """Raises if the difference is email's."""
    if [(name, bare(address)) for name, address in expected] == [(name, bare(address)) for name, address in found]:
        raise Tolerated("quotes in a local part")
    if b"@" in value and b"<@" in value.replace(b" ", b"") and len(found) < len(expected):
        # RFC 5322 §4.4: a source route may name several domains.
        raise Tolerated("a source route")
    is_split = lambda name, address: (b"", name) in expected and (b"", address) in expected
    if len(found) < len(expected) and all(pair in expected or is_split(*pair) for pair in found):
        # Some put the address where the display name belongs, without quotes.
        raise Tolerated("an address as display name")
    if re.search(rb"\\[^\"\\]", value):
        raise Tolerated("a backslash outside quotes")
    if re.search(rb"(^|[\s,])\[", value):
        # The placeholders of a template are no domain literals.
        raise Tolerated("brackets where no domain is")
    if re.search(rb">[^,;(]*@", value) and len(found) < len(expected) and all(address in [other for _, other in expected] for _, address in found):
        raise Tolerated("words behind an address in angle brackets")
    is_first_word = lambda left, right: b"@" not in right and right.split()[:1] == [left]
    if len(expected) == len(found) and all(left == right or is_first_word(left[1], right[1]) for left, right in zip(expected, found)):
        # email keeps the first word and drops the rest.
        raise Tolerated("no address but several words")
    without_comments = re.compile(rb"\s*\([^()]*\)")
    if b"(" in value and [bare(address) for _, address in expected] == [bare(address) for _, address in found]:
        names = [(without_comments.sub(b"", left).strip(), right) for (left, _), (right, _) in zip(expected, found)]
        if all(left in (right, b"") or left.replace(b" ", b"") == right.replace(b" ", b"") for left, right in names):
            raise Tolerated("comments beside a display name")
    squeezed = [re.sub(rb"\s+", b"", name) for name, _ in expected] == [re.sub(rb"\s+", b"", name) for name, _ in found]
    if squeezed and [bare(address) for _, address in expected] == [bare(address) for _, address in found]:
        raise Tolerated("blanks in a display name")


def defects(message):
    return {type(defect).__name__ for defect in message.defects}


def compare(raw, summary):
    """Without a glance (which no client sees) the date is left out."""
    comparison = Comparison(raw)
    message = email.message_from_bytes(raw, policy=email.policy.compat32)
    if defects(message) & {"MissingHeaderBodySeparatorDefect", "FirstHeaderLineIsContinuationDefect"}:
        comparison.tolerate("a line in the header that is no field")
        return comparison
    comparison.envelope(message, summary["envelope"], "message")
    comparison.part(message, summary["structure"], "message")
    if "glance" in summary:
        comparison.sent(message, summary["glance"]["digest"])
    return comparison


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("directory", type=pathlib.Path)
    arguments.add_argument("--example", default="target/debug/examples/structure")
    arguments.add_argument("--show", type=int, default=20)
    options = arguments.parse_args()
    files = sorted(str(path) for path in options.directory.iterdir() if path.is_file())
    run = subprocess.run([options.example], input="\n".join(files).encode(), stdout=subprocess.PIPE, check=True)
    lines = [json.loads(line) for line in run.stdout.splitlines()]
    if len(lines) != len(files):
        sys.exit(f"{len(files)} messages, but {len(lines)} structures")
    tolerated, different, parts = collections.Counter(), 0, 0
    for line in lines:
        comparison = compare(pathlib.Path(line["file"]).read_bytes(), line["summary"])
        tolerated.update(comparison.tolerated)
        if comparison.differences:
            different += 1
            if different <= options.show:
                print(line["file"])
                print("".join(f"    {difference}\n" for difference in comparison.differences[:5]), end="")
    for reason, count in tolerated.most_common():
        print(f"{count:6} tolerated: {reason}")
    print(f"{len(files):6} messages compared, {different} different")
    sys.exit(1 if different or not files else 0)


if __name__ == "__main__":
    main()
