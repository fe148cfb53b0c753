#!/usr/bin/python3
"""What can be wrong around the sidecar: each gets one clear sentence with its remedy, the right
exit code or a retry, and loses nothing.

    bad_input.py                  all of it
    bad_input.py -k killed        some of it
    bad_slot_test.py              one part: server, slot, journal, history, config

The program is $SYNCFLOW_SIDECAR, else the release build.
"""

import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))

if __name__ == "__main__":
    words = ["discover", "-s", HERE, "-p", "bad_*_test.py", *sys.argv[1:]]
    unittest.main(module=None, argv=[sys.argv[0], *words])
