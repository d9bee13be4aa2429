/* SPDX-License-Identifier: MIT */
/*
 * exec and spawn: what a managed program starts is managed too.
 *
 * The configuration is in the environment. A program that passes an environment of its own, even an
 * empty one, passes ours on nevertheless: the limit is not the program's to drop. Whoever wants a
 * program unmanaged says ANONMM_OFF=1 in its environment. (system() and popen() use the program's
 * own environment as it is.) Static and privileged programs run unmanaged: the dynamic linker does
 * not look at us there.
 *
 * After vfork, and inside posix_spawn, the child runs in the parent's memory until it execs: the same
 * pager serves it. Nothing here allocates, because vfork's child must not.
 */
#include "run/run.h"
#include "run/raw.h"

#include <alloca.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SETTINGS_MAX 16
#define PRELOAD "LD_PRELOAD="

static char *settings[SETTINGS_MAX]; /* [I] "ANONMM_...=..." as this program got them */
static unsigned nr_settings; /* [I] */
static char *own_path; /* [I] of this library */

/* The file that this library was loaded from, by the first entry of LD_PRELOAD that the launcher wrote. */
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

static bool env_wants_us(char *const *envp)
{
	return run.active && own_path && nr_settings && !env_has(envp, ENV_OFF "=");
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

/* The environment to pass on, on the caller's stack: valid until it returns. */
#define env_for_child(envp)                                                                                  \
	({                                                                                                   \
		char *const *given_ = env_or_none(envp);                                                     \
		if (env_wants_us(given_)) {                                                                  \
			char **complete_ = alloca(env_room(given_));                                         \
			env_complete(given_, complete_, alloca(preload_room(given_)));                       \
			given_ = complete_;                                                                  \
		}                                                                                            \
		given_;                                                                                      \
	})

/* ---- exec ------------------------------------------------------------------------------- */

/* In signal mode the kernel cannot bring in what it reads: have it in, as far as that lasts. */
static void touch_text(const char *text)
{
	if (text && run.signal_mode && run_manages(text))
		(void)*(volatile size_t *)&(size_t){strlen(text)};
}

static void touch_texts(char *const *texts)
{
	while (run.signal_mode && texts && *texts)
		touch_text(*texts++);
}

static void before_exec(const char *path, char *const *argv, char *const *envp)
{
	if (!run.active)
		return;
	touch_text(path);
	touch_texts(argv);
	touch_texts(envp);
	uffd_unpair_self(run.machine);
	stats_final(RECORD_EXECED);
}

/* It failed: the process, and its record, go on. */
static int after_exec(int result)
{
	if (run.active && atomic_load(&run.record->pid) == getpid())
		atomic_store(&run.record->has_final, 0);
	return result;
}

EXPORT int execve(const char *path, char *const *argv, char *const *envp)
{
	char *const *env = env_for_child(envp);

	before_exec(path, argv, env);
	return after_exec(REAL(execve)(path, argv, env));
}

EXPORT int execvpe(const char *file, char *const *argv, char *const *envp)
{
	char *const *env = env_for_child(envp);

	before_exec(file, argv, env);
	return after_exec(REAL(execvpe)(file, argv, env));
}

EXPORT int fexecve(int fd, char *const *argv, char *const *envp)
{
	char *const *env = env_for_child(envp);

	before_exec(NULL, argv, env);
	return after_exec(REAL(fexecve)(fd, argv, env));
}

EXPORT int execveat(int fd, const char *path, char *const *argv, char *const *envp, int flags)
{
	char *const *env = env_for_child(envp);

	before_exec(path, argv, env);
	return after_exec(REAL(execveat)(fd, path, argv, env, flags));
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

static void before_spawn(const char *path, char *const *argv, char *const *envp)
{
	if (!run.active)
		return;
	touch_text(path);
	touch_texts(argv);
	touch_texts(envp);
	uffd_unpair_self(run.machine);
}

EXPORT int posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attr, char *const *argv, char *const *envp)
{
	char *const *env = env_for_child(envp);

	before_spawn(path, argv, env);
	return REAL(posix_spawn)(pid, path, actions, attr, argv, env);
}

EXPORT int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
	const posix_spawnattr_t *attr, char *const *argv, char *const *envp)
{
	char *const *env = env_for_child(envp);

	before_spawn(file, argv, env);
	return REAL(posix_spawnp)(pid, file, actions, attr, argv, env);
}

EXPORT int system(const char *command)
{
	before_spawn(command, NULL, NULL);
	return REAL(system)(command);
}

EXPORT FILE *popen(const char *command, const char *mode)
{
	before_spawn(command, NULL, NULL);
	return REAL(popen)(command, mode);
}

/* ---- vfork ------------------------------------------------------------------------------ */

#if defined(__x86_64__) || defined(__aarch64__)

/* For the code below. Hidden, so that a direct call reaches it. */
__attribute__((used, visibility("hidden"))) void *vfork_prepare(void);

void *vfork_prepare(void)
{
	if (run.active)
		uffd_unpair_self(run.machine);
	return (void *)REAL(vfork);
}

/* vfork returns twice on one stack: no frame of ours may be between it and its caller. So: a jump. */
#if defined(__x86_64__)
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
#else
__asm__(".text\n"
	".globl vfork\n"
	".type vfork, %function\n"
	"vfork:\n"
	"	stp x29, x30, [sp, -16]!\n"
	"	bl vfork_prepare\n"
	"	ldp x29, x30, [sp], 16\n"
	"	br x0\n"
	".size vfork, .-vfork\n");
#endif

#else

/* Correct everywhere: a child with memory of its own. */
EXPORT pid_t vfork(void)
{
	return fork();
}

#endif
