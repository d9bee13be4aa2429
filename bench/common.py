"""What the benchmarks share: running one case, records that outlive a run, tables.

A record is one line of JSON: {"bench": .., "key": {..}, "time": .., and what was measured, or "skipped" or
"failed" with the reason}. A run that was interrupted is taken up where it was: only the rounds that its file lacks are
made.
"""
import hashlib
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.join(HERE, "..", "build")


class Failed(Exception):
    """It ran and did not end well, or gave something else."""


class Skipped(Exception):
    """This host cannot run it."""


def stop(number, _frame):
    sys.exit(128 + number)


for ending in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(ending, stop) # so that files and children go, too


# ---- Records -----------------------------------------------------------------------------------


class Records:
    """The lines of one file; without a path, of this run alone."""

    def __init__(self, path, bench):
        self.path, self.bench, self.lines = path, bench, []
        if path and os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self.lines = [json.loads(line) for line in file if line.endswith("\n")]

    def add(self, key, **measured):
        line = {"bench": self.bench, "key": key, "time": round(time.time()), **measured}
        self.lines.append(line)
        if self.path:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    def of(self, key):
        """What was measured under a key; a failure or a reason to skip only while nothing was measured after it."""
        lines = [line for line in self.lines if line["bench"] == self.bench and line["key"] == key]
        good = [line for line in lines if "failed" not in line and "skipped" not in line]
        return good or lines[-1:]

    def good(self, key):
        return [line for line in self.of(key) if "failed" not in line and "skipped" not in line]

    def median(self, key, field):
        values = [line[field] for line in self.good(key)]
        return statistics.median(values) if values else None

    def why_not(self, key):
        """Why there is no figure, as ("skipped" or "failed", reason), or None."""
        for line in self.of(key):
            for word in ("skipped", "failed"):
                if word in line:
                    return word, line[word]
        return None

    def keys_by_age(self):
        """Each once, that of the newest line last."""
        out = {}
        for line in self.lines:
            if line["bench"] == self.bench:
                name = json.dumps(line["key"])
                out.pop(name, None)
                out[name] = line["key"]
        return list(out.values())


def name_of(key):
    return " ".join(str(value) for field, value in key.items() if field not in ("job", "build"))


def measure_rounds(records, keys, rounds, measure):
    """
    Bring every key to `rounds` records, the keys in turn. measure(key) returns a dictionary, or raises Skipped or
    Failed; such a key is not tried again in this run.
    """
    out = set()
    for number in range(1, rounds + 1):
        for key in keys:
            name = name_of(key)
            if name in out or len(records.good(key)) >= number:
                continue
            begin = time.monotonic()
            try:
                records.add(key, **measure(key))
                note = f"{time.monotonic() - begin:.1f} s"
            except Skipped as why:
                records.add(key, skipped=str(why))
                out.add(name)
                note = f"skipped: {why}"
            except (Failed, OSError, ValueError) as why:
                records.add(key, failed=str(why))
                out.add(name)
                note = f"FAILED: {why}"
            print(f"{records.bench}, round {number} of {rounds}: {name}: {note}", file=sys.stderr, flush=True)


def build_id(build):
    """Which anonmm it is: figures of two builds are not mixed."""
    with open(os.path.join(build, "libanonmm-preload.so"), "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()[:8]


# ---- Running -----------------------------------------------------------------------------------


def run(command, seconds=300, env=None, keep_output=False, before=(), build=BUILD):
    """
    Run a command with its output in a pipe, so that no page cache is charged to it; `before` is put before it, and
    is no part of what is measured. Gives {"seconds": .., "peak_kib": .., "digest": ..} and, if wished, the output.
    """
    digest, output = hashlib.sha256(), []
    with tempfile.TemporaryFile() as err, tempfile.NamedTemporaryFile("r", suffix=".json") as report:
        whole = [*before, os.path.join(build, "bench", "peak"), report.name, *command]
        with subprocess.Popen(whole, stdout=subprocess.PIPE, stderr=err, stdin=subprocess.DEVNULL,
                              env=dict(os.environ, **(env or {}))) as child:
            late = threading.Event()
            timer = threading.Timer(seconds, lambda: (late.set(), child.terminate()))
            timer.start()
            try:
                while part := child.stdout.read1(1 << 16):
                    digest.update(part)
                    if keep_output:
                        output.append(part)
                child.wait()
            except BaseException:
                child.terminate()
                raise
            finally:
                timer.cancel()
        err.seek(0)
        words = err.read().decode(errors="replace").strip()
        if late.is_set():
            raise Failed(f"took more than {seconds} s")
        if child.returncode == 125 and before:
            raise Skipped(words.splitlines()[-1] if words else "cannot be set up here")
        if child.returncode != 0:
            raise Failed(f"exit status {child.returncode}: {words[-400:]}")
        result = {**json.load(report), "digest": digest.hexdigest()[:16]}
    return (result, b"".join(output).decode()) if keep_output else result


def run_on_linux(backend, limit, command, directory, tries=8, **options):
    """
    As run(), on Linux's own swap. Linux may kill the program although there is swap, now and then: it is
    run again, and "killed" says how often that was needed.
    """
    for killed in range(tries):
        with tempfile.NamedTemporaryFile("r", suffix=".json") as report:
            before = [os.path.join(HERE, "linux-swap"), backend, str(limit), "--dir", directory, "--report", report.name,
                      "--"]
            try:
                result = run(command, before=before, **options)
            except Failed:
                if not json.loads(report.read() or "{}").get("oom_kills"):
                    raise
                continue
            (result[0] if isinstance(result, tuple) else result)["killed"] = killed
            return result
    raise Failed(f"Linux's OOM killer ended each of {tries} tries")


def anonmm(build, limit, options, command):
    return [os.path.join(build, "anonmm"), "run", "--memory", str(limit), *options, "--", *command]


def bytes_of(text):
    units = {"K": 10, "M": 20, "G": 30, "T": 40}
    return int(text[:-1]) << units[text[-1]] if text[-1] in units else int(text)


def size_text(nr_bytes):
    for unit, shift in (("G", 30), ("M", 20), ("K", 10)):
        if nr_bytes % (1 << shift) == 0:
            return f"{nr_bytes >> shift}{unit}"
    return str(nr_bytes)


# ---- Tables ------------------------------------------------------------------------------------


def geometric_mean(values):
    return math.exp(statistics.fmean(map(math.log, values))) if values else None


def print_table(title, head, rows, widths=None):
    """Columns as wide as what is in them; the first to the left, the others to the right."""
    cells = [[str(cell) for cell in row] for row in [head, *rows]]
    widths = widths or [max(len(row[i]) for row in cells if i < len(row)) for i in range(len(head))]
    print(f"\n{title}\n")
    for row in cells:
        print(("    " + "  ".join(cell.ljust(width) if i == 0 else cell.rjust(width)
                                  for i, (cell, width) in enumerate(zip(row, widths)))).rstrip())


def print_reasons(records, keys, out=None):
    """What is missing and why, one line for each reason. => whether something of anonmm's failed"""
    reasons = {}
    for key in keys:
        found = records.why_not(key)
        if found:
            reasons.setdefault(found, []).append(key)
    for (word, why), found in reasons.items():
        names = [name_of(key) for key in found]
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        print(f"\n{'FAILED' if word == 'failed' else 'skipped'} {shown}: {why}", file=out or sys.stdout)
    return any(word == "failed" and "build" in key for (word, _), found in reasons.items() for key in found)


def comma_list(text):
    return text.split(",")


def check_names(parser, given, known):
    unknown = [name for name in given if name not in known]
    if unknown:
        parser.error(f"unknown: {unknown[0]}; one of {', '.join(known)}")
