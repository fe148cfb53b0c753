#!/usr/bin/python3
"""A complete client of the feed in one file, with Python's standard library only: prints changes, or keeps them in a file.

  consume.py 127.0.0.1:7433                       what is new; comes back after every break
  consume.py 127.0.0.1:7433 --name billing        the feed remembers the place: what was printed is acknowledged
  consume.py 127.0.0.1:7433 --file copy.ndjson --from snapshot
                                                  all documents, then changes, into a file; started again, it goes on behind its last line
"""

import argparse
import json
import os
import random
import socket
import ssl
import sys
import time

HEARTBEAT = 15  # seconds
PRINTED = ("change", "gap", "snapshot_begin", "document", "snapshot_end")
# The key that says where to go on after a line of this type.
PLACE = {"hello": "start", "gap": "resume", "change": "cursor", "snapshot_end": "cursor", "live": "cursor", "heartbeat": "cursor"}


def place_after(line):
    """What the next hello says to get what follows this line; None: the line tells nothing about that."""
    if line["type"] in ("snapshot_begin", "document"):
        return {"from": "snapshot", "snapshot": line["snapshot"], "number": line.get("number", -1) + 1}
    start = line.get(PLACE.get(line["type"]))
    return {"from": start} if start else None


class Client:
    def __init__(self, options):
        self.options = options
        host, _, port = options.address.rpartition(":")
        self.address = host.strip("[]"), int(port)
        self.place = {"from": options.start} if options.start else {}
        self.pause = 0.5
        self.output = sys.stdout.buffer
        if options.file:
            self.output = open(options.file, "ab+")
            self.find_place()

    def find_place(self):
        """The file's last line says where to go on; one that was not written to its end is cut off."""
        self.output.seek(0)
        whole = 0
        for text in self.output:
            if text.endswith(b"\n"):
                whole += len(text)
                self.place = place_after(json.loads(text))
        self.output.truncate(whole)

    def run(self):
        while True:
            self.answered = False
            self.wait = random.uniform(self.pause / 2, self.pause)
            self.pause = min(self.pause * 2, 30)
            reason = "the feed closed the connection"
            try:
                with self.connect() as feed:
                    self.follow(feed)
            except (OSError, ValueError) as error:
                reason = error
            print(f"{reason}; once more in {self.wait:.1f} s", file=sys.stderr)
            time.sleep(self.wait)

    def connect(self):
        feed = socket.create_connection(self.address, timeout=10)
        if self.options.tls_ca:
            trusted = ssl.create_default_context(cafile=self.options.tls_ca)
            if self.options.tls_certificate:
                trusted.load_cert_chain(self.options.tls_certificate, self.options.tls_key)
            feed = trusted.wrap_socket(feed, server_hostname=self.address[0])
        feed.settimeout(2.5 * HEARTBEAT)
        return feed

    def follow(self, feed):
        self.request = os.urandom(4).hex()
        hello = {"type": "hello", "version": 1, "request": self.request, "heartbeat": HEARTBEAT, "on_gap": "continue", **self.place}
        if self.options.token_file:
            with open(self.options.token_file, encoding="utf-8") as file:
                hello["token"] = file.readline().strip()
        hello.update({key: value for key in ("name", "collections") if (value := getattr(self.options, key))})
        feed.sendall(json.dumps(hello).encode() + b"\n")
        acknowledged, rest = self.place, b""
        while data := feed.recv(1 << 18):
            *lines, rest = (rest + data).split(b"\n")
            for text in lines:
                self.take(json.loads(text), text)
            self.flush()
            if self.options.name and self.answered and self.place != acknowledged and self.place["from"] != "snapshot":
                feed.sendall(json.dumps({"type": "ack", "cursor": self.place["from"]}).encode() + b"\n")
                acknowledged = self.place

    def take(self, line, text):
        kind = line["type"]
        if kind == "error":
            if line["fatal"] and not line["retry"]:
                sys.exit(f"{line['code']}: {line['message']}")  # would only be refused again
            print(f"{line['code']}: {line['message']}", file=sys.stderr)
        if kind == "bye":
            self.wait = line["retry_ms"] / 1000
            if line["code"] == "rights_changed" and self.place.get("from") == "snapshot":
                self.place = {"from": "snapshot"}  # what may be read now may have passed already
        if kind == "hello" and line.get("request") == self.request:
            self.answered, self.pause = True, 0.5
        if not self.answered:
            return  # of the stream that began before the hello was heard
        resumed = kind == "snapshot_begin" and line["snapshot"] == self.place.get("snapshot")
        if kind == "snapshot_begin" and not resumed and self.options.file:
            self.output.truncate(0)  # what there is belongs to a snapshot that is gone
        if kind in PRINTED and not resumed:
            self.output.write(text + b"\n")
        if not resumed:
            self.place = place_after(line) or self.place

    def flush(self):
        try:
            self.output.flush()
        except BrokenPipeError:
            os._exit(0)  # nobody reads any more


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", nargs="?", default="127.0.0.1:7433", help="host:port of the feed")
    parser.add_argument("--from", dest="start", help="latest, earliest, snapshot or a cursor; what a file knows comes first; by default where the name stands, else latest")
    parser.add_argument("--collection", dest="collections", action="append", help="only this one; may be given again")
    parser.add_argument("--name", help="of a consumer whose place the feed keeps")
    parser.add_argument("--file", help="append here, and go on behind its last line")
    parser.add_argument("--token-file", help="its first line is the token")
    parser.add_argument("--tls-ca", help="connect with TLS; PEM file of who may vouch for the feed")
    parser.add_argument("--tls-certificate", help="PEM file of this client's certificate, where the feed asks for one")
    parser.add_argument("--tls-key", help="PEM file of its key")
    Client(parser.parse_args()).run()
