#!/bin/sh
# SPDX-License-Identifier: MIT
# A program crashes, or forks, while another of its threads holds the dynamic linker's lock, because a library's
# constructor does not come back. The program ends, and its child runs, as natively. So none of our code may look up a
# symbol then.
. "$(dirname "$0")/../common.sh"
need gcc timeout

cat >"$work/slow.c" <<'C'
#include <unistd.h>
__attribute__((constructor)) static void never_comes_back(void)
{
	write(1, "loading\n", 8);
	for (;;)
		pause();
}
C
cat >"$work/program.c" <<'C'
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *loads(void *path)
{
	return dlopen(path, RTLD_NOW);
}

static void on_signal(int sig)
{
	_exit(sig);
}

int main(int argc, char **argv)
{
	pthread_t thread;
	int status = 0;

	pthread_create(&thread, NULL, loads, argv[1]);
	usleep(300000);
	if (!strcmp(argv[2], "handled"))
		signal(SIGBUS, on_signal);
	if (!strcmp(argv[2], "segv"))
		*(volatile int *)8 = 1;
	if (!strcmp(argv[2], "abort"))
		abort();
	if (!strcmp(argv[2], "bus") || !strcmp(argv[2], "handled"))
		raise(SIGBUS);
	if (!strcmp(argv[2], "fork")) {
		if (fork() == 0)
			_exit(5);
		wait(&status);
	}
	if (!strcmp(argv[2], "vfork")) {
		if (vfork() == 0) {
			execl("/bin/sh", "sh", "-c", "exit 5", NULL);
			_exit(1);
		}
		wait(&status);
	}
	if (!strcmp(argv[2], "system"))
		status = system("exit 5");
	_exit(WEXITSTATUS(status));
}
C
chmod 711 "$work"
mkdir -m 777 "$work/here"
compiles -shared -fPIC -o "$work/slow.so" "$work/slow.c"
compiles -O1 -pthread -o "$work/program" "$work/program.c" -ldl
cd "$work/here" || exit 1

# ends NAME RUN MODE HOW
ends() {
	timeout -s KILL 20 "$work/program" "$work/slow.so" "$4" >expected 2>/dev/null
	expected=$?
	rm -f core core.*
	$2 timeout -s KILL 20 "$ANONMM" run --memory 8M --swap "file:$work/here?size=64M" --faults "$3" -- \
		"$work/program" "$work/slow.so" "$4" >out 2>said
	status=$?
	[ $status -eq $expected ] || fail "$1, $3, $4: status $status, natively $expected: $(cat said)"
	rm -f core core.* out said
}

for core in 0 unlimited; do
	ulimit -S -c $core 2>/dev/null || continue
	for mode in signal thread; do
		for how in segv abort bus handled fork vfork system; do
			ends "core $core" "" $mode $how
		done
	done
done
if have_nobody; then
	ends "as nobody" as_nobody signal segv
else
	echo "not root, or no setpriv: no other user was tried"
fi
finish
