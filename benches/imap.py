"""A small IMAP client for measuring: one socket, no threads, no interpretation."""

import socket
import ssl


class Imap:
    def __init__(self, port, user, password, tls=False):
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            self.sock = context.wrap_socket(self.sock)
        self.buffer = b""
        self.tags = 0
        self.line()
        self.command(f'LOGIN {user} "{password}"')

    def fill(self):
        data = self.sock.recv(1 << 18)
        if not data:
            raise EOFError("the server closed the connection")
        self.buffer += data

    def line(self):
        while b"\r\n" not in self.buffer:
            self.fill()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def send(self, data):
        self.sock.sendall(data)

    def command(self, text, literal=None):
        """Sends a command; returns the bytes of its answer. Fails on anything but OK."""
        self.tags += 1
        tag = b"t%d" % self.tags
        data = tag + b" " + text.encode()
        if literal is not None:
            data += b" {%d+}\r\n" % len(literal) + literal
        self.send(data + b"\r\n")
        return self.until(tag)

    def until(self, tag):
        """Reads up to the tagged reply without looking into what comes before it."""
        chunks = []
        end = b"\r\n" + tag + b" "
        tail = b"\r\n" + self.buffer
        self.buffer = b""
        while True:
            at = tail.find(end)
            if at >= 0 and tail.find(b"\r\n", at + len(end)) >= 0:
                stop = tail.find(b"\r\n", at + len(end))
                chunks.append(tail[:at])
                status = tail[at + len(end) : stop]
                self.buffer = tail[stop + 2 :]
                if not status.startswith(b"OK"):
                    raise RuntimeError(status.decode(errors="replace"))
                return b"".join(chunks)
            if len(tail) > 4096:
                chunks.append(tail[:-4096])
                tail = tail[-4096:]
            data = self.sock.recv(1 << 18)
            if not data:
                raise EOFError("the server closed the connection")
            tail += data

    def idle(self):
        self.tags += 1
        self.send(b"t%d IDLE\r\n" % self.tags)
        while not self.line().startswith(b"+"):
            pass

    def close(self):
        self.sock.close()


def message(number, size=4096):
    head = (
        f"From: Sender {number % 50} <sender{number % 50}@example.org>\r\nTo: Reader <reader@example.org>\r\n"
        f"Subject: Message {number} of a measurement\r\nDate: Mon, 5 Jan 2026 10:{number // 60 % 60:02}:{number % 60:02} +0000\r\n"
        f"Message-ID: <{number}@measure.example.org>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: multipart/alternative; boundary=\"b\"\r\n\r\n"
        "--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    )
    tail = "\r\n--b\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>The same.</p>\r\n--b--\r\n"
    line = f"This is line number {number} of a message that says nothing at all.\r\n"
    body = line * ((size - len(head) - len(tail)) // len(line) + 1)
    return (head + body + tail).encode()
