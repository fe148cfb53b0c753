"""Slow and hostile consumers: each costs little, is shed with the right word, and nobody else notices. Rows F of the table of faults."""

import contextlib
import json
import os
import resource
import socket
import subprocess
import threading
import time
import unittest

import certificate
from case import Case
from consumer import Consumer
from peer import Peer, hello
from waiting import wait_until

os.environ.setdefault("ASAN_OPTIONS", "quarantine_size_mb=8")  # what is freed does not count as held
PATIENT = 30  # seconds between heartbeats: the good consumer comes back for nothing but a real end
CROWD = 1000
FLAT = 64 << 20  # bytes for all of CROWD together, when each could have been queued as much
BULK = (20, 1000, 1000)  # transactions, rows, bytes
DESCRIPTORS = 256
SECONDS_OF_PROCESSOR = 0.5  # a second: more is a loop that turns
GHOSTS = """
import socket, sys
ghosts = []
for name in ('"name":"ghost",', ""):
    ghosts.append(socket.create_connection((sys.argv[1], int(sys.argv[2]))))
    ghosts[-1].sendall(b'{"type":"hello","version":1,%s"heartbeat":1}\\n' % name.encode())
    said = b""
    while b'"live"' not in said:
        said += ghosts[-1].recv(65536)
print("live", flush=True)
sys.stdin.read()
"""


def processor_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Hostile(Case):
    def begin(self, prefix=(), tls=False, **settings):
        self.server = self.rig()
        files = certificate.make(self.server.folder) if tls else None
        self.sidecar = self.server.sidecar(**{"feed.tls": files} if tls else {}, **settings)
        self.sidecar.start(prefix)
        self.sidecar.wait_ready()
        self.server.wait_slot(self.sidecar.slot)
        self.good = self.server.stops(Consumer(self.sidecar.feed, heartbeat=PATIENT, tls=certificate.trust(files) if tls else None).start())
        self.commit(self.server, "before")
        self.wait_good("before-10")

    def wait_good(self, id):
        wait_until(lambda: self.good.has(id), f"{id} at the good consumer", context=self.sidecar.log_tail)

    def assert_unaffected(self, name="after"):
        self.commit(self.server, name)
        self.wait_good(f"{name}-10")
        self.assertEqual(self.good.connections, 1)
        self.assertTrue(self.sidecar.running(), self.sidecar.log_tail())
        self.assertEqual(self.sidecar.sanitizer_reports(), [])

    def peers(self, count, said=b"", **options):
        return [self.enterContext(Peer(self.sidecar.feed, said, **options)) for _ in range(count)]

    def wait_alone(self):
        self.wait_consumers(1)

    def wait_consumers(self, count):
        wait_until(lambda: self.sidecar.metrics()["syncflow_consumers"] == count, f"{count} consumers to be left",
                   context=self.sidecar.log_tail)

    # ---- those that take nothing ----

    def test_F1_thousand_that_never_read(self):
        self.begin(**{"feed.tail_memory": "8MiB"})
        never = self.peers(CROWD, hello(start="earliest"), buffer=4096)
        self.wait_consumers(CROWD + 1)
        before = greatest = self.sidecar.memory()["VmRSS"]
        transactions, rows, size = BULK
        for number in range(transactions):
            self.commit(self.server, f"bulk{number}", rows=rows, size=size)
            greatest = max(greatest, self.sidecar.memory()["VmRSS"])
        self.wait_good(f"bulk{transactions - 1}-{rows}")
        greatest = max(greatest, self.sidecar.memory()["VmRSS"])
        self.assertLess(greatest - before, FLAT)
        self.assert_unaffected()
        self.assertEqual(self.sidecar.metrics()["syncflow_consumers"], CROWD + 1, "never dropped for slowness")
        for peer in never:
            peer.close()
        self.wait_alone()

    def test_F16_stopped_during_catch_up(self):
        """Whole lines, then a bye that names the last; who does not read is not waited for."""
        self.begin()
        self.commit(self.server, "bulk", rows=5000, size=2000)
        self.wait_good("bulk-5000")
        slow = self.peers(5, hello(start="earliest"), buffer=8192)
        for peer in slow:
            peer.until("change")
        self.peers(20, hello(start="earliest"), buffer=4096)
        readers = [threading.Thread(target=self.take_all, args=(peer,)) for peer in slow]
        self.ends = []
        for reader in readers:
            reader.start()
        self.assertEqual(self.sidecar.terminate(), 0)
        for reader in readers:
            reader.join()
        self.assertEqual(len(self.ends), len(slow))
        for before, last, nothing in self.ends:
            self.assertEqual(nothing, b"", "the last line is whole")
            bye = json.loads(last)
            self.assertEqual((bye["type"], bye["code"]), ("bye", "shutdown"))
            self.assertEqual(bye["cursor"], json.loads(before)["cursor"])

    def take_all(self, peer):
        """Without reading a word of it: the sidecar does not wait for ever."""
        said = bytearray(peer.rest)
        while chunk := peer.socket.recv(1 << 20):
            said += chunk
        self.ends.append(bytes(said[-20_000:]).split(b"\n")[-3:])

    def test_F17_thundering_herd(self):
        """Told to stay away for times of their own, and then all at once: everybody gets everything."""
        self.begin()
        herd = self.peers(300, hello(start="latest"))
        for peer in herd:
            peer.until("live")
        self.commit(self.server, "bulk", rows=1000, size=500)
        cursor = [herd[0].until("change") for _ in range(1000)][-1]["cursor"]
        self.wait_good("bulk-1000")
        self.assertEqual(self.sidecar.terminate(), 0)
        pauses = [peer.until_end()[-1]["retry_ms"] for peer in herd]
        self.assertGreater(len(set(pauses)), len(herd) // 3)
        self.assertTrue(all(500 <= pause <= 2500 for pause in pauses))
        self.sidecar.start_ready()
        first = self.good.deliveries[0].cursor
        again = self.peers(len(herd), hello(start=first))
        for peer in again:
            while peer.until("change")["cursor"] != cursor:
                pass

    # ---- those that come and say nothing that ends ----

    def test_F4_many_that_vanish(self):
        """At every moment of a connection's life, with and without a reset."""
        self.begin()
        for said in (b"", b"{", hello(start="earliest"), hello(start="earliest", collections=["todos"]), hello(start="snapshot"),
                     hello(name="vanishing"), hello(start="earliest") + b'{"type":"pi'):
            for number, peer in enumerate(self.peers(50, said)):
                (peer.reset if number % 2 else peer.close)()
        self.assert_unaffected()
        self.wait_alone()

    def test_F6_thousands_of_connects(self):
        self.begin()
        ended = time.monotonic() + 3
        count = 0
        before = self.sidecar.metrics()["syncflow_feed_connections_total"]
        while count < 3000 or time.monotonic() < ended:
            with contextlib.suppress(OSError), socket.create_connection(self.sidecar.feed) as stranger:
                if count % 3 == 0:
                    stranger.send(b"{")
            count += 1
        self.assert_unaffected()
        self.wait_alone()
        self.assertGreater(self.sidecar.metrics()["syncflow_feed_connections_total"], before + 1000, "so many came in")
        Peer(self.sidecar.feed, hello(start="latest")).until("hello")

    def test_F7_five_hundred_slow_lorises(self):
        """A byte of a hello now and then: all are told, and gone."""
        self.begin()
        lorises = self.peers(500, b"{")
        ended = threading.Event()

        def drip():
            while not ended.wait(0.5):
                for peer in lorises:
                    with contextlib.suppress(OSError):
                        peer.socket.send(b" ")

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            self.assert_unaffected("meanwhile")
            for peer in lorises:
                self.assertEqual([one["code"] for one in peer.until_end()], ["bad_hello"])
        finally:
            ended.set()
            dripping.join()
        self.wait_alone()
        self.assert_unaffected()

    def test_F7_handshakes_that_never_end(self):
        """Silence, the begin of a ClientHello and a byte more of it now and then, garbage, and who leaves in the middle."""
        self.begin(tls=True)
        silent = self.peers(100)
        dripping = self.peers(100, b"\x16\x03\x01\x02\x00\x01")
        garbage = self.peers(100, b"\x16\x03\x01\x00\x05hello")
        for peer in self.peers(100, b"\x16\x03"):
            peer.reset()
        for _ in range(4):
            for peer in dripping:
                peer.send(b"\x00")
            time.sleep(0.5)
        self.assert_unaffected("meanwhile")
        self.assertTrue(all(b"{" not in peer.raw_line() for peer in garbage))
        self.assertTrue(all(peer.refusal(b"")["code"] == "tls_required" for peer in silent))
        for peer in dripping:
            self.assertEqual(peer.socket.recv(1), b"")
        self.wait_alone()
        self.assert_unaffected()

    # ---- what runs out ----

    def test_F5_descriptors_run_out(self):
        """Each is served, told, or shed; the journal still finds what it needs for its next segments; nothing turns."""
        self.begin(prefix=["prlimit", f"--nofile={DESCRIPTORS}"], **{"journal.segment_size": "1MiB", "notify.watch": False})
        with contextlib.ExitStack() as stack:
            strangers = []
            for _ in range(400):
                stranger = stack.enter_context(socket.create_connection(self.sidecar.feed))
                stranger.settimeout(10)
                strangers.append(stranger)
            for number in range(4):
                self.commit(self.server, f"bulk{number}", rows=1000, size=1000)
                self.wait_good(f"bulk{number}-1000")
            served = sum(b'"hello"' in self.first_words(stranger) for stranger in strangers)
            self.assertGreater(served, 10)
            self.assertLess(served, DESCRIPTORS)
            before, began = processor_seconds(self.sidecar.process.pid), time.monotonic()
            time.sleep(2)
            used = processor_seconds(self.sidecar.process.pid) - before
            self.assertLess(used / (time.monotonic() - began), SECONDS_OF_PROCESSOR)
        self.assert_unaffected()
        self.wait_alone()
        self.assertEqual(self.peers(1, hello())[0].read()["type"], "hello")

    @staticmethod
    def first_words(stranger):
        """Of a connection that is served or told; nothing of one that was shed."""
        with contextlib.suppress(OSError):
            return stranger.recv(4096)
        return b""

    # ---- a peer whose machine is gone ----

    def test_F8_half_open_peer(self):
        """Its cable is cut: its name can be had at once, and a connection without a name is given up after a minute."""
        with contextlib.ExitStack() as stack:
            address, space, link = self.cable(stack)
            self.server = self.rig()
            self.sidecar = self.server.sidecar()
            self.sidecar.feed = (address, self.sidecar.feed[1])
            self.sidecar.configure(**{"feed.listen": f"{address}:{self.sidecar.feed[1]}", "feed.allow_anonymous": True})
            self.sidecar.start_ready()
            ghosts = stack.enter_context(subprocess.Popen(
                ["ip", "netns", "exec", space, "/usr/bin/python3", "-c", GHOSTS, address, str(self.sidecar.feed[1])],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            stack.callback(ghosts.kill)
            self.assertEqual(ghosts.stdout.readline(), b"live\n")
            subprocess.run(["ip", "link", "set", link, "down"], check=True)
            self.commit(self.server, "unheard")
            heir = self.peers(1, hello(name="ghost"))[0]
            self.assertEqual(heir.until("change")["op"]["id"], "unheard-1")
            self.wait_alone()

    def cable(self, stack):
        """A network namespace at the end of a cable: our address, its name, and the cable's end here."""
        mark = f"{os.getpid() % 60000}"
        space, here, there = f"syncflow-{mark}", f"sf{mark}a", f"sf{mark}b"
        address, other = "198.51.100.1", "198.51.100.2"  # for documentation: nobody's
        try:
            subprocess.run(["ip", "netns", "add", space], check=True, capture_output=True)
            stack.callback(subprocess.run, ["ip", "netns", "del", space], check=False)
            subprocess.run(["ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", space], check=True,
                           capture_output=True)
            stack.callback(subprocess.run, ["ip", "link", "del", here], check=False, capture_output=True)
            for words in (f"addr add {address}/30 dev {here}", f"link set {here} up",
                          f"-n {space} addr add {other}/30 dev {there}", f"-n {space} link set {there} up"):
                subprocess.run(["ip", *words.split()], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            self.skipTest(f"no network namespaces here: {error}")
        return address, space, here


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    unittest.main()
