# SPDX-License-Identifier: MIT
# packages: gcc libc6-dev make
# commands: gcc make
# does: make -j2 of a part of this project at -O2, then what was built is run
# version: gcc -dumpfullversion
. "$(dirname "$0")/common.sh"

prepare() {
	mkdir -p "$input/tree"
	cp -r "$SOURCE/src" "$SOURCE/include" "$input/tree/"
	cat >"$input/Makefile" <<'MK'
sources := $(wildcard $(input)/tree/src/mm/*/[a-k]*.c)
objects := $(patsubst %.c,%.o,$(notdir $(sources)))
vpath %.c $(sort $(dir $(sources)))
all: program core.o
program: main.o
	gcc -Wl,--build-id=none -o $@ $^
core.o: $(objects)
	ld -r -o $@ $(sort $(objects))
%.o: %.c
	gcc -O2 -std=gnu11 -D_GNU_SOURCE -I$(input)/tree/src -I$(input)/tree/include -frandom-seed=1 -c -o $@ $<
main.o:
	echo 'int main(void) { return 42; }' | gcc -O2 -x c -c -o $@ -
MK
}

work() {
	mkdir out
	cd out
	make -s -j2 -f "$input/Makefile"
	./program || [ $? -eq 42 ]
}

matrix "$@"
