"""A server put back to what it was."""

import contextlib
import os
import shutil
import subprocess

from waiting import wait_until


@contextlib.contextmanager
def restored(rig, *recovery):
    """The body runs while a copy of the data waits to be put back; `recovery`: settings that make a new timeline."""
    data = rig.server.data
    rig.server.stop()
    subprocess.run(["cp", "-a", data, data + ".copy"], check=True)
    rig.server.start()
    yield
    rig.server.stop()
    shutil.rmtree(data)
    os.rename(data + ".copy", data)
    for name, value in recovery:
        rig.server.set(name, value)
    if recovery:
        signal_file = os.path.join(data, "recovery.signal")
        with open(signal_file, "w", encoding="utf-8"):
            pass
        shutil.chown(signal_file, rig.server.user)
    rig.server.start()
    wait_until(lambda: not rig.execute("SELECT pg_is_in_recovery()")[0][0], "the end of recovery")
