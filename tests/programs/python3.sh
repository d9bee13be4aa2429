#!/bin/sh
# SPDX-License-Identifier: MIT
# python3: a dictionary larger than the limit; threads; fork, subprocess and multiprocessing on top of it.
. "$(dirname "$0")/../common.sh"
python=/usr/bin/python3
[ -x $python ] || skip $python "not there"
export PYTHONHASHSEED=0

cat >"$work/data.py" <<'PY'
import hashlib
import random

chance = random.Random(5)
data = {f"key {i}": [chance.random(), "value " * (i % 7), {"n": i}] for i in range(60000)}
for key in chance.sample(sorted(data), 20000):
    data[key].append(key[::-1])
digest = hashlib.sha256()
for key in sorted(data, key=lambda k: (len(data[k]), k)):
    digest.update(repr((key, data[key])).encode())
print(digest.hexdigest())
PY

cat >"$work/family.py" <<'PY'
import hashlib
import os
import subprocess
import sys
import threading

blocks = [bytes([i % 251]) * 40000 for i in range(700)]    # 28 MB
def check(who):
    for i, block in enumerate(blocks):
        if block != bytes([i % 251]) * 40000:
            print(who, "differs at", i)
            os._exit(1)

results = []
def work(n):
    mine = [hashlib.sha256(block).digest() for block in blocks[n::4]]
    results.append(len(mine))
threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(sum(results))

pid = os.fork()
if pid == 0:
    check("child")                    # sees all that the parent had
    blocks[3] = b"child's own" * 5000
    grandchild = os.fork()
    if grandchild == 0:
        os._exit(0 if blocks[3] == b"child's own" * 5000 and blocks[4][:1] == b"\4" else 1)
    status = os.waitpid(grandchild, 0)[1]
    blocks[3] = bytes([3]) * 40000
    check("child after its own changes")
    os._exit(7 if status == 0 else 1)
for i in range(0, 700, 2):
    blocks[i] = bytes([i % 251]) * 40000      # meanwhile the parent writes
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
check("parent")

print(subprocess.run(["sh", "-c", "echo $((6 * 7)); exit 3"], capture_output=True))
print(subprocess.run([sys.executable, "-c", "print(len([i for i in range(1000000)]))"], capture_output=True, env={}).stdout)
print(subprocess.getoutput("seq 1 1000 | sort -rn | head -1"))
check("parent at the end")
PY

for script in data family; do
	$python "$work/$script.py" >"$work/expected" || fail "$script: natively: $?"
	for mode in thread signal; do
		managed 24M $mode $python "$work/$script.py" >"$work/out" 2>"$work/errors" ||
			fail "$script, $mode: exit status $?: $(cat "$work/errors")"
		same "$script, $mode" "$work/expected" "$work/out"
		must_have_swapped "$script, $mode"
	done
done
finish
