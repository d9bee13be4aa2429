#!/bin/sh
# SPDX-License-Identifier: MIT
# A program that closes every descriptor keeps its memory and its statistics. Our threads hold none of its pipes open.
. "$(dirname "$0")/../common.sh"
need python3

cat >"$work/close.py" <<'PY'
import os
import sys

before = [bytes([i % 256]) * 50000 for i in range(800)]    # 40 MB
os.closerange(3, 65536)
for fd in range(3, 2000):
    try:
        os.close(fd)
    except OSError:
        pass
after = [bytes([i % 256]) * 50000 for i in range(800)]
for i in range(800):
    if before[i] != after[i] or before[i] != bytes([i % 256]) * 50000:
        sys.exit(f"differs at {i}")
print("all there", flush=True)    # what is still in a buffer goes with the descriptor
os.close(1)
os.close(2)
PY
for mode in thread signal; do
	managed 16M $mode /usr/bin/python3 "$work/close.py" >"$work/out" || fail "$mode: exit status $?"
	grep -q "all there" "$work/out" || fail "$mode: said: $(cat "$work/out")"
	must_have_swapped $mode
done

# Killed: what was counted in place is there.
managed 16M thread /usr/bin/python3 -c '
import os, signal
x = [bytes([i % 256]) * 50000 for i in range(800)]
os.kill(os.getpid(), signal.SIGKILL)'
[ $? -eq 137 ] || fail "killed by SIGKILL: exit status was not 137"
[ "$(counter born)" -gt 8000 ] || fail "killed: $(counter born) pages born"
must_have_swapped killed

# Nor where close_range() is refused: Linux before 5.9, and old profiles of containers.
cat >"$work/pipe.py" <<'PY'
import os, select, signal, sys, time

x = [bytes([i % 256]) * 50000 for i in range(800)]
r, w = os.pipe()
pid = os.fork()
if pid == 0:                     # its threads start with all that the parent had open
    os.close(w)
    x = [bytes([i % 256]) * 50000 for i in range(800)]
    time.sleep(60)
    os._exit(0)
os.close(w)
ready = select.select([r], [], [], 20)[0]
print("end of file" if ready and os.read(r, 1) == b"" else "open")
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
PY
managed_refused() {
	mode=$1 engine=$2
	timeout 100 "$ANONMM_BUILD/tests/refuse" close_range 38 "$ANONMM" run --memory 16M \
		--swap "file:$work?size=2G&engine=$engine" --faults "$mode" --json --stats="$work/stats" -- \
		/usr/bin/python3 "$work/pipe.py" >"$work/out"
	status=$?
	[ $status -eq 77 ] && skip signal-mode "no filter can be set"
	[ $status -eq 0 ] || fail "close_range refused, $mode, $engine: exit status $status"
	[ "$(cat "$work/out")" = "end of file" ] ||
		fail "close_range refused, $mode, $engine: our threads hold a pipe open: $(cat "$work/out")"
	must_have_swapped "close_range refused, $mode, $engine"
}
for mode in thread signal; do
	managed_refused $mode aio
	managed_refused $mode threads
done
finish
