#!/bin/sh
# SPDX-License-Identifier: MIT
# Programs that become another user, and then fork: with one thread and with several, for a while and for good.
. "$(dirname "$0")/../common.sh"
need gcc
need_nobody

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
compiles -O1 -pthread -o "$work/program" "$work/program.c"
chmod 777 "$work"
for mode in thread signal; do
	for threads in '' several; do
		# shellcheck disable=SC2086  # one word or none
		managed 8M $mode "$work/program" $threads >"$work/out" || fail "$mode $threads: exit status $?"
		[ "$(cat "$work/out")" = "65534 0 0" ] || fail "$mode $threads: $(cat "$work/out")"
		must_have_swapped "$mode $threads"
	done
done

# No thread of the process, ours among them, keeps what the program has given up: users, groups and capabilities.
cat >"$work/gives-up.c" <<'C'
#define _GNU_SOURCE
#include <dirent.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int capset(void *header, const void *data);

/* The lines of all threads that start with @key and do not say @value. */
static int others(const char *key, const char *value)
{
	DIR *tasks = opendir("/proc/self/task");
	char path[300], line[4096];
	int nr = 0, threads = 0;

	for (struct dirent *entry; (entry = readdir(tasks));) {
		if (entry->d_name[0] == '.')
			continue;
		threads++;
		snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
		FILE *file = fopen(path, "r");
		while (file && fgets(line, sizeof(line), file)) {
			if (strncmp(line, key, strlen(key)))
				continue;
			line[strcspn(line, "\n")] = 0;
			if (strcmp(line + strlen(key), value)) {
				printf("thread %s: %s\n", entry->d_name, line);
				nr++;
			}
		}
		if (file)
			fclose(file);
	}
	closedir(tasks);
	if (threads < atoi(getenv("THREADS"))) {
		printf("%d threads: too few of ours\n", threads);
		nr++;
	}
	return nr;
}

int main(int argc, char **argv)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};
	gid_t groups[] = {65533, 65532};
	char *p = malloc(24 << 20);
	int nr = 0;

	memset(p, 7, 24 << 20);
	if (setgroups(2, groups) || setresgid(65534, 65534, 65534))
		return 2;
	nr += others("Gid:\t", "65534\t65534\t65534\t65534") + others("Groups:\t", "65532 65533 ");
	if (seteuid(65534))
		return 3;
	nr += others("Uid:\t", "0\t65534\t0\t65534");
	if (seteuid(0))
		return 4;
	if (argc > 1) {
		if (capset(&header, none))
			return 5;
		return nr + others("CapPrm:\t", "0000000000000000") != 0;
	}
	if (setresuid(65534, 65534, 65534) || setuid(0) == 0)
		return 6;
	return nr + others("Uid:\t", "65534\t65534\t65534\t65534") != 0;
}
C
compiles -O1 -o "$work/gives-up" "$work/gives-up.c"
for what in '' capabilities; do
	for case in "thread aio 5" "thread threads 13" "signal aio 4" "signal threads 12"; do
		# shellcheck disable=SC2086  # three words, and one or none
		set -- $case
		THREADS=$3 SWAP="file:$work?size=1G&engine=$2" managed auto "$1" "$work/gives-up" $what >"$work/out" ||
			fail "gives up $what, $1, $2: exit status $?: $(cat "$work/out")"
	done
done

# One that keeps its capabilities by thread, and that starts another program then.
for engine in auto threads; do
	SWAP="file:$work?size=1G&engine=$engine" managed 8M auto \
		setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all \
		sh -c 'seq 1 300000 | sort -S 40M -n | tail -1; id -u' \
		>"$work/out" || fail "setpriv, $engine: exit status $?"
	[ "$(tr '\n' ' ' <"$work/out")" = "300000 65534 " ] || fail "setpriv, $engine: $(cat "$work/out")"
	must_have_swapped "setpriv, $engine"
done
finish
