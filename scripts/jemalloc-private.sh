#!/bin/sh
# SPDX-License-Identifier: MIT
#
# jemalloc-private.sh ARCHIVE OUTPUT.o|OUTPUT.a
#
# Make one relocatable object of jemalloc's position independent archive for the preload library:
#
#  - the C++ object stays out (it wants libstdc++; operator new reaches us through malloc);
#  - public names get the prefix jem_, so that the library itself decides what malloc is;
#  - calls into the system that the preload library interposes go to functions of its own
#    (src/run/raw.c): the allocator must never pass through the memory that it provides.
#
# Environment: LD, AR, OBJCOPY name other tools.
set -eu

if [ $# -ne 2 ]; then
	echo "usage: $0 ARCHIVE OUTPUT.o" >&2
	exit 2
fi
archive=$(realpath "$1")
output=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

(cd "$work" && "${AR:-ar}" x "$archive" && rm -f jemalloc_cpp*.o)
"${LD:-ld}" -r -o "$work/all.o" "$work"/*.o

for name in malloc calloc free realloc aligned_alloc memalign valloc posix_memalign malloc_usable_size \
	mallocx rallocx xallocx sallocx dallocx sdallocx nallocx mallctl mallctlbymib mallctlnametomib \
	malloc_stats_print malloc_conf malloc_conf_2_conf_harder malloc_message \
	smallocx_54eaed1d8b56b1aa528be3bdd1877e59c56fa90c; do
	echo "$name jem_$name"
done >"$work/renames"
for name in mmap munmap mprotect madvise sbrk open creat close readlink secure_getenv \
	pthread_create pthread_sigmask pthread_atfork sched_getaffinity sched_setaffinity \
	_Unwind_Backtrace _Unwind_GetIP; do
	echo "$name raw_$name"
done >>"$work/renames"

"${OBJCOPY:-objcopy}" --redefine-syms="$work/renames" "$work/all.o" "$work/jemalloc-private.o"
case $output in
*.a)
	rm -f "$output"
	"${AR:-ar}" rc "$output" "$work/jemalloc-private.o"
	;;
*)
	cp "$work/jemalloc-private.o" "$output"
	;;
esac
