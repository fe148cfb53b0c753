#!/usr/bin/python3
"""Draining a filled slot, with each plugin: the sidecar (journal synced, one consumer reading everything) beside
pg_recvlogical writing the same plugin's output to a file. The two take turns over copies of one slot, so each round compares
them on the same WAL."""

import argparse
import os
import socket
import subprocess
import time

import bench

SHAPES = {"100-row transactions": (100, 400_000), "1-row transactions": (1, 200_000)}

FILL = """
DO $$ BEGIN
  PERFORM set_config('synchronous_commit', 'off', false);
  FOR t IN 1..%(transactions)s LOOP
    INSERT INTO operations (id, type, collection, doc_id, data, timestamp, client_id, vector_clock)
    SELECT format('%(name)s-%%s-%%s', t, r), 'insert', 'todos', 'doc-' || r,
           jsonb_build_object('title', repeat('x', 150), 'done', false, 'position', r), 1700001000000 + t,
           'client-1', '{"client-1": 2, "server": 1}'
    FROM generate_series(1, %(rows)s) r;
    COMMIT;
  END LOOP;
END $$"""


def fill(server, base, plugin, rows, total):
    server.execute("TRUNCATE operations")
    server.execute("SELECT pg_create_logical_replication_slot(%s, %s)", base, plugin)
    server.execute(FILL % {"transactions": total // rows, "rows": rows, "name": base})
    server.execute("CHECKPOINT")
    return server.execute("SELECT pg_current_wal_flush_lsn()::text")[0][0]


def copy_slot(server, base, name):
    server.execute("SELECT pg_copy_logical_replication_slot(%s, %s)", base, name)


def drop_slot(server, name):
    server.execute("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = %s AND NOT active", name)


def pg_recvlogical(server, slot, end, plugin):
    output = os.path.join(server.folder, "recvlogical.out")
    command = [os.path.join(server.server.bin, "pg_recvlogical"), "-d", server.server.url, "--slot", slot, "--start",
               "--endpos", end, "-f", output, "--no-loop"]
    for option in bench.PLUGIN_OPTIONS[plugin]:
        command += ["-o", option]
    began = time.monotonic()
    subprocess.run(command, check=True)
    elapsed = time.monotonic() - began
    os.remove(output)
    return elapsed


class Reader:
    """One consumer that reads everything and counts lines."""

    def __init__(self, address):
        while True:
            try:
                self.socket = socket.create_connection(address, timeout=60)
                break
            except ConnectionRefusedError:
                time.sleep(0.005)
        self.socket.sendall(b'{"type":"hello","version":1,"from":"earliest"}\n')

    def read(self, changes):
        """Until so many changes came. How many times the first tenth's time all of it took, from the first change on."""
        buffer, seen = bytearray(1 << 20), 0
        rest = b""
        first = tenth = None
        while seen < changes:
            got = self.socket.recv_into(buffer)
            assert got, "the feed closed the connection"
            chunk = rest + bytes(memoryview(buffer)[:got])
            seen += chunk.count(b'{"type":"change"')
            rest = chunk[-15:]
            first = first or seen and (time.monotonic(), seen)
            tenth = tenth or seen >= changes / 10 and (time.monotonic(), seen)
        self.socket.close()
        (began, at_first), (then, at_tenth) = first, tenth
        return (time.monotonic() - began) / (then - began) / (changes - at_first) * (at_tenth - at_first) * 10


def processor_seconds(pid):
    """Of its own code, and of the kernel's for it."""
    with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return [int(ticks) / os.sysconf("SC_CLK_TCK") for ticks in fields[11:13]]


def memory_peak(pid):
    """MiB."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("VmHWM"))


def sidecar_drain(server, slot, total):
    sidecar = server.sidecar(slot, **{"replication.slot": slot, "replication.plugin": "auto", "postgres.initialize": False,
                                      "replication.backfill": False,
                                      "notify.watch": False, "log.level": "warning"})
    began = time.monotonic()
    sidecar.start()
    growth = Reader(sidecar.feed).read(total)
    elapsed = time.monotonic() - began
    processor, peak = processor_seconds(sidecar.process.pid), memory_peak(sidecar.process.pid)
    sidecar.terminate()
    subprocess.run(["rm", "-rf", sidecar.journal], check=True)
    return elapsed, processor, peak, growth


def measure(server, plugin, title, rows, total, rounds):
    base = f"base_{plugin}_{rows}"
    end = fill(server, base, plugin, rows, total)
    reference, ours, cost, growths = [], [], [], []
    for number in range(rounds + 1):
        a, b = f"a_{rows}_{number}", f"b_{rows}_{number}"
        copy_slot(server, base, a)
        copy_slot(server, base, b)
        elapsed_reference = pg_recvlogical(server, a, end, plugin)
        elapsed, processor, _, growth = sidecar_drain(server, b, total)
        drop_slot(server, a)
        drop_slot(server, b)
        if number == 0:
            continue  # warms the page cache
        reference.append(total / elapsed_reference)
        ours.append(total / elapsed)
        cost.append([seconds / total * 1e6 for seconds in processor])
        growths.append(growth)
    drop_slot(server, base)
    ratio = bench.median([mine / theirs for mine, theirs in zip(ours, reference)])
    return [f"{plugin}, {title}", f"{bench.median(reference):,.0f}", f"{bench.median(ours):,.0f}", f"{ratio:.2f}", *(f"{bench.median(each):.2f}" for each in (map(sum, cost), *zip(*cost), growths))]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    with bench.rig() as server:
        bench.create_schema(server)
        server.execute("CREATE PUBLICATION syncflow_sidecar FOR TABLE ONLY operations WITH (publish = 'insert')")
        rows = [measure(server, plugin, title, *shape, rounds)
                for plugin in bench.PLUGIN_OPTIONS for title, shape in SHAPES.items()]
    bench.table(f"drain: changes a second, medians of {rounds} rounds, the two in turn",
                ["", "pg_recvlogical", "sidecar", "ratio (goal >= 0.95)", "CPU us/change (goal <= 2, pgoutput 1.5)", "its own", "the kernel's", "ten times the changes take"], rows)


if __name__ == "__main__":
    main()
