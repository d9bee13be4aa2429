/* SPDX-License-Identifier: MIT */
/*
 * `anonmm run`: start a program with the preload library in it, and wait for it.
 *
 * Whatever cannot work is refused here, before the program exists, with a line that says why. The library in the
 * program could only end the program. The launcher opens what the library will open (swap device, userfaultfd), and
 * closes it again.
 *
 * The launcher does not change the terminal or the process group. The program gets the terminal's signals itself.
 * Signals that are sent to the launcher alone are passed on.
 */
#include "cli/cli.h"
#include "base/size.h"
#include "cli/live.h"
#include "contract/swapdev.h"
#include "host/fd.h"
#include "host/host.h"
#include "lib/governor.h"
#include "mm/pager.h"
#include "run/environment.h"
#include "run/tree/ledger.h"

#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PRELOAD_NAME "libanonmm-preload.so"
#define LEDGER_ROOM 256 /* below a low limit of descriptors: the program's own processes put theirs above */
#define DEFAULT_MEMORY "50%"
#define ENV_PRELOAD_PATH "ANONMM_PRELOAD"

#ifndef ANONMM_PRELOAD_DIR
#define ANONMM_PRELOAD_DIR "/usr/local/lib/anonmm"
#endif

struct options {
	const char *memory;
	const char *memory_max; /* NULL: as memory */
	const char *swap; /* NULL: none */
	bool swap_given;
	const char *faults_text;
	enum anonmm_faults faults;
	bool copy;
	bool stats, json;
	bool per_process; /* each process has the limit for itself */
	const char *core; /* NULL: full */
	bool fallback; /* a host that refuses us: run it without a limit */
	const char *stats_path; /* NULL: standard error */
	char **command;

	/* From the above */
	uint64_t memory_bytes, memory_max_bytes;
	bool follows; /* --memory auto */
	int stats_fd;
	bool native; /* it came to that */
	char program[PATH_MAX];
	char preload[PATH_MAX];
};

static const char help[] =
	"usage: anonmm run [OPTION]... [--] PROGRAM [ARGUMENT]...\n"
	"\n"
	"Run PROGRAM, unmodified, with a limit on the RAM that its memory takes. What does not fit is\n"
	"kept on a swap device of its own and comes back when it is touched. malloc and private anonymous\n"
	"mappings are managed; code, stacks and mapped files are not. The limit holds for PROGRAM and all\n"
	"that it starts, together.\n"
	"\n"
	"options:\n"
	"  --memory SIZE|PERCENT  the limit: 64M, 1.5G, 25% of what the host or the control group has.\n"
	"                         At least 4M; default " DEFAULT_MEMORY
	". auto: it follows what the host and the\n"
	"                         control group leave for it, and goes down while they are short of memory\n"
	"  --memory-max SIZE|PERCENT  how far `anonmm limit` may raise it; default: not at all. With auto: "
	"the\n"
	"                         most that it takes; default: all\n"
	"  --per-process          each process has the limit for itself\n"
	"  --swap URI             where pages go: file:PATH?size=SIZE (a directory: an unlinked file in "
	"it),\n"
	"                         zram: (compressed memory, a part of the limit; with ?size=SIZE besides "
	"it),\n"
	"                         or none. Given several times, the first is used first, and what gets old\n"
	"                         in zram: goes on to the one behind it. Default " DEFAULT_SWAP "\n"
	"  --faults MODE          who serves page faults. thread: a thread of anonmm's, any program works.\n"
	"                         signal: the faulting thread itself; needs no privilege, but setuid\n"
	"                         programs that an ordinary user starts are then without theirs. auto\n"
	"                         (default): signal, which is faster, unless something speaks against it\n"
	"                         (`anonmm doctor` says which and why)\n"
	"  --no-move              copy pages even where the kernel could move them (as before Linux 6.8)\n"
	"  --fallback MODE        where the host refuses userfaultfd. fail (default): the program does not "
	"start.\n"
	"                         native: it runs without a limit, after a line that says so\n"
	"  --core MODE            core dumps. full (default): a program that dies of a signal has all its "
	"memory "
	"brought in\n"
	"                         first, beyond the limit, as far as the host has room. resident: what is in "
	"swap is\n"
	"                         left out. Without core dumps (ulimit -c 0) there is no difference\n"
	"  --stats[=FILE]         tell at the end what was counted, on standard error or in FILE\n"
	"  --json                 tell it as JSON; implies --stats\n"
	"  --help                 this text\n"
	"\n"
	"exit status: the program's; 128+N when signal N killed it; 125 when anonmm failed, 126 when the\n"
	"program cannot be run, 127 when there is none.\n"
	"\n"
	"environment: ANONMM_OFF=1, set for a program that the managed one starts, lets it run unmanaged.\n"
	"ANONMM_PRELOAD names another " PRELOAD_NAME ".\n"
	"\n"
	"examples:\n"
	"  anonmm run --memory 2G -- ./job input\n"
	"  anonmm run --memory 25% --swap 'file:/scratch?size=64G' --stats -- python3 job.py\n"
	"  anonmm run --memory 512M --json --stats=sort.json -- sort -S 4G big.txt -o sorted.txt\n";

/* ---- Options ---------------------------------------------------------------------------- */

enum {
	OPTION_MEMORY = 1,
	OPTION_MEMORY_MAX,
	OPTION_PER_PROCESS,
	OPTION_SWAP,
	OPTION_FAULTS,
	OPTION_FALLBACK,
	OPTION_CORE,
	OPTION_STATS,
	OPTION_JSON,
	OPTION_NO_MOVE,
	OPTION_HELP
};

static const struct option long_options[] = {
	{"memory", required_argument, NULL, OPTION_MEMORY},
	{"memory-max", required_argument, NULL, OPTION_MEMORY_MAX},
	{"per-process", no_argument, NULL, OPTION_PER_PROCESS},
	{"swap", required_argument, NULL, OPTION_SWAP},
	{"faults", required_argument, NULL, OPTION_FAULTS},
	{"fallback", required_argument, NULL, OPTION_FALLBACK},
	{"core", required_argument, NULL, OPTION_CORE},
	{"stats", optional_argument, NULL, OPTION_STATS},
	{"json", no_argument, NULL, OPTION_JSON},
	{"no-move", no_argument, NULL, OPTION_NO_MOVE},
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

static int take_fallback(struct options *options, const char *mode)
{
	options->fallback = !strcmp(mode, "native");
	if (options->fallback || !strcmp(mode, "fail"))
		return 0;
	cli_say("--fallback %s: must be native or fail", mode);
	return EXIT_OURS + 1;
}

static int take_core(struct options *options, const char *mode)
{
	options->core = strcmp(mode, "full") ? mode : NULL;
	if (!options->core || !strcmp(mode, "resident"))
		return 0;
	cli_say("--core %s: must be full or resident", mode);
	return EXIT_OURS + 1;
}

/* The first one takes the place of the default; more of them stand behind it. */
static int take_swap(struct options *options, const char *uri)
{
	const char *before = options->swap_given ? options->swap : NULL;
	char *both;

	options->swap_given = true;
	if (!before) {
		options->swap = strcmp(uri, "none") ? uri : NULL;
		return 0;
	}
	if (asprintf(&both, "%s,%s", before, uri) < 0) {
		cli_say("no memory");
		return EXIT_OURS + 1;
	}
	options->swap = both; /* as long as this process lives */
	return 0;
}

/* 0: go on; else the exit status plus one, so that help's 0 is told from it. */
static int take_option(struct options *options, int option)
{
	switch (option) {
	case OPTION_MEMORY:
		options->memory = optarg;
		return 0;
	case OPTION_MEMORY_MAX:
		options->memory_max = optarg;
		return 0;
	case OPTION_PER_PROCESS:
		options->per_process = true;
		return 0;
	case OPTION_SWAP:
		return take_swap(options, optarg);
	case OPTION_FAULTS:
		options->faults_text = optarg;
		return 0;
	case OPTION_FALLBACK:
		return take_fallback(options, optarg);
	case OPTION_CORE:
		return take_core(options, optarg);
	case OPTION_STATS:
		options->stats = true;
		options->stats_path = optarg;
		return 0;
	case OPTION_JSON:
		options->stats = options->json = true;
		return 0;
	case OPTION_NO_MOVE:
		options->copy = true;
		return 0;
	case OPTION_HELP:
		fputs(help, stdout);
		return 0 + 1;
	default: /* getopt has said what is wrong */
		fputs("anonmm: `anonmm run --help` tells the options\n", stderr);
		return EXIT_OURS + 1;
	}
}

static int take_options(struct options *options, int argc, char **argv)
{
	int option;

	argv[0] = "anonmm run"; /* for getopt's messages */
	while ((option = getopt_long(argc, argv, "+h", long_options, NULL)) != -1) {
		int done = take_option(options, option == 'h' ? OPTION_HELP : option);
		if (done)
			return done;
	}
	options->command = argv + optind;
	if (*options->command)
		return 0;
	cli_say("no program to run; `anonmm run --help` tells how");
	return EXIT_OURS + 1;
}

/* ---- Checks: each says what it found; 0 or an exit status ------------------------------------ */

static int check_size(const char *option, const char *text, uint64_t whole, uint64_t *bytes)
{
	int error = size_parse_share(text, whole, bytes);

	if (!error)
		return 0;
	cli_say("%s %s: %s; write a size as 64M or 1.5G, or a share as 25%%", option, text,
		error == -ERANGE ? "too large" : "not a size");
	return EXIT_OURS;
}

/* => memory_max_bytes is 0, or what was asked for */
static int check_memory_max(struct options *options)
{
	char asked[32], most[32];

	if (!options->memory_max_bytes || options->memory_max_bytes >= options->memory_bytes)
		return 0;
	cli_say("--memory-max %s: %s is less than the limit itself, %s", options->memory_max,
		size_text(options->memory_max_bytes, most, sizeof(most)),
		size_text(options->memory_bytes, asked, sizeof(asked)));
	return EXIT_OURS;
}

static int check_memory(struct options *options)
{
	char whole_text[32], least[32], asked[32];
	uint64_t whole = memory_of_host();
	int status = 0;

	if (options->memory_max)
		status = check_size("--memory-max", options->memory_max, whole, &options->memory_max_bytes);
	if (status)
		return status;
	options->follows = !strcmp(options->memory, "auto");
	if (options->follows)
		options->memory_bytes = governor_first(
			"", options->memory_max_bytes ? options->memory_max_bytes : governor_most());
	else
		status = check_size("--memory", options->memory, whole, &options->memory_bytes);
	if (!status)
		status = check_memory_max(options);
	if (status)
		return status;
	if (options->memory_bytes >= ANONMM_MEMORY_MIN)
		return 0;
	cli_say("--memory %s: %s is less than what can work, %s (this host has %s)", options->memory,
		size_text(options->memory_bytes, asked, sizeof(asked)),
		size_text(ANONMM_MEMORY_MIN, least, sizeof(least)),
		size_text(whole, whole_text, sizeof(whole_text)));
	return EXIT_OURS;
}

static int check_faults(struct options *options)
{
	static const char *const names[] = {
		[ANONMM_FAULTS_AUTO] = "auto",
		[ANONMM_FAULTS_THREAD] = "thread",
		[ANONMM_FAULTS_SIGNAL] = "signal",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(options->faults_text, names[i]))
			continue;
		options->faults = (enum anonmm_faults)i;
		return 0;
	}
	cli_say("--faults %s: must be auto, thread or signal", options->faults_text);
	return EXIT_OURS;
}

static int check_swap(const struct options *options)
{
	struct swapdev *swaps[SWAPDEV_CHAIN];
	char why[512], memory[32];
	uint64_t slots = 0;
	int nr = 0;

	if (options->swap)
		nr = swapdev_open_all(
			options->swap, options->memory_bytes, swaps, SWAPDEV_CHAIN, why, sizeof(why));
	if (nr < 0) {
		cli_say("%s", why);
		return EXIT_OURS;
	}
	for (int i = 0; i < nr; i++) {
		slots += swaps[i]->nr_slots;
		swaps[i]->ops->close(swaps[i]);
	}
	if (pager_frames_for(options->memory_bytes, slots) >= PAGER_MIN_FRAMES)
		return 0;
	cli_say("--memory %s does not pay for the tables of this much swap (%s, %lu MiB): take more memory, "
		"or a smaller size",
		size_text(options->memory_bytes, memory, sizeof(memory)),
		options->swap ? options->swap : "none", slots >> (20 - PAGE_SHIFT));
	return EXIT_OURS;
}

static int check_machine(struct options *options)
{
	char why[512];

	enum anonmm_faults faults = options->faults;
	const char *reason;

	if (machine_choose(&faults, &reason, options->copy, why, sizeof(why)) == 0)
		return 0;
	cli_say("%s", why);
	if (!options->fallback)
		return EXIT_OURS;
	options->native = true;
	cli_say("'%s' runs without a limit (--fallback native)", options->command[0]);
	return 0;
}

static bool preload_at(char *path, const char *dir, size_t dir_len, const char *below)
{
	int len = snprintf(path, PATH_MAX, "%.*s%s/" PRELOAD_NAME, (int)dir_len, dir, below);
	return len < PATH_MAX && access(path, R_OK) == 0;
}

/* Next to this program as in a build directory, or where an installation has it. */
static bool find_preload(char *path)
{
	const char *named = getenv(ENV_PRELOAD_PATH);
	char self[PATH_MAX];

	if (named && *named)
		return realpath(named, path) != NULL;
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[len > 0 ? len : 0] = '\0';
	char *slash = strrchr(self, '/');
	size_t dir_len = slash ? (size_t)(slash - self) : 0;
	return preload_at(path, self, dir_len, "") || preload_at(path, self, dir_len, "/../lib/anonmm") ||
	       preload_at(path, self, dir_len, "/../lib") ||
	       preload_at(path, ANONMM_PRELOAD_DIR, strlen(ANONMM_PRELOAD_DIR), "");
}

static int check_preload(struct options *options)
{
	if (!find_preload(options->preload)) {
		cli_say("%s was not found, neither beside this program nor in its lib directory; name it in "
			"%s",
			PRELOAD_NAME, ENV_PRELOAD_PATH);
		return EXIT_OURS;
	}
	if (!strpbrk(options->preload, " :"))
		return 0;
	cli_say("'%s': the dynamic linker takes no path with a blank or a colon in LD_PRELOAD; install it "
		"elsewhere",
		options->preload);
	return EXIT_OURS;
}

static int open_stats(struct options *options)
{
	options->stats_fd = STDERR_FILENO;
	if (!options->stats_path)
		return 0;
	options->stats_fd = open(options->stats_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (options->stats_fd >= 0)
		return 0;
	cli_say("--stats=%s: cannot be written: %s", options->stats_path, strerror(errno));
	return EXIT_OURS;
}

static int check_all(struct options *options)
{
	int status = check_memory(options);

	if (!status)
		status = check_faults(options);
	if (!status)
		status = program_check(options->command[0], options->program, sizeof(options->program));
	if (!status)
		status = check_preload(options);
	if (!status)
		status = check_machine(options);
	if (!status && !options->native)
		status = check_swap(options);
	if (!status)
		status = open_stats(options);
	return status;
}

/* ---- What the program gets -------------------------------------------------------------------- */

/* The program enters itself. */
static void fill_ledger(struct ledger *ledger, const struct options *options)
{
	ledger->magic = LEDGER_MAGIC;
	ledger->shared = !options->per_process;
	ledger->most = max_u64(options->memory_max_bytes, options->memory_bytes);
	if (options->follows && !options->memory_max_bytes)
		ledger->most = max_u64(governor_most(), ANONMM_MEMORY_MIN);
	atomic_store(&ledger->cap, ledger->most);
	atomic_store(&ledger->limit, options->memory_bytes);
}

/* The ledger of the run: mapped, and named in the environment. NULL: errno says why. */
static struct ledger *make_ledger(const struct options *options)
{
	char path[64], which[64];
	int fd = host_fd_raise(memfd_create("anonmm-ledger", MFD_CLOEXEC), FD_PLACE_RUN, LEDGER_ROOM);

	/* The program inherits the descriptor. */
	if (fd < 0 || fcntl(fd, F_SETFD, 0) < 0 || ftruncate(fd, (off_t)LEDGER_BYTES) < 0)
		return NULL;
	struct ledger *ledger = mmap(NULL, LEDGER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (ledger == MAP_FAILED)
		return NULL;
	if (getrandom(&ledger->id, sizeof(ledger->id), 0) != sizeof(ledger->id))
		return NULL;
	fill_ledger(ledger, options);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), fd);
	snprintf(which, sizeof(which), "%lx:%d", ledger->id, fd);
	return setenv(ENV_STATS, path, 1) || setenv(ENV_RUN, which, 1) ? NULL : ledger;
}

static int set_or_unset(const char *name, const char *value)
{
	return value ? setenv(name, value, 1) : unsetenv(name);
}

static int set_preload(const char *path)
{
	const char *old = getenv("LD_PRELOAD");
	char *text;

	if (asprintf(&text, "%s%s%s", path, old && *old ? ":" : "", old ? old : "") < 0)
		return -1;
	int error = setenv("LD_PRELOAD", text, 1);
	free(text);
	return error;
}

static int set_environment(const struct options *options)
{
	char memory[32], most[32];

	if (options->native) /* nor a limit that we were given ourselves */
		return setenv(ENV_OFF, "1", 1);
	snprintf(memory, sizeof(memory), "%lu", options->memory_bytes);
	snprintf(most, sizeof(most), "%lu", options->memory_max_bytes);
	return setenv(ENV_MEMORY, options->follows ? "auto" : memory, 1) ||
	       set_or_unset(ENV_MEMORY_MAX, options->memory_max ? most : NULL) ||
	       set_or_unset(ENV_SWAP, options->swap) || setenv(ENV_FAULTS, options->faults_text, 1) ||
	       set_or_unset(ENV_COPY, options->copy ? "1" : NULL) || unsetenv(ENV_OFF) ||
	       set_or_unset(ENV_CORE, options->core) ||
	       set_or_unset(ENV_OPTIONAL, options->fallback ? "1" : NULL) || set_preload(options->preload);
}

/* ---- Start and wait --------------------------------------------------------------------------- */

static const int passed_on[] = {
	SIGTERM, SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH, SIGCONT};

static void watched_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGCHLD);
	for (unsigned i = 0; i < ARRAY_SIZE(passed_on); i++)
		sigaddset(set, passed_on[i]);
}

static _Noreturn void become(const struct options *options, const sigset_t *mask)
{
	sigprocmask(SIG_SETMASK, mask, NULL);
	execvp(options->program, options->command);
	int error = errno;
	cli_say("'%s' cannot be run: %s", options->program, strerror(error));
	_exit(error == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN);
}

/* The terminal's signals reach the whole foreground group: the program has its own already. */
static void pass_on(pid_t child, const siginfo_t *info)
{
	if (info->si_code <= 0 || info->si_signo == SIGHUP)
		kill(child, info->si_signo);
}

/* => the watched signals are blocked. The wait status, and what the child used */
static int wait_for(pid_t child, const sigset_t *watched, struct rusage *usage)
{
	int status;

	for (;;) {
		pid_t done = wait4(child, &status, WNOHANG, usage);
		if (done == child)
			return status;
		siginfo_t info;
		if (sigwaitinfo(watched, &info) > 0 && info.si_signo != SIGCHLD)
			pass_on(child, &info);
	}
}

static int exit_status(int status)
{
	return WIFSIGNALED(status) ? EXIT_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
}

static double now(void)
{
	return (double)host_now_ns() / 1e9;
}

/* The exit status of the program, or ours. */
static int start_and_wait(const struct options *options, struct report *report)
{
	sigset_t watched, mask;
	struct rusage usage;

	signal(SIGCHLD, SIG_DFL); /* ignored, as some parents leave it, nobody could be waited for */
	watched_signals(&watched);
	sigprocmask(SIG_BLOCK, &watched, &mask);
	double start = now();
	pid_t child = fork();
	if (child < 0) {
		cli_say("cannot start a process: %s", strerror(errno));
		return EXIT_OURS;
	}
	if (!child)
		become(options, &mask);
	report->status = exit_status(wait_for(child, &watched, &usage));
	report->seconds = now() - start;
	report->peak_bytes = (uint64_t)usage.ru_maxrss * KIB;
	return report->status;
}

static void write_report(const struct options *options, const struct report *report)
{
	int error = report_write(options->stats_fd, report, options->json);
	if (error)
		cli_say("the statistics could not be written%s%s: %s", options->stats_path ? " to " : "",
			options->stats_path ? options->stats_path : "", strerror(-error));
}

int cmd_run(int argc, char **argv)
{
	struct options options = {.memory = DEFAULT_MEMORY, .swap = DEFAULT_SWAP, .faults_text = "auto"};

	int done = take_options(&options, argc, argv);
	if (done)
		return done - 1;
	int status = check_all(&options);
	if (status)
		return status;
	struct ledger *ledger = make_ledger(&options);
	if (!ledger || set_environment(&options)) {
		cli_say("cannot prepare the program's environment: %s", strerror(errno));
		return EXIT_OURS;
	}
	struct report report = {
		.command = options.command,
		.ledger = ledger,
		.swap = options.swap ? options.swap : "none",
		.memory_bytes = options.memory_bytes,
	};
	status = start_and_wait(&options, &report);
	live_sweep(geteuid());
	if (options.stats)
		write_report(&options, &report);
	return status;
}
