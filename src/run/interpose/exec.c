/* SPDX-License-Identifier: MIT */
/*
 * exec and spawn: what a managed program starts is managed too.
 *
 * The configuration is in the environment. A program may pass an environment of its own, even an empty one. The
 * settings are added to it, because the program must not drop the limit. ANONMM_OFF=1 in the environment makes a
 * program unmanaged. (system() and popen(), in shell.c, pass the program's own environment as it is.) Static and
 * privileged programs run unmanaged, because the dynamic linker does not load the library there.
 *
 * After vfork, and inside posix_spawn, the child runs in the parent's memory until it execs, and the same pager
 * serves it. A vfork's child must not allocate, so the exec functions do not.
 */
#include "run/run.h"
#include "run/raw.h"

#include <alloca.h>
#include <fcntl.h>
#include <paths.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SETTINGS_MAX 16
#define PRELOAD "LD_PRELOAD="

static char *settings[SETTINGS_MAX]; /* [I] "ANONMM_NAME=VALUE" as this program got them */
static unsigned nr_settings; /* [I] */
static char *own_path; /* [I] of this library's file */

void exec_start(char **envp)
{
	Dl_info info;

	if (dladdr(&run, &info) && info.dli_fname)
		own_path = own_text(info.dli_fname);
	for (; *envp && nr_settings < SETTINGS_MAX; envp++) {
		if (strncmp(*envp, "ANONMM_", strlen("ANONMM_")))
			continue;
		settings[nr_settings] = own_text(*envp);
		if (settings[nr_settings])
			nr_settings++;
	}
}

/* ---- Environments ----------------------------------------------------------------------- */

static bool same_variable(const char *entry, const char *setting)
{
	return !strncmp(entry, setting, strcspn(setting, "=") + 1);
}

static bool env_has(char *const *envp, const char *setting)
{
	for (; *envp; envp++)
		if (same_variable(*envp, setting))
			return true;
	return false;
}

static size_t env_count(char *const *envp)
{
	size_t nr = 0;
	while (envp[nr])
		nr++;
	return nr;
}

static char *const no_env[] = {NULL};

static char *const *env_or_none(char *const *envp)
{
	return envp ? envp : no_env;
}

static const char *env_preload(char *const *envp)
{
	for (; *envp; envp++)
		if (!strncmp(*envp, PRELOAD, strlen(PRELOAD)))
			return *envp + strlen(PRELOAD);
	return "";
}

/* Room that env_complete() needs, and the text that LD_PRELOAD needs. */
static size_t env_room(char *const *envp)
{
	return (env_count(envp) + nr_settings + 2) * sizeof(char *);
}

static size_t preload_room(char *const *envp)
{
	return strlen(PRELOAD) + strlen(own_path) + 1 + strlen(env_preload(envp)) + 1;
}

/* @envp with what it lacks: LD_PRELOAD names us first, the settings are there. => room as above */
static void env_complete(char *const *envp, char **out, char *preload)
{
	const char *old = env_preload(envp);
	bool named = strstr(old, own_path);
	size_t nr = 0;

	for (; *envp; envp++)
		if (named || strncmp(*envp, PRELOAD, strlen(PRELOAD)))
			out[nr++] = *envp;
	char *const *given = out;
	out[nr] = NULL;
	for (unsigned i = 0; i < nr_settings; i++) {
		if (env_has(given, settings[i]))
			continue;
		out[nr++] = settings[i];
		out[nr] = NULL;
	}
	if (!named) {
		stpcpy(stpcpy(stpcpy(stpcpy(preload, PRELOAD), own_path), *old ? ":" : ""), old);
		out[nr++] = preload;
		out[nr] = NULL;
	}
}

/*
 * Is the program's environment to be completed? A bad pointer in it goes to the kernel as it is, and the kernel
 * reports it.
 */
static bool env_is_ours(char *const *envp)
{
	return run.active && own_path && nr_settings && user_texts(envp) && !env_has(envp, ENV_OFF "=");
}

/* The environment to pass on, on the caller's stack: valid until it returns. */
#define env_for_child(envp)                                                                                  \
	({                                                                                                   \
		char *const *given_ = env_or_none(envp);                                                     \
		if (env_is_ours(given_)) {                                                                   \
			char **complete_ = alloca(env_room(given_));                                         \
			env_complete(given_, complete_, alloca(preload_room(given_)));                       \
			given_ = complete_;                                                                  \
		}                                                                                            \
		given_;                                                                                      \
	})

/* ---- exec ------------------------------------------------------------------------------- */

#define EXEC_TRIES 256

static void touch_texts(char *const *texts)
{
	char *text;

	for (; texts && user_read(&text, texts, sizeof(text)) && text; texts++)
		guard_touch_text(text);
}

/*
 * In signal mode the kernel cannot bring in what it reads. Bring it in now; reclaim may take it away before the
 * kernel reads.
 */
static void touch_all(const char *path, char *const *argv, char *const *envp)
{
	if (!run.active || !run.signal_mode)
		return;
	guard_touch_text(path);
	touch_texts(argv);
	touch_texts(envp);
}

static void before_exec(void)
{
	if (!run.active)
		return;
	real_unpair_self(run.machine);
	record_end(RECORD_EXECED);
	share_exec_begin();
}

/* The exec has failed: the process, its record and its share go on. */
static int after_exec(int result)
{
	if (run.active) {
		record_end(RECORD_RUNNING);
		share_exec_failed();
	}
	return result;
}

/* Make @call. Make it again while it fails because a page went away before the kernel read it. */
#define exec_with(path, argv, env, call)                                                                     \
	({                                                                                                   \
		int tries_ = 0, result_;                                                                     \
		before_exec();                                                                               \
		do {                                                                                         \
			touch_all(path, argv, env);                                                          \
			result_ = (call);                                                                    \
		} while (result_ < 0 && errno == EFAULT && run.signal_mode && ++tries_ < EXEC_TRIES);        \
		after_exec(result_);                                                                         \
	})

EXPORT int execve(const char *path, char *const *argv, char *const *envp)
{
	char *const *env = env_for_child(envp);

	return exec_with(path, argv, env, REAL(execve)(path, argv, env));
}

EXPORT int execvpe(const char *file, char *const *argv, char *const *envp)
{
	char *const *env = env_for_child(envp);

	return exec_with(file, argv, env, REAL(execvpe)(file, argv, env));
}

EXPORT int fexecve(int fd, char *const *argv, char *const *envp)
{
	char *const *env = env_for_child(envp);

	return exec_with(NULL, argv, env, REAL(fexecve)(fd, argv, env));
}

EXPORT int execveat(int fd, const char *path, char *const *argv, char *const *envp, int flags)
{
	char *const *env = env_for_child(envp);

	return exec_with(path, argv, env, REAL(execveat)(fd, path, argv, env, flags));
}

EXPORT int execv(const char *path, char *const *argv)
{
	return execve(path, argv, environ);
}

EXPORT int execvp(const char *file, char *const *argv)
{
	return execvpe(file, argv, environ);
}

static size_t count_args(va_list args)
{
	size_t nr = 1;
	while (va_arg(args, char *))
		nr++;
	return nr;
}

static void take_args(const char *first, char **argv, va_list *args)
{
	*argv++ = (char *)first;
	if (!first)
		return;
	while ((*argv++ = va_arg(*args, char *)))
		;
}

/* The arguments of an execl-like call as an array on the caller's stack; @rest stands behind the NULL after it. */
#define ARGV_FROM(first, argv, rest)                                                                         \
	va_list rest, counted_;                                                                              \
	va_start(rest, first);                                                                               \
	va_copy(counted_, rest);                                                                             \
	char **argv = alloca(((first ? count_args(counted_) : 0) + 1) * sizeof(char *));                     \
	va_end(counted_);                                                                                    \
	take_args(first, argv, &rest)

EXPORT int execl(const char *path, const char *arg, ...)
{
	ARGV_FROM(arg, argv, rest);
	va_end(rest);
	return execv(path, argv);
}

EXPORT int execlp(const char *file, const char *arg, ...)
{
	ARGV_FROM(arg, argv, rest);
	va_end(rest);
	return execvp(file, argv);
}

EXPORT int execle(const char *path, const char *arg, ...)
{
	ARGV_FROM(arg, argv, rest);
	char *const *envp = va_arg(rest, char *const *);
	va_end(rest);
	return execve(path, argv, envp);
}

/* ---- spawn ------------------------------------------------------------------------------ */

/*
 * libc's child has reset all handlers, the library's included, and has blocked all signals. So in signal mode nothing
 * that the child or the kernel reads may be managed.
 */
struct spawning {
	bool search; /* posix_spawnp */
	const char *path;
	const posix_spawn_file_actions_t *actions;
	const posix_spawnattr_t *attr;
	char *const *argv, *const *env;
	posix_spawn_file_actions_t own_actions;
	posix_spawnattr_t own_attr;
	pid_t pid;
	int error;
};

static void spawn_work(void *p)
{
	struct spawning *s = p;

	if (run.active)
		real_unpair_self(run.machine);
	if (s->search)
		s->error = REAL(posix_spawnp)(&s->pid, s->path, s->actions, s->attr, s->argv, s->env);
	else
		s->error = REAL(posix_spawn)(&s->pid, s->path, s->actions, s->attr, s->argv, s->env);
}

/*
 * Copy an array of strings, and the strings, to one piece of memory that is not managed. NULL: no memory. Another
 * thread may change the array and the strings meanwhile, as in an environment. What fits is copied; the kernel's copy
 * would be no better.
 */
static char **own_texts(char *const *texts)
{
	size_t nr = env_count(texts), bytes = (nr + 1) * sizeof(char *), i;

	for (i = 0; i < nr && texts[i]; i++)
		bytes += strlen(texts[i]) + 1;
	nr = i;
	char **copy = own_alloc(bytes), *end = (char *)copy + bytes;
	if (!copy)
		return NULL;
	char *at = (char *)(copy + nr + 1);
	for (i = 0; i < nr && at < end; i++) {
		char *text = texts[i];
		size_t len = text ? strnlen(text, (size_t)(end - at) - 1) : 0;

		if (!text)
			break;
		copy[i] = memcpy(at, text, len);
		at[len] = '\0';
		at += len + 1;
	}
	copy[i] = NULL;
	return copy;
}

static int spawn_by_copies(struct spawning *s)
{
	char *path = own_text(s->path);
	char **argv = own_texts(env_or_none(s->argv)), **env = own_texts(s->env);

	if (s->actions)
		s->own_actions = *s->actions, s->actions = &s->own_actions;
	if (s->attr)
		s->own_attr = *s->attr, s->attr = &s->own_attr;
	s->path = path;
	s->argv = argv;
	s->env = env;
	if (path && argv && env)
		call_off_managed_stack(spawn_work, s);
	else
		s->error = ENOMEM;
	own_free(path);
	own_free(argv);
	own_free(env);
	return s->error;
}

/* Can all strings be read? If not, the kernel could not read them either. */
static bool can_copy(const struct spawning *s)
{
	return user_text(s->path) && user_texts(env_or_none(s->argv)) && user_texts(s->env);
}

static int spawn(const struct spawning *asked, pid_t *pid)
{
	struct spawning *s, here = *asked;
	int error;

	if (!run.active || !run.signal_mode) {
		spawn_work(&here);
		if (!here.error && pid)
			*pid = here.pid;
		return here.error;
	}
	if (!can_copy(asked))
		return EFAULT;
	s = own_alloc(sizeof(*s));
	if (!s)
		return ENOMEM;
	*s = *asked;
	error = spawn_by_copies(s);
	if (!error && pid)
		*pid = s->pid;
	own_free(s);
	return error;
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attr, char *const *argv, char *const *envp)
{
	char *const *env = env_for_child(envp);
	struct spawning spawning = {.path = path, .actions = actions, .attr = attr, .argv = argv, .env = env};

	return spawn(&spawning, pid);
}

EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attr, char *const *argv, char *const *envp)
{
	char *const *env = env_for_child(envp);
	struct spawning spawning = {
		.search = true, .path = file, .actions = actions, .attr = attr, .argv = argv, .env = env};

	return spawn(&spawning, pid);
}

/*
 * The environment stays as it is: a program that has removed the settings from its own environment did so on purpose.
 */
int exec_spawn_shell(const char *command, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attr, pid_t *pid)
{
	char *argv[] = {"sh", "-c", (char *)command, NULL};
	struct spawning spawning = {.path = _PATH_BSHELL,
		.actions = actions,
		.attr = attr,
		.argv = argv,
		.env = env_or_none(environ)};

	return spawn(&spawning, pid);
}

/* ---- vfork ------------------------------------------------------------------------------ */

/* For the code below. Hidden, so that a direct call reaches it. */
__attribute__((used, visibility("hidden"))) void *vfork_prepare(void);

void *vfork_prepare(void)
{
	if (run.active)
		real_unpair_self(run.machine);
	return (void *)REAL(vfork);
}

/* vfork returns twice on one stack: no frame of ours may be between it and its caller. So: a jump. */
__asm__(".text\n"
	".globl vfork\n"
	".type vfork, @function\n"
	"vfork:\n"
	"	.cfi_startproc\n"
	"	endbr64\n"
	"	subq $8, %rsp\n"
	"	.cfi_adjust_cfa_offset 8\n"
	"	call vfork_prepare\n"
	"	addq $8, %rsp\n"
	"	.cfi_adjust_cfa_offset -8\n"
	"	jmp *%rax\n"
	"	.cfi_endproc\n"
	".size vfork, .-vfork\n");
