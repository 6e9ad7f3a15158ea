"""What the benches share: where things are, runs that are timed, and the table that tells."""
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent
PROGRAM = os.environ.get("PROGRAM", str(BENCH.parent.parent / "target/release/exchange-preflight"))
RESOLVER = ["--resolver", "127.0.0.53"]


def need_program():
    if not os.access(PROGRAM, os.X_OK):
        sys.exit(f"{PROGRAM} is not there: cargo build --release --locked")


def enter_estate(hosts):
    """Runs this script again beside so many simulated hosts; there it returns."""
    need_program()
    if "IN_ESTATE" not in os.environ:
        os.environ["IN_ESTATE"] = str(hosts)
        inner = str(BENCH / "lib/in-estate")
        os.execv(inner, [inner, str(hosts), sys.executable, os.path.realpath(sys.argv[0]), *sys.argv[1:]])


def timed(*command):
    """Runs a command: seconds, and what it printed. An exit code may be a verdict, so each bench looks at what was printed."""
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    if done.returncode != 0 and not done.stdout:
        sys.exit(f"{' '.join(command[:4])} ... failed ({done.returncode}): {done.stderr}")
    return seconds, done.stdout


def weighed(*command):
    """As `timed`, and the peak of memory in MiB, of one process.

    GNU time and not Python's own getrusage: a child's peak begins with that of the process that it came from.
    """
    with tempfile.NamedTemporaryFile("r") as peak:
        seconds, printed = timed("time", "--quiet", "-f", "%M", "-o", peak.name, *command)
        return seconds, printed, int(peak.read()) / 1024


def start_and_wait(port, *command, address="127.0.0.1"):
    """A server in the private network of the bench, with which it ends."""
    server = subprocess.Popen([str(part) for part in command])
    while server.poll() is None:
        try:
            socket.create_connection((address, port)).close()
            return server
        except ConnectionRefusedError:
            time.sleep(0.02)
    sys.exit(f"{command[0]} did not start")


def rounds(count, *contestants):
    """All contestants in turn, so that each meets the same weather. A contestant is a function that returns seconds."""
    times = [[] for _ in contestants]
    for _ in range(count):
        for contestant, own in zip(contestants, times):
            own.append(contestant())
    return times


class Table:
    """Rows of name, measures and target; ends the program with 1 if any target was missed."""

    FORM = "{:<44} {:>10} {:>10} {:>8} {:>8}  {}"

    def __init__(self, title):
        self.missed = False
        print(title)
        print(self.FORM.format("", "median", "best", "target", "of ours", ""))

    def row(self, name, values, unit, target=None, ours=None):
        """`target` is the most that the median may be; `ours` are our own values of which this peer's are a multiple."""
        middle, best = statistics.median(values), min(values)
        verdict = "" if target is None else "met" if middle <= target else "MISSED"
        self.missed |= verdict == "MISSED"
        shown = [f"{middle:.4g} {unit}", f"{best:.4g} {unit}", f"{target:g} {unit}" if target else ""]
        ratio = f"{middle / statistics.median(ours):.1f} x" if ours else ""
        print(self.FORM.format(name, *shown, ratio, verdict))

    def end(self):
        sys.exit(1 if self.missed else 0)
