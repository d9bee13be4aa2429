# SPDX-License-Identifier: MIT
# packages: zstd
# commands: zstd
# does: compresses at levels 3 and 7 with long windows and threads, decompresses
# version: zstd --version
. "$(dirname "$0")/common.sh"

prepare() {
	cat /usr/lib/x86_64-linux-gnu/*.so.* 2>/dev/null | head -c 8000000 >"$input/data"
	head -c 200000 "$input/data" >"$input/short"
}

work() {
	mkdir out
	zstd -q -3 --long=27 -T2 -c "$input/data" >out/fast.zst
	zstd -q -dc --long=27 out/fast.zst | cmp - "$input/data"
	zstd -q -7 --long=23 -c "$input/short" >out/small.zst
	zstd -q -dc --long=23 out/small.zst | cmp - "$input/short"
}

matrix "$@"
