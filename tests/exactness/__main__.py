"""``python -m tests.exactness``: ten rounds of everything, some twenty minutes; further words go to pytest."""

import os
import sys

import pytest

if __name__ == "__main__":
    os.environ.setdefault("ENTRA_TLS_EXACTNESS_ROUNDS", "10")
    sys.exit(pytest.main(["tests/exactness", "-v", *sys.argv[1:]]))
