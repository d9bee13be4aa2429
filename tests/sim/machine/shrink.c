/* SPDX-License-Identifier: MIT */
/*
 * A failing run, made small: first its operations, then its switches are left out, as long as it fails in the same way.
 *
 * Every try runs in a process of its own, because a failed assertion ends the process. Leaving something out shifts the
 * schedule of what stays, so each try runs several schedules.
 */
#include "sim.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define TRY_SECONDS 20
#define SCHEDULES 12

static void keep_stderr(int fd, struct outcome *outcome, int status)
{
	char text[900];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	outcome->failed = true;
	if (WIFSIGNALED(status))
		snprintf(outcome->why, sizeof(outcome->why), "killed by signal %d (%s)\n    %s",
			WTERMSIG(status),
			WTERMSIG(status) == SIGALRM ? "it took too long" : strsignal(WTERMSIG(status)), text);
	else
		snprintf(outcome->why, sizeof(outcome->why), "exit status %d\n    %s", WEXITSTATUS(status),
			text);
}

bool sim_in_child(void (*run)(void *), void *arg, struct outcome *outcome)
{
	FILE *words = tmpfile();
	int status;

	outcome->failed = false;
	fflush(NULL);
	pid_t pid = fork();

	if (pid < 0 || !words) {
		perror("sim-machine");
		exit(2);
	}
	if (pid == 0) {
		dup2(fileno(words), STDERR_FILENO);
		run(arg);
		fflush(NULL);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (status != 0 && !outcome->failed)
		keep_stderr(fileno(words), outcome, status);
	fclose(words);
	return outcome->failed;
}

struct
try {
	const struct config *config;
	struct outcome *outcome;
	const struct script *script;
	bool verbose;
};

static void run_try(void *arg)
{
	const struct try *t = arg;

	alarm(TRY_SECONDS);
	sim_run(t->config, t->outcome, t->script, t->verbose);
}

bool sim_try(const struct config *c, struct outcome *outcome, const struct script *script, bool verbose)
{
	struct try t = {c, outcome, script, verbose};

	return sim_in_child(run_try, &t, outcome);
}

/* ---- Is it the same failure? ---------------------------------------------------------------------------- */

/* The words after the place, without numbers. */
static void essence(const char *why, char *out, size_t len)
{
	const char *colon = strncmp(why, "point ", 6) == 0 ? strstr(why, ": ") : NULL;
	const char *last = colon;
	size_t n = 0;

	/*
	 * "point N, thread, operation: what": the operation may have colons of its own, but then a number before each.
	 */
	while (last && (last = strstr(last + 1, ": ")) && isdigit((unsigned char)last[-1]))
		colon = last;
	for (const char *p = colon ? colon : why; *p && *p != '\n' && n + 1 < len; p++)
		if (isalpha((unsigned char)*p))
			out[n++] = *p;
	out[n] = '\0';
	if (strncmp(why, "killed", 6) == 0 && strchr(why, '\n'))
		snprintf(out, len, "%.150s", strchr(why, '\n'));
}

static bool same_failure(const char *a, const char *b)
{
	char x[160], y[160];

	essence(a, x, sizeof(x));
	essence(b, y, sizeof(y));
	return strcmp(x, y) == 0;
}

/* ---- Operations --------------------------------------------------------------------------------------------- */

struct shrinking {
	struct config *config;
	struct outcome *outcome; /* of the smallest failure; its decisions repeat it */
	struct outcome *trial;
};

static void adopt(struct shrinking *s)
{
	memcpy(s->outcome->why, s->trial->why, sizeof(s->outcome->why));
	s->outcome->points = s->trial->points;
	s->outcome->nr_decisions = s->trial->nr_decisions;
	memcpy(s->outcome->decisions, s->trial->decisions,
		s->trial->nr_decisions * sizeof(*s->trial->decisions));
}

/* Does it still fail, by some schedule? */
static bool still_fails(struct shrinking *s, unsigned schedules)
{
	uint64_t first = s->config->schedule;

	for (unsigned i = 0; i < schedules; i++) {
		s->config->schedule = i == 0 ? first : s->config->seed + 1000003ull * i;
		if (sim_try(s->config, s->trial, NULL, false) &&
			same_failure(s->trial->why, s->outcome->why)) {
			adopt(s);
			return true;
		}
	}
	s->config->schedule = first;
	return false;
}

static unsigned nr_left(const struct config *c, unsigned thread)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < c->nr_ops[thread]; i++)
		nr += !c->ops[thread][i].dropped;
	return nr;
}

/* Try without operations [from, from + nr) of the thread. */
static void drop_ops(struct shrinking *s, unsigned thread, unsigned from, unsigned nr)
{
	struct op saved[MAX_OPS];
	bool any = false;

	memcpy(saved, s->config->ops[thread], sizeof(saved));
	for (unsigned i = from; i < from + nr && i < s->config->nr_ops[thread]; i++) {
		any = any || !s->config->ops[thread][i].dropped;
		s->config->ops[thread][i].dropped = true;
	}
	if (any && !still_fails(s, SCHEDULES))
		memcpy(s->config->ops[thread], saved, sizeof(saved));
}

static void drop_looks(struct shrinking *s)
{
	for (unsigned thread = 0; thread < s->config->nr_threads; thread++) {
		s->config->looks_not[thread] = true;
		if (!still_fails(s, SCHEDULES))
			s->config->looks_not[thread] = false;
	}
}

static void drop_all_ops(struct shrinking *s)
{
	drop_looks(s);
	for (unsigned thread = s->config->nr_threads; thread-- > 0;)
		drop_ops(s, thread, 0, MAX_OPS);
	for (unsigned size = 16; size > 0; size /= 2)
		for (unsigned thread = 0; thread < s->config->nr_threads; thread++)
			for (unsigned from = 0; from < s->config->nr_ops[thread]; from += size)
				drop_ops(s, thread, from, size);
	for (unsigned thread = 0; thread < s->config->nr_threads; thread++)
		for (unsigned from = s->config->nr_ops[thread]; from-- > 0;)
			drop_ops(s, thread, from, 1);
}

/* ---- Switches --------------------------------------------------------------------------------------------------- */

/* Fewer decisions: @from .. @from + @nr of them are left out. */
static bool try_without(
	struct shrinking *s, struct decision *list, unsigned *nr_list, unsigned from, unsigned nr)
{
	static struct decision fewer[MAX_DECISIONS];
	struct script script = {.decisions = fewer};

	for (unsigned i = 0; i < *nr_list; i++)
		if (i < from || i >= from + nr)
			fewer[script.nr++] = list[i];
	if (!sim_try(s->config, s->trial, &script, false) || !same_failure(s->trial->why, s->outcome->why))
		return false;
	memcpy(s->outcome->why, s->trial->why, sizeof(s->outcome->why));
	memcpy(list, fewer, script.nr * sizeof(*list));
	*nr_list = script.nr;
	return true;
}

static void drop_switches(struct shrinking *s, struct decision *list, unsigned *nr)
{
	for (unsigned size = *nr / 2; size > 0; size /= 2)
		for (unsigned from = 0; from < *nr;)
			if (!try_without(s, list, nr, from, size))
				from += size;
}

/* What is not valid is told as soon as it is so: then little of what came after is left to be shrunk. */
static void validate_always(struct shrinking *s)
{
	unsigned before = s->config->validate_every;

	if (!strstr(s->outcome->why, "the world is not valid"))
		return;
	s->config->validate_every = 1;
	if (sim_try(s->config, s->trial, NULL, false) && strstr(s->trial->why, "the world is not valid"))
		adopt(s);
	else
		s->config->validate_every = before;
}

void shrink(struct config *c, struct outcome *outcome, struct outcome *trial)
{
	static struct decision list[MAX_DECISIONS];
	struct shrinking s = {c, outcome, trial};
	unsigned nr;

	validate_always(&s);
	drop_all_ops(&s);
	nr = outcome->nr_decisions;
	memcpy(list, outcome->decisions, nr * sizeof(*list));
	if (nr < MAX_DECISIONS && try_without(&s, list, &nr, 0, 0)) /* the script alone repeats it */
		drop_switches(&s, list, &nr);
	printf("shrunk to");
	for (unsigned i = 0; i < c->nr_threads; i++)
		printf(" %u", nr_left(c, i));
	printf(" operations of the threads, and %u switches:\n  %s\n", nr, outcome->why);
	struct script script = {.nr = nr, .decisions = list};

	sim_try(c, trial, &script, true);
	printf("that was: %s\n", outcome->why);
}
