/* SPDX-License-Identifier: MIT */
/*
 * Threads that call system() and popen() at the same time, with an environment of the program's own making. `environ`
 * never changes, and each child finds in it what the program put there.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 4
#define ROUNDS 25

extern char **environ;
static char **made;
static _Atomic int wrong, changed, done;

static void *looks(void *arg)
{
	while (!done)
		if (environ != made)
			changed = 1;
	return arg;
}

static void one_stream(const char *command, const char *expected, int status)
{
	char line[64] = "";
	FILE *file = popen(command, "r");

	if (!file || fileno(file) < 0 || !fgets(line, sizeof(line), file) || strcmp(line, expected))
		wrong++;
	if (!file || pclose(file) != status << 8)
		wrong++;
}

static void *calls(void *arg)
{
	for (int i = 0; i < ROUNDS; i++) {
		int status = system("test \"$KEY\" = value && exit 7");

		if (!WIFEXITED(status) || WEXITSTATUS(status) != 7)
			wrong++;
		one_stream("echo \"$KEY\"; exit 3", "value\n", 3);
	}
	return arg;
}

/* As system() and popen() are described: what must not go wrong with one thread either. */
static void alone(void)
{
	char got[64] = "", name[] = "/tmp/shells-XXXXXX", command[64];
	int fd = mkstemp(name);
	FILE *first = popen("cat >/dev/null", "w"), *second = popen("sleep 0.1; cat; exit 5", "we");

	snprintf(command, sizeof(command), "cat >%s", name);
	/* The second and the third must not keep the first one's end. */
	if (!first || !second || pclose(first) != 0 || fputs("x", second) < 0 || fclose(second) != 5 << 8)
		wrong++;
	FILE *third = popen(command, "w");
	if (!third || fputs("written", third) < 0 || pclose(third) != 0 || read(fd, got, sizeof(got)) != 7)
		wrong++;
	unlink(name);
	if (popen("true", "x") || popen("true", "rw") || system(NULL) != 1)
		wrong++;
	if (system("kill -INT $$") != SIGINT || system("exit 300") != (300 & 255) << 8)
		wrong++;
	FILE *none = fopen("/dev/null", "r");
	if (!none || fclose(none) != 0)
		wrong++;
	if (waitpid(-1, NULL, WNOHANG) != -1)
		wrong++;
}

int main(void)
{
	pthread_t thread[THREADS], looker;
	char *text = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int nr = 0;

	made = (char **)mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (; environ[nr]; nr++)
		made[nr] = text = strcpy(text, environ[nr]) + strlen(environ[nr]) + 1,
		made[nr] -= strlen(environ[nr]) + 1;
	made[nr] = strcpy(text, "KEY=value");
	environ = made;
	alone();
	pthread_create(&looker, NULL, looks, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, calls, NULL);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	done = 1;
	pthread_join(looker, NULL);
	printf("%d wrong, environ %s\n", wrong, changed || environ != made ? "changed" : "as it was");
	return wrong || changed;
}
