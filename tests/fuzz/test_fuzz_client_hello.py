"""The fuzz harness runs: a short, fixed number of inputs, and it would notice a defect."""

import re
import subprocess
import sys

RUNS = 5_000


def fuzz(*command):
    return subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=200, check=False)


def test_no_input_of_a_short_run_breaks_the_decoder(tmp_path):
    """Without atheris this fails: it is a development dependency."""
    done = fuzz("-m", "tests.fuzz.fuzz_client_hello", f"-runs={RUNS}", "-seed=1", f"-artifact_prefix={tmp_path}/")
    assert done.returncode == 0, done.stderr[-2_000:]
    finished = re.search(r"Done (\d+) runs", done.stderr)
    assert finished is not None, done.stderr[-2_000:]
    assert int(finished[1]) >= RUNS
    covered = [int(number) for number in re.findall(r"cov: (\d+)", done.stderr)]
    assert max(covered) > 100, "the decoder is instrumented: coverage guides"


BROKEN = """
import tests.fuzz.fuzz_client_hello as harness
whole = harness.decode_client_hello
def broken(data):
    if data[:1] == b"\\x16" and len(data) > 60 and data[43] == 32:
        raise IndexError("planted")
    return whole(data)
harness.decode_client_hello = broken
harness.main()
"""


def test_a_planted_defect_is_found(tmp_path):
    done = fuzz("-c", BROKEN, f"-runs={RUNS}", "-seed=1", f"-artifact_prefix={tmp_path}/")
    assert done.returncode != 0
    assert "planted" in done.stdout + done.stderr
