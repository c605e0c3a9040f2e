"""Starts and stops the two servers, each with an empty store on the same disk."""

import os
import pathlib
import shutil
import socket
import subprocess
import time

PASSWORD = "measure"


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def wait_for(port, process, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError("the server does not answer")


def memory_kib(pids):
    """Proportional set size of processes, in KiB."""
    total = 0
    for pid in pids:
        try:
            for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total


class Carillon:
    name = "carillon"

    def __init__(self, binary, directory):
        self.directory = pathlib.Path(directory) / "carillon"
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.binary = binary
        for user in self.users():
            command = [binary, "user", "add", "--data", self.directory, "--password-stdin", user]
            subprocess.run(command, input=PASSWORD.encode() + b"\n", check=True, stdout=subprocess.DEVNULL)
        self.start()

    @staticmethod
    def users():
        return ["user"]

    def start(self):
        self.port, self.tls_port = free_port(), free_port()
        command = [self.binary, "serve", "--data", self.directory, "--imap", f"127.0.0.1:{self.port}"]
        command += ["--imaps", f"127.0.0.1:{self.tls_port}"]
        self.log = open(self.directory.parent / "carillon.log", "ab")
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        wait_for(self.port, self.process)

    def pids(self):
        return [self.process.pid]

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


class Dovecot:
    name = "dovecot"

    def __init__(self, directory, storage="maildir"):
        self.directory = pathlib.Path(directory) / f"dovecot-{storage}"
        shutil.rmtree(self.directory, ignore_errors=True)
        (self.directory / "mail").mkdir(parents=True)
        self.storage = storage
        self.start()

    def start(self):
        self.port, self.tls_port = free_port(), free_port()
        location = {"maildir": "maildir:~/Maildir", "mdbox": "mdbox:~/mdbox"}[self.storage]
        base = self.directory
        cert, key = base / "cert.pem", base / "key.pem"
        if not cert.exists():
            command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
            command += ["-keyout", key, "-out", cert, "-days", "30", "-subj", "/CN=localhost"]
            subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        (base / "users").write_text(f"user:{{PLAIN}}{PASSWORD}:65534:65534::{base}/mail/user::\n")
        os.system(f"chown -R 65534:65534 {base}/mail && chmod 755 {base}")
        (base / "dovecot.conf").write_text(
            f"""
protocols = imap
listen = 127.0.0.1
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log
ssl = yes
ssl_cert = <{cert}
ssl_key = <{key}
disable_plaintext_auth = no
mail_location = {location}
first_valid_uid = 1000
default_process_limit = 3000
default_client_limit = 10000
mail_max_userip_connections = 5000
passdb {{
  driver = passwd-file
  args = {base}/users
}}
userdb {{
  driver = passwd-file
  args = {base}/users
}}
service imap-login {{
  process_min_avail = 1
  service_count = 0
  inet_listener imap {{
    port = {self.port}
  }}
  inet_listener imaps {{
    port = {self.tls_port}
  }}
}}
service imap {{
  process_limit = 3000
}}
service anvil {{
  client_limit = 20000
}}
namespace inbox {{
  inbox = yes
  separator = /
}}
"""
        )
        self.process = subprocess.Popen(["dovecot", "-F", "-c", base / "dovecot.conf"])
        wait_for(self.port, self.process)

    def pids(self):
        """The master and all its descendants."""
        children = {}
        for entry in pathlib.Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                    children.setdefault(int(fields[1]), []).append(int(entry.name))
                except (FileNotFoundError, ProcessLookupError, IndexError):
                    pass
        found, queue = [], [self.process.pid]
        while queue:
            pid = queue.pop()
            found.append(pid)
            queue += children.get(pid, [])
        return found

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
