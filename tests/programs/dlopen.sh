#!/bin/sh
# SPDX-License-Identifier: MIT
# Libraries loaded with RTLD_DEEPBIND share the program's malloc. dlopen() searches where the program that calls it
# would search natively.
. "$(dirname "$0")/../common.sh"
need gcc

mkdir "$work/sub"
cat >"$work/module.c" <<'C'
#include <stdlib.h>
#include <string.h>
void take(char *p) { free(p); }
char *give(void) { return strcpy(malloc(100000), "given"); }
C
cat >"$work/program.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
	void *module = dlopen("libmodule.so", RTLD_NOW | RTLD_DEEPBIND); /* by the program's RUNPATH */
	if (!module)
		return fprintf(stderr, "%s\n", dlerror()), 1;
	void (*take)(char *) = (void (*)(char *))dlsym(module, "take");
	char *(*give)(void) = (char *(*)(void))dlsym(module, "give");
	for (int i = 0; i < 1000; i++) {
		take(malloc(50 + i * 100));
		char *p = realloc(give(), 200000);
		if (i == 999)
			puts(p);
		free(p);
	}
	return dlclose(module);
}
C
compiles -O1 -shared -fPIC -o "$work/sub/libmodule.so" "$work/module.c"
compiles -O1 -o "$work/program" "$work/program.c" -Wl,-rpath,'$ORIGIN/sub'
for mode in thread signal; do
	managed 8M $mode "$work/program" >"$work/out" 2>&1 || fail "$mode: exit status $?: $(cat "$work/out")"
	[ "$(cat "$work/out")" = given ] || fail "$mode: $(cat "$work/out")"
done
finish
