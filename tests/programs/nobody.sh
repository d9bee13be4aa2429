#!/bin/sh
# SPDX-License-Identifier: MIT
# Ordinary programs, run by a user who has no privilege at all: shells and their children, python3, sort, xz, a
# compiler.
. "$(dirname "$0")/../common.sh"
need sort seq xz bash
need_nobody

seq 1 600000 | awk '{ print ($1 * 7919) % 1000003, "line", $1 }' >"$work/in"
sort -n "$work/in" >"$work/expected"
managed_as_nobody 16M auto sort -n -S 300M "$work/in" >"$work/out" || fail "sort: exit status $?"
same sort "$work/expected" "$work/out"
must_have_swapped sort

find /usr/lib /usr/bin -type f -size +100k -print 2>/dev/null | sort | xargs cat 2>/dev/null | head -c 800000 >"$work/short"
xz -9 -T1 -c "$work/short" >"$work/expected"
managed_as_nobody 64M auto xz -9 -T1 -c "$work/short" >"$work/out" || fail "xz: exit status $?"
same xz "$work/expected" "$work/out"
must_have_swapped xz

cat >"$work/script" <<'SH'
declare -A table
for i in $(seq 1 3000); do table[$i]="value $i $((i * i))"; done
x=$(echo "${table[77]}" | tr a-z A-Z); echo "$x"
( echo "inside: ${table[5]}"; exit 9 ); echo "status $?"
for i in 1 2 3; do ( sleep 0.0$i; exit $i ) & done; wait; echo waited
(ANONMM_OFF=1 exec bash -c 'trap "echo got it" BUS; kill -BUS $$; echo unmanaged: $((1 + 1)); printf "%s\n" a b | sort -r')
trap 'echo bye' EXIT
SH
bash "$work/script" >"$work/expected" 2>&1
managed_as_nobody 8M auto bash "$work/script" >"$work/out" 2>&1 || fail "bash: exit status $?"
same bash "$work/expected" "$work/out"
must_have_swapped bash

if [ -x /usr/bin/python3 ]; then
	cat >"$work/data.py" <<'PY'
import hashlib, os, random, subprocess, threading
chance = random.Random(5)
data = {f"key {i}": [chance.random(), "value " * (i % 7), {"n": i}] for i in range(50000)}
digest = hashlib.sha256()
for key in sorted(data, key=lambda k: (len(data[k]), k)):
    digest.update(repr((key, data[key])).encode())
print(digest.hexdigest())
with open(os.environ["work"] + "/nobody/written", "wb") as file:
    block = os.urandom(5000000)
    file.write(block)
with open(os.environ["work"] + "/nobody/written", "rb") as file:
    print(file.read() == block)
print(subprocess.run(["sh", "-c", "echo $((6 * 7)); exit 3"], capture_output=True))
thread = threading.Thread(target=lambda: print(subprocess.getoutput("seq 1 1000 | sort -rn | head -1")))
thread.start()
thread.join()
pid = os.fork()
if pid == 0:
    os._exit(7 if len(data) == 50000 and data["key 77"][2]["n"] == 77 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
PY
	mkdir -m 777 "$work/nobody"
	export work PYTHONHASHSEED=0
	as_nobody /usr/bin/python3 "$work/data.py" >"$work/expected" || fail "python3: natively: $?"
	managed_as_nobody 16M auto /usr/bin/python3 "$work/data.py" >"$work/out" || fail "python3: exit status $?"
	same python3 "$work/expected" "$work/out"
	must_have_swapped python3
fi

# It says why, where the user asks for what the host does not give.
if [ "$(cat /proc/sys/vm/unprivileged_userfaultfd 2>/dev/null)" = 0 ] && ! as_nobody test -w /dev/userfaultfd; then
	managed_as_nobody 16M thread true 2>"$work/errors"
	[ $? -eq 125 ] || fail "thread mode as nobody: exit status was not 125"
	grep -q "does not let this user" "$work/errors" || fail "thread mode as nobody: $(cat "$work/errors")"
fi
finish
