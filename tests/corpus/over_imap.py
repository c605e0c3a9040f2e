"""What FETCH says of a message, in the shape in which compare.py takes it."""

import re
import socket


class Imap:
    """A client that takes responses apart and interprets nothing."""

    def __init__(self, port, user, password):
        self.sock = socket.create_connection(("127.0.0.1", port), 60)
        self.file = self.sock.makefile("rb", 1 << 20)
        self.tags = 0
        self.response()
        self.command(f'LOGIN {user} "{password}"')

    def response(self):
        """One response as its tokens: atoms are str, strings bytes, lists list, NIL None."""
        pieces = []
        while True:
            line = self.file.readline()
            if not line.endswith(b"\r\n"):
                raise EOFError("the server closed the connection")
            literal = re.search(rb"~?\{(\d+)\}\r\n$", line)
            if not literal:
                pieces.append(line[:-2])
                return tokens(pieces)
            pieces += [line[: literal.start()], self.file.read(int(literal[1]))]

    def send(self, text):
        self.tags += 1
        self.sock.sendall(b"t%d " % self.tags + text.encode() + b"\r\n")
        return f"t{self.tags}"

    def until(self, tag):
        responses = []
        while True:
            response = self.response()
            if response[0] == tag:
                if response[1] != "OK":
                    raise RuntimeError(f"{response}")
                return responses
            responses.append(response)

    def command(self, text):
        return self.until(self.send(text))

    def fetch(self, sets, items):
        """Sequence number -> attribute -> value."""
        return fetched(self.command(f"FETCH {sets} {items}"))


def fetched(responses):
    found = {}
    for response in responses:
        if response[0] == "*" and response[2:3] == ["FETCH"]:
            names, values = response[3][::2], response[3][1::2]
            found.setdefault(int(response[1]), {}).update(zip(names, values))
    return found


# Of a section in brackets the name is one word: BODY[HEADER.FIELDS (DATE)]<0>.
TOKEN = re.compile(rb' *(?:(\()|(\))|"((?:[^"\\]|\\.)*)"|([^ ()"\[]+(?:\[[^\]]*\])?[^ ()"]*|\[[^ ]*))')


def tokens(pieces):
    stack = [[]]
    for number, piece in enumerate(pieces):
        if number % 2:
            stack[-1].append(piece)
            continue
        place = 0
        # The text of a status response is for people, and may hold any parenthesis.
        is_status = number == 0 and re.match(rb"\S+ (OK|NO|BAD|BYE|PREAUTH)\b", piece)
        if is_status or piece.startswith(b"+"):
            return [word.decode("utf-8", "replace") for word in piece.split(b" ", 2)]
        while place < len(piece):
            match = TOKEN.match(piece, place)
            if not match:
                if piece[place:].strip():
                    raise ValueError(f"no response: {piece[place:place + 80]!r}")
                break
            place = match.end()
            opened, closed, quoted, atom = match.groups()
            if opened:
                stack[-1].append([])
                stack.append(stack[-1][-1])
            elif closed:
                stack.pop()
            elif quoted is not None:
                stack[-1].append(re.sub(rb"\\(.)", rb"\1", quoted))
            else:
                stack[-1].append(None if atom.upper() == b"NIL" else atom.decode("latin-1"))
    if len(stack) != 1:
        raise ValueError("parentheses do not match")
    return stack[0]


def envelope(value):
    names = ["date", "subject", "from", "sender", "reply_to", "to", "cc", "bcc", "in_reply_to", "message_id"]
    if len(value) != len(names):
        raise ValueError(f"an ENVELOPE of {len(value)} fields")
    found = dict(zip(names, value))
    for name in ["from", "sender", "reply_to", "to", "cc", "bcc"]:
        found[name] = [dict(zip(["name", "route", "mailbox", "host"], address)) for address in found[name] or []]
    return found


def parameters(value):
    return [(name.decode("utf-8", "replace"), text) for name, text in zip(value[::2], value[1::2])] if value else []


def disposition(value):
    return value and (value[0].decode("latin-1"), parameters(value[1]))


class Structure:
    """A part of BODYSTRUCTURE with the names of its sections; once they are fetched, it knows where in the message it stands."""

    def __init__(self, value, section="", is_message=True):
        # The number of a leaf that is a whole message is 1 (RFC 9051 §6.4.5.1).
        self.section, self.is_message = section, is_message
        self.children, self.message = [], None
        inner = value[: next(number for number, part in enumerate(value) if not isinstance(part, list))]
        self.fields = {"lines": None}
        if inner:
            rest = value[len(inner):]
            prefix = f"{section}." if section else ""
            self.children = [Structure(part, f"{prefix}{number}", False) for number, part in enumerate(inner, 1)]
            extension, media = rest[1:], ("multipart", rest[0].decode("latin-1"))
            self.fields["parameters"] = parameters(extension[0])
        else:
            media = (value[0].decode("latin-1"), value[1].decode("latin-1"))
            self.leaf(value, media, section, is_message)
            extension = value[7 + (3 if self.message else 1 if media[0].lower() == "text" else 0):]
            self.fields["md5"] = extension[0]
        self.fields |= {"media_type": media[0], "subtype": media[1], "disposition": disposition(extension[1]), "location": extension[3]}

    def leaf(self, value, media, section, is_message):
        self.fields |= {"parameters": parameters(value[2]), "id": value[3], "description": value[4], "encoding": value[5].decode("latin-1"), "size": int(value[6])}
        if media[0].lower() == "text":
            self.fields["lines"] = int(value[7])
        elif (media[0].lower(), media[1].lower()) == ("message", "rfc822"):
            number = f"{section}.1".lstrip(".") if is_message else section
            self.message = (envelope(value[7]), Structure(value[8], number, True))
            self.fields["lines"] = int(value[9])

    def names(self):
        """The sections that hold the part's header and body."""
        if self.is_message:
            prefix = f"{self.section}." if self.section else ""
            return f"{prefix}HEADER", f"{prefix}TEXT"
        return f"{self.section}.MIME", self.section

    def all(self):
        yield self
        for child in self.children + ([self.message[1]] if self.message else []):
            yield from child.all()

    def placed(self, raw, sections, start, end):
        """The dictionary that compare.py takes; fails where a section is not in the message, at or behind `start`."""
        header, body = (sections[f"BODY[{name}]"] or b"" for name in self.names())
        at = raw.find(header + body, start, end)
        if at < 0:
            raise ValueError(f"BODY[{self.names()[0]}] and BODY[{self.names()[1]}] are not in the message one behind the other")
        found = dict(self.fields, header_start=at, body_start=at + len(header), body_end=at + len(header) + len(body), content="Leaf")
        found.setdefault("size", len(body))
        if self.children:
            parts, place = [], found["body_start"]
            for child in self.children:
                parts.append(child.placed(raw, sections, place, found["body_end"]))
                place = parts[-1]["body_end"]
            found["content"] = {"Multipart": parts}
        elif self.message:
            inner = self.message[1].placed(raw, sections, found["body_start"], found["body_end"])
            found["content"] = {"Message": (self.message[0], inner)}
        return found

