#!/bin/sh
# SPDX-License-Identifier: MIT
# Compressed memory in front of a file, and alone: programs run on it, and its store counts towards the limit.
. "${0%/*}/../common.sh"

ANONMM_BUILD=${ANONMM_BUILD:-${ANONMM%/*}}
touch=$ANONMM_BUILD/bench/touch

# peak: the most that the host saw resident, in KiB, from the last managed run.
peak() {
	sed -n 's/^.*"peak_bytes": \([0-9]*\).*$/\1/p' "$work/stats" | sort -n | tail -1 | awk '{print int($1 / 1024)}'
}

# What does not fit into half of 24 MiB goes on to the file; every byte of every page is checked.
for mode in thread signal; do
	SWAP="file:$work?size=1G" managed 24M $mode "$touch" 48M >"$work/out" 2>&1 ||
		fail "touch on a file, $mode: $(tail -3 "$work/out")"
	file_peak=$(peak)
	[ $mode = thread ] && algos=lz4 || algos=zstd
	for algo in $algos; do
		SWAP="zram:?algo=$algo,file:$work?size=1G" managed 24M $mode "$touch" 48M >"$work/out" 2>&1 ||
			fail "touch, $mode, $algo: $(tail -3 "$work/out")"
		must_have_swapped "touch $mode $algo"
		[ "$(peak)" -le $((file_peak + 3072)) ] ||
			fail "touch, $mode, $algo: $(peak) KiB resident, $file_peak KiB with a file"
	done
done

# Several --swap: the first is used first. A store of 1 MiB beside the limit cannot hold 16 MiB, so the file must.
timeout 100 "$ANONMM" run --memory 16M --swap 'zram:?size=1M' --swap "file:$work?size=1G" --json \
	--stats="$work/stats" -- "$touch" 32M >"$work/out" 2>&1 || fail "two --swap: $(tail -3 "$work/out")"
must_have_swapped "two --swap"

# Alone: a heap that compresses, in less than a third of its size; and children by fork read what it has stored.
cat >"$work/heap.py" <<'END'
import hashlib, os
words = [" ".join(["page", str(i), "of", str(i % 7)] * 40) for i in range(60000)]
def digest():
    d = hashlib.sha256()
    for word in words:
        d.update(word.encode())
    return d.hexdigest()
before = digest()
child = os.fork()
if child == 0:
    os._exit(0 if digest() == before else 1)
status = os.waitpid(child, 0)[1]
print(before, status, digest() == before)
END
python3 "$work/heap.py" >"$work/native" || fail "heap.py alone"
for swap in zram: zram:?algo=zstd "zram:,file:$work?size=1G"; do
	SWAP=$swap managed 24M thread python3 "$work/heap.py" >"$work/out" 2>"$work/words" ||
		fail "heap.py on $swap: $(tail -3 "$work/words")"
	same "heap.py on $swap" "$work/native" "$work/out"
	must_have_swapped "heap.py $swap"
done

# Words for what cannot be.
"$ANONMM" run --swap 'zram:?algo=lzma' -- true 2>"$work/words" && fail "algo=lzma was taken"
grep -q 'write lz4, zstd or lz4hc' "$work/words" || fail "algo=lzma: $(cat "$work/words")"
finish
