"""neomutt in tmux: mail that arrives while it idles appears on the screen."""

import os
import shlex
import subprocess

import harness
from harness import PASSWORD, USER, check

harness.need("neomutt", "tmux")


class Screen:
    """neomutt in a tmux of its own."""

    def __init__(self, server, command):
        self.socket = str(server.folder / "tmux")
        environment = {**os.environ, "HOME": str(server.folder), "TERM": "xterm", "LC_ALL": "C.UTF-8"}
        subprocess.run(["tmux", "-f", "/dev/null", "-S", self.socket, "new-session", "-d", "-x", "150", "-y", "40", command], check=True, env=environment)

    def tmux(self, *words):
        return subprocess.run(["tmux", "-S", self.socket, *words], capture_output=True, text=True).stdout

    def text(self):
        return self.tmux("capture-pane", "-p")

    def shows(self, what, seconds=20):
        try:
            harness.wait_for(lambda: what in self.text(), f"`{what}` on the screen", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text()}") from None

    def keys(self, *keys):
        self.tmux("send-keys", *keys)


with harness.server() as carillon:
    carillon.deliver("the old one")
    config = carillon.folder / "neomuttrc"
    config.write_text(
        f"""set folder = "imaps://localhost:{carillon.imaps}/"
set spoolfile = "+INBOX"
set imap_user = "{USER}"
set imap_pass = "{PASSWORD}"
set imap_idle = yes
set imap_keepalive = 30
set ssl_ca_certificates_file = "{carillon.ca}"
set ssl_force_tls = yes
set certificate_file = "{carillon.folder}/accepted"
set header_cache = ""
set record = ""
set mail_check = 1
set timeout = 1
set confirmappend = no
set delete = yes
set quit = yes
""")
    screen = Screen(carillon, f"neomutt -n -F {shlex.quote(str(config))}")
    try:
        screen.shows("the old one")
        check("pushed by IDLE" not in screen.text(), "nothing is there before it was sent")
        carillon.deliver("pushed by IDLE")
        screen.shows("pushed by IDLE")
        screen.keys("Enter")
        screen.shows("Subject:")
        screen.keys("i")
        screen.keys("d")
        screen.keys("$")
        client = carillon.client()
        harness.wait_for(lambda: len(harness.subjects(client, "INBOX")) == 1, "the message that neomutt deleted is gone")
        screen.keys("q")
    finally:
        screen.tmux("kill-server")
