#!/bin/sh
# SPDX-License-Identifier: MIT
# Programs that become another user: with one thread and with several, for a while and for good, and that fork then.
. "$(dirname "$0")/../common.sh"
need gcc
[ "$(id -u)" = 0 ] || skip "not root"

cat >"$work/program.c" <<'C'
#define _GNU_SOURCE
#include <grp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define BYTES (24 << 20)
#define USER  65534

static unsigned char *p;

static int wrong(int expected)
{
	int nr = 0;

	for (int i = 0; i < BYTES; i += 4096)
		nr += p[i] != expected;
	return nr;
}

static void *wait_for_end(void *arg)
{
	pthread_mutex_lock(arg);
	return NULL;
}

int main(int argc, char **argv)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_t thread;
	int status = -1;
	gid_t group;

	(void)argv;
	p = malloc(BYTES);
	memset(p, 7, BYTES);
	pthread_mutex_lock(&lock);
	if (argc > 1)
		pthread_create(&thread, NULL, wait_for_end, &lock);
	for (int i = 0; i < 50; i++)
		if (seteuid(USER) || seteuid(0) || setegid(USER) || setegid(0))
			return 2;
	if (setgroups(1, (gid_t[]){USER}) || initgroups("root", 0) || setgroups(0, NULL) || getgroups(1, &group) != 0)
		return 3;
	if (setresgid(USER, USER, USER) || setresuid(USER, USER, USER) || setuid(0) == 0)
		return 4;
	pid_t pid = fork();
	if (!pid) {
		int nr = wrong(7);
		memset(p, 9, BYTES);
		_exit(nr || wrong(9));
	}
	waitpid(pid, &status, 0);
	printf("%d %d %d\n", (int)getuid(), status, wrong(7));
	return 0;
}
C
gcc -O1 -w -pthread -o "$work/program" "$work/program.c" || skip "gcc does not work here"
chmod 777 "$work"
for mode in thread signal; do
	for threads in '' several; do
		# shellcheck disable=SC2086  # one word or none
		managed 8M $mode "$work/program" $threads >"$work/out" || fail "$mode $threads: exit status $?"
		[ "$(cat "$work/out")" = "65534 0 0" ] || fail "$mode $threads: $(cat "$work/out")"
		must_have_swapped "$mode $threads"
	done
done

# One that keeps its capabilities by thread, and that starts another program then.
if command -v setpriv >/dev/null; then
	managed 8M auto setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all sh -c 'seq 1 300000 | sort -S 40M -n | tail -1; id -u' \
		>"$work/out" || fail "setpriv: exit status $?"
	[ "$(tr '\n' ' ' <"$work/out")" = "300000 65534 " ] || fail "setpriv: $(cat "$work/out")"
fi
finish
