"""npm imapflow: IDLE, rename, download; the work is done by imapflow_client.mjs."""

import os
import pathlib

import harness
from harness import PASSWORD, USER, check

harness.need("node")
modules = pathlib.Path(os.environ.get("CARILLON_CLIENTS", "target/clients")).resolve() / "node" / "node_modules"
if not (modules / "imapflow").exists():
    harness.skip("imapflow is not installed")

with harness.server() as carillon:
    carillon.deliver("first", "to be downloaded")
    script = pathlib.Path(__file__).with_suffix(".mjs")
    environment = {**os.environ, "IMAPFLOW": str(modules / "imapflow"), "PORT": str(carillon.imaps), "LMTP": str(carillon.lmtp),
                   "CA": str(carillon.ca), "MAIL_USER": USER, "MAIL_PASSWORD": PASSWORD}
    output = harness.run("node", str(script), env=environment, seconds=90)
    check(output.strip().endswith("all as expected"), f"imapflow: {output}")
