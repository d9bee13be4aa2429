# SPDX-License-Identifier: MIT
# packages: xz-utils
# commands: xz
# does: decompresses with a 16 MiB dictionary, compresses with threads and without
# version: xz --version
. "$(dirname "$0")/common.sh"

prepare() {
	cat /usr/lib/x86_64-linux-gnu/*.so.* 2>/dev/null | head -c 16000000 >"$input/data"
	head -c 80000 "$input/data" >"$input/short"
	xz --lzma2=preset=0,dict=16MiB -c "$input/data" >"$input/data.xz"
}

work() {
	mkdir out
	xz -dc "$input/data.xz" | cmp - "$input/data"
	xz -6 -c "$input/short" >out/short.xz
	xz -0 -T2 --block-size=1000000 -c "$input/data" >out/threads.xz
	xz -t out/short.xz
}

matrix "$@"
