/* SPDX-License-Identifier: MIT */
/*
 * What is known of system calls: which arguments are pointers, which way the bytes go, and how many bytes there are.
 *
 * Three kinds of calls are not trapped, though they take pointers:
 *
 *   the mmap family         They take addresses, not buffers. Raw calls of them are not seen, as in thread mode.
 *   clone and its like      They return twice. The kernel writes to thread control blocks, which are not managed
 *                           (threads.c).
 *   set_robust_list, rseq,  libc makes them before a thread has its signal mask and alternate stack. The kernel only
 *   set_tid_address         remembers an address in the thread control block.
 *
 * In a call that is not in the table any argument may be a pointer: all are treated as KIND_TOUCH.
 */
#include "run/guard/guard.h"

#include <sys/syscall.h>

#define IN(arg, n)                                                                                           \
	{                                                                                                    \
		KIND_IN, arg, 0, n                                                                           \
	}
#define OUT(arg, n)                                                                                          \
	{                                                                                                    \
		KIND_OUT, arg, 0, n                                                                          \
	}
#define INOUT(arg, n)                                                                                        \
	{                                                                                                    \
		KIND_INOUT, arg, 0, n                                                                        \
	}
#define TEXT(arg)                                                                                            \
	{                                                                                                    \
		KIND_TEXT, arg, 0, 0                                                                         \
	}
#define IN_ITEMS(arg, with, n)                                                                               \
	{                                                                                                    \
		KIND_IN_ITEMS, arg, with, n                                                                  \
	}
#define OUT_ITEMS(arg, with, n)                                                                              \
	{                                                                                                    \
		KIND_OUT_ITEMS, arg, with, n                                                                 \
	}
#define INOUT_ITEMS(arg, with, n)                                                                            \
	{                                                                                                    \
		KIND_INOUT_ITEMS, arg, with, n                                                               \
	}
#define OUT_RESULT(arg, with, n)                                                                             \
	{                                                                                                    \
		KIND_OUT_RESULT, arg, with, n                                                                \
	}
#define DATA_IN(arg, with)                                                                                   \
	{                                                                                                    \
		KIND_DATA_IN, arg, with, 1                                                                   \
	}
#define DATA_OUT(arg, with)                                                                                  \
	{                                                                                                    \
		KIND_DATA_OUT, arg, with, 1                                                                  \
	}
#define OUT_SIZED(arg, with)                                                                                 \
	{                                                                                                    \
		KIND_OUT_SIZED, arg, with, 0                                                                 \
	}
#define BITS(arg, with)                                                                                      \
	{                                                                                                    \
		KIND_BITS, arg, with, 0                                                                      \
	}
#define MASK(arg)                                                                                            \
	{                                                                                                    \
		KIND_MASK, arg, 0, 8                                                                         \
	}
#define TOUCH(arg)                                                                                           \
	{                                                                                                    \
		KIND_TOUCH, arg, 0, 0                                                                        \
	}
#define SPECIAL(kind, arg)                                                                                   \
	{                                                                                                    \
		kind, arg, 0, 0                                                                              \
	}

#define KNOWN(...)                                                                                           \
	{                                                                                                    \
		.known = true, .spec = { __VA_ARGS__ }                                                       \
	}
#define RUN(function, ...)                                                                                   \
	{                                                                                                    \
		.known = true, .run = function, .spec = { __VA_ARGS__ }                                      \
	}
#define NO_POINTERS                                                                                          \
	{                                                                                                    \
		.known = true                                                                                \
	}

/* Sizes as the kernel has them. */
#define TIMESPEC 16
#define TIMEVAL 16
#define ITIMERSPEC 32
#define STAT 144
#define STATFS 120
#define RUSAGE 144
#define RLIMIT 16
#define SIGINFO 128
#define SIGEVENT 64
#define EPOLL_EVENT 12
#define POLLFD 8
#define SOCKLEN 4

static const struct guard_entry table[] = {
	/* Data */
	[SYS_read] = RUN(guard_run_data, DATA_OUT(1, 2)),
	[SYS_write] = RUN(guard_run_data, DATA_IN(1, 2)),
	[SYS_pread64] = RUN(guard_run_data, DATA_OUT(1, 2)),
	[SYS_pwrite64] = RUN(guard_run_data, DATA_IN(1, 2)),
	[SYS_readv] = RUN(guard_run_vector, TOUCH(1)),
	[SYS_writev] = RUN(guard_run_vector, TOUCH(1)),
	[SYS_preadv] = RUN(guard_run_vector, TOUCH(1)),
	[SYS_pwritev] = RUN(guard_run_vector, TOUCH(1)),
	[SYS_preadv2] = RUN(guard_run_vector, TOUCH(1)),
	[SYS_pwritev2] = RUN(guard_run_vector, TOUCH(1)),
	[SYS_vmsplice] = RUN(guard_run_vmsplice, TOUCH(1)),
	[SYS_sendfile] = KNOWN(INOUT(2, 8)),
	[SYS_splice] = KNOWN(INOUT(1, 8), INOUT(3, 8)),
	[SYS_copy_file_range] = KNOWN(INOUT(1, 8), INOUT(3, 8)),
	[SYS_tee] = NO_POINTERS,
	[SYS_getrandom] = KNOWN(OUT_RESULT(0, 1, 1)),
	[SYS_getdents64] = KNOWN(OUT_RESULT(1, 2, 1)),
	[SYS_process_vm_readv] = KNOWN(TOUCH(1), TOUCH(3)),
	[SYS_process_vm_writev] = KNOWN(TOUCH(1), TOUCH(3)),

	/* Sockets */
	[SYS_sendto] = RUN(guard_run_data, DATA_IN(1, 2), IN_ITEMS(4, 5, 1)),
	[SYS_recvfrom] = RUN(guard_run_data, DATA_OUT(1, 2), INOUT(5, SOCKLEN), OUT_SIZED(4, 5)),
	[SYS_sendmsg] = RUN(guard_run_message, TOUCH(1)),
	[SYS_recvmsg] = RUN(guard_run_message, TOUCH(1)),
	[SYS_sendmmsg] = RUN(guard_run_message, TOUCH(1)),
	[SYS_recvmmsg] = RUN(guard_run_message, TOUCH(1), TOUCH(4)),
	[SYS_bind] = KNOWN(IN_ITEMS(1, 2, 1)),
	[SYS_connect] = KNOWN(IN_ITEMS(1, 2, 1)),
	[SYS_accept] = KNOWN(INOUT(2, SOCKLEN), OUT_SIZED(1, 2)),
	[SYS_accept4] = KNOWN(INOUT(2, SOCKLEN), OUT_SIZED(1, 2)),
	[SYS_getsockname] = KNOWN(INOUT(2, SOCKLEN), OUT_SIZED(1, 2)),
	[SYS_getpeername] = KNOWN(INOUT(2, SOCKLEN), OUT_SIZED(1, 2)),
	[SYS_getsockopt] = KNOWN(INOUT(4, SOCKLEN), OUT_SIZED(3, 4)),
	[SYS_setsockopt] = KNOWN(IN_ITEMS(3, 4, 1)),
	[SYS_socketpair] = KNOWN(OUT(3, 8)),
	[SYS_socket] = NO_POINTERS,
	[SYS_listen] = NO_POINTERS,
	[SYS_shutdown] = NO_POINTERS,

	/* Waiting */
	[SYS_poll] = KNOWN(INOUT_ITEMS(0, 1, POLLFD)),
	[SYS_ppoll] = KNOWN(INOUT_ITEMS(0, 1, POLLFD), INOUT(2, TIMESPEC), MASK(3)),
	[SYS_select] = KNOWN(BITS(1, 0), BITS(2, 0), BITS(3, 0), INOUT(4, TIMEVAL)),
	[SYS_pselect6] = KNOWN(BITS(1, 0), BITS(2, 0), BITS(3, 0), INOUT(4, TIMESPEC), IN(5, 16)),
	[SYS_epoll_ctl] = KNOWN(IN(3, EPOLL_EVENT)),
	[SYS_epoll_wait] = KNOWN(OUT_RESULT(1, 2, EPOLL_EVENT)),
	[SYS_epoll_pwait] = KNOWN(OUT_RESULT(1, 2, EPOLL_EVENT), MASK(4)),
#ifdef SYS_epoll_pwait2
	[SYS_epoll_pwait2] = KNOWN(OUT_RESULT(1, 2, EPOLL_EVENT), IN(3, TIMESPEC), MASK(4)),
#endif
	[SYS_epoll_create] = NO_POINTERS,
	[SYS_epoll_create1] = NO_POINTERS,
	[SYS_eventfd] = NO_POINTERS,
	[SYS_eventfd2] = NO_POINTERS,
	[SYS_futex] = KNOWN(TOUCH(0), SPECIAL(KIND_FUTEX_TIME, 3), TOUCH(4)),
	[SYS_nanosleep] = KNOWN(IN(0, TIMESPEC), INOUT(1, TIMESPEC)),
	[SYS_clock_nanosleep] = KNOWN(IN(2, TIMESPEC), INOUT(3, TIMESPEC)),
	[SYS_pause] = NO_POINTERS,

	/* Files */
	[SYS_open] = KNOWN(TEXT(0)),
	[SYS_creat] = KNOWN(TEXT(0)),
	[SYS_openat] = KNOWN(TEXT(1)),
#ifdef SYS_openat2
	[SYS_openat2] = KNOWN(TEXT(1), IN_ITEMS(2, 3, 1)),
#endif
	[SYS_close] = NO_POINTERS,
	[SYS_stat] = KNOWN(TEXT(0), OUT(1, STAT)),
	[SYS_lstat] = KNOWN(TEXT(0), OUT(1, STAT)),
	[SYS_fstat] = KNOWN(OUT(1, STAT)),
	[SYS_newfstatat] = KNOWN(TEXT(1), OUT(2, STAT)),
	[SYS_statx] = KNOWN(TEXT(1), OUT(4, 256)),
	[SYS_statfs] = KNOWN(TEXT(0), OUT(1, STATFS)),
	[SYS_fstatfs] = KNOWN(OUT(1, STATFS)),
	[SYS_lseek] = NO_POINTERS,
	[SYS_access] = KNOWN(TEXT(0)),
	[SYS_faccessat] = KNOWN(TEXT(1)),
	[SYS_faccessat2] = KNOWN(TEXT(1)),
	[SYS_readlink] = KNOWN(TEXT(0), OUT_RESULT(1, 2, 1)),
	[SYS_readlinkat] = KNOWN(TEXT(1), OUT_RESULT(2, 3, 1)),
	[SYS_getcwd] = KNOWN(OUT_RESULT(0, 1, 1)),
	[SYS_chdir] = KNOWN(TEXT(0)),
	[SYS_chroot] = KNOWN(TEXT(0)),
	[SYS_fchdir] = NO_POINTERS,
	[SYS_rename] = KNOWN(TEXT(0), TEXT(1)),
	[SYS_renameat] = KNOWN(TEXT(1), TEXT(3)),
	[SYS_renameat2] = KNOWN(TEXT(1), TEXT(3)),
	[SYS_mkdir] = KNOWN(TEXT(0)),
	[SYS_mkdirat] = KNOWN(TEXT(1)),
	[SYS_rmdir] = KNOWN(TEXT(0)),
	[SYS_link] = KNOWN(TEXT(0), TEXT(1)),
	[SYS_linkat] = KNOWN(TEXT(1), TEXT(3)),
	[SYS_symlink] = KNOWN(TEXT(0), TEXT(1)),
	[SYS_symlinkat] = KNOWN(TEXT(0), TEXT(2)),
	[SYS_unlink] = KNOWN(TEXT(0)),
	[SYS_unlinkat] = KNOWN(TEXT(1)),
	[SYS_mknod] = KNOWN(TEXT(0)),
	[SYS_mknodat] = KNOWN(TEXT(1)),
	[SYS_chmod] = KNOWN(TEXT(0)),
	[SYS_fchmodat] = KNOWN(TEXT(1)),
	[SYS_fchmod] = NO_POINTERS,
	[SYS_chown] = KNOWN(TEXT(0)),
	[SYS_lchown] = KNOWN(TEXT(0)),
	[SYS_fchownat] = KNOWN(TEXT(1)),
	[SYS_fchown] = NO_POINTERS,
	[SYS_truncate] = KNOWN(TEXT(0)),
	[SYS_ftruncate] = NO_POINTERS,
	[SYS_fallocate] = NO_POINTERS,
	[SYS_fsync] = NO_POINTERS,
	[SYS_fdatasync] = NO_POINTERS,
	[SYS_sync] = NO_POINTERS,
	[SYS_syncfs] = NO_POINTERS,
	[SYS_flock] = NO_POINTERS,
	[SYS_umask] = NO_POINTERS,
	[SYS_fadvise64] = NO_POINTERS,
	[SYS_readahead] = NO_POINTERS,
	[SYS_sync_file_range] = NO_POINTERS,
	[SYS_utime] = KNOWN(TEXT(0), IN(1, 16)),
	[SYS_utimes] = KNOWN(TEXT(0), IN(1, 2 * TIMEVAL)),
	[SYS_futimesat] = KNOWN(TEXT(1), IN(2, 2 * TIMEVAL)),
	[SYS_utimensat] = KNOWN(TEXT(1), IN(2, 2 * TIMESPEC)),
	[SYS_getxattr] = KNOWN(TEXT(0), TEXT(1), OUT_RESULT(2, 3, 1)),
	[SYS_lgetxattr] = KNOWN(TEXT(0), TEXT(1), OUT_RESULT(2, 3, 1)),
	[SYS_fgetxattr] = KNOWN(TEXT(1), OUT_RESULT(2, 3, 1)),
	[SYS_setxattr] = KNOWN(TEXT(0), TEXT(1), IN_ITEMS(2, 3, 1)),
	[SYS_lsetxattr] = KNOWN(TEXT(0), TEXT(1), IN_ITEMS(2, 3, 1)),
	[SYS_fsetxattr] = KNOWN(TEXT(1), IN_ITEMS(2, 3, 1)),
	[SYS_listxattr] = KNOWN(TEXT(0), OUT_RESULT(1, 2, 1)),
	[SYS_llistxattr] = KNOWN(TEXT(0), OUT_RESULT(1, 2, 1)),
	[SYS_flistxattr] = KNOWN(OUT_RESULT(1, 2, 1)),
	[SYS_removexattr] = KNOWN(TEXT(0), TEXT(1)),
	[SYS_lremovexattr] = KNOWN(TEXT(0), TEXT(1)),
	[SYS_fremovexattr] = KNOWN(TEXT(1)),
	[SYS_inotify_init] = NO_POINTERS,
	[SYS_inotify_init1] = NO_POINTERS,
	[SYS_inotify_add_watch] = KNOWN(TEXT(1)),
	[SYS_inotify_rm_watch] = NO_POINTERS,
	[SYS_memfd_create] = KNOWN(TEXT(0)),
	[SYS_pipe] = KNOWN(OUT(0, 8)),
	[SYS_pipe2] = KNOWN(OUT(0, 8)),
	[SYS_dup] = NO_POINTERS,
	[SYS_dup2] = NO_POINTERS,
	[SYS_dup3] = NO_POINTERS,
	[SYS_close_range] = NO_POINTERS,
	[SYS_fcntl] = KNOWN(SPECIAL(KIND_FCNTL, 2)),
	[SYS_ioctl] = KNOWN(SPECIAL(KIND_IOCTL, 2)),
	[SYS_umount2] = KNOWN(TEXT(0)),

	/* Signals */
	[SYS_rt_sigaction] = KNOWN(SPECIAL(KIND_ACTION, 1), OUT(2, 32)),
	[SYS_rt_sigprocmask] = KNOWN(MASK(1), OUT(2, 8)),
	[SYS_rt_sigpending] = KNOWN(OUT(0, 8)),
	[SYS_rt_sigtimedwait] = KNOWN(IN(0, 8), OUT(1, SIGINFO), IN(2, TIMESPEC)),
	[SYS_rt_sigqueueinfo] = KNOWN(IN(2, SIGINFO)),
	[SYS_rt_tgsigqueueinfo] = KNOWN(IN(3, SIGINFO)),
	[SYS_rt_sigsuspend] = KNOWN(MASK(0)),
	[SYS_rt_sigreturn] = NO_POINTERS, /* its argument registers hold leftovers */
	[SYS_restart_syscall] = NO_POINTERS,
	[SYS_sigaltstack] = KNOWN(IN(0, 24), OUT(1, 24)),
	[SYS_signalfd] = KNOWN(IN(1, 8)),
	[SYS_signalfd4] = KNOWN(IN(1, 8)),
	[SYS_kill] = NO_POINTERS,
	[SYS_tkill] = NO_POINTERS,
	[SYS_tgkill] = NO_POINTERS,
	[SYS_alarm] = NO_POINTERS,
	[SYS_pidfd_send_signal] = KNOWN(IN(2, SIGINFO)),

	/* Time */
	[SYS_gettimeofday] = KNOWN(OUT(0, TIMEVAL), OUT(1, 8)),
	[SYS_settimeofday] = KNOWN(IN(0, TIMEVAL), IN(1, 8)),
	[SYS_time] = KNOWN(OUT(0, 8)),
	[SYS_times] = KNOWN(OUT(0, 32)),
	[SYS_clock_gettime] = KNOWN(OUT(1, TIMESPEC)),
	[SYS_clock_getres] = KNOWN(OUT(1, TIMESPEC)),
	[SYS_clock_settime] = KNOWN(IN(1, TIMESPEC)),
	[SYS_getitimer] = KNOWN(OUT(1, ITIMERSPEC)),
	[SYS_setitimer] = KNOWN(IN(1, ITIMERSPEC), OUT(2, ITIMERSPEC)),
	[SYS_timer_create] = KNOWN(IN(1, SIGEVENT), OUT(2, 4)),
	[SYS_timer_settime] = KNOWN(IN(2, ITIMERSPEC), OUT(3, ITIMERSPEC)),
	[SYS_timer_gettime] = KNOWN(OUT(1, ITIMERSPEC)),
	[SYS_timer_getoverrun] = NO_POINTERS,
	[SYS_timer_delete] = NO_POINTERS,
	[SYS_timerfd_create] = NO_POINTERS,
	[SYS_timerfd_settime] = KNOWN(IN(2, ITIMERSPEC), OUT(3, ITIMERSPEC)),
	[SYS_timerfd_gettime] = KNOWN(OUT(1, ITIMERSPEC)),

	/* Processes */
	[SYS_execve] = RUN(guard_run_exec, TOUCH(0), TOUCH(1), TOUCH(2)),
	[SYS_execveat] = RUN(guard_run_exec, TOUCH(1), TOUCH(2), TOUCH(3)),
	[SYS_wait4] = KNOWN(OUT(1, 4), OUT(3, RUSAGE)),
	[SYS_waitid] = KNOWN(OUT(2, SIGINFO), OUT(4, RUSAGE)),
	[SYS_getrusage] = KNOWN(OUT(1, RUSAGE)),
	[SYS_getrlimit] = KNOWN(OUT(1, RLIMIT)),
	[SYS_setrlimit] = KNOWN(IN(1, RLIMIT)),
	[SYS_prlimit64] = KNOWN(IN(2, RLIMIT), OUT(3, RLIMIT)),
	[SYS_getgroups] = KNOWN(OUT_RESULT(1, 0, 4)),
	[SYS_setgroups] = KNOWN(IN_ITEMS(1, 0, 4)),
	[SYS_getresuid] = KNOWN(OUT(0, 4), OUT(1, 4), OUT(2, 4)),
	[SYS_getresgid] = KNOWN(OUT(0, 4), OUT(1, 4), OUT(2, 4)),
	[SYS_capget] = KNOWN(INOUT(0, 8), OUT(1, 24)),
	[SYS_capset] = KNOWN(IN(0, 8), IN(1, 24)),
	[SYS_prctl] = KNOWN(TOUCH(1), TOUCH(2), TOUCH(3), TOUCH(4)),
	[SYS_sched_setaffinity] = KNOWN(IN_ITEMS(2, 1, 1)),
	[SYS_sched_getaffinity] = KNOWN(OUT_RESULT(2, 1, 1)),
	[SYS_sched_setparam] = KNOWN(IN(1, 4)),
	[SYS_sched_getparam] = KNOWN(OUT(1, 4)),
	[SYS_sched_setscheduler] = KNOWN(IN(2, 4)),
	[SYS_sched_getscheduler] = NO_POINTERS,
	[SYS_sched_get_priority_max] = NO_POINTERS,
	[SYS_sched_get_priority_min] = NO_POINTERS,
	[SYS_sched_rr_get_interval] = KNOWN(OUT(1, TIMESPEC)),
	[SYS_sched_getattr] = KNOWN(OUT_ITEMS(1, 2, 1)),
	[SYS_sched_yield] = NO_POINTERS,
	[SYS_getcpu] = KNOWN(OUT(0, 4), OUT(1, 4)),
	[SYS_uname] = KNOWN(OUT(0, 390)),
	[SYS_sysinfo] = KNOWN(OUT(0, 112)),
	[SYS_syslog] = KNOWN(OUT_RESULT(1, 2, 1)),
	[SYS_sethostname] = KNOWN(IN_ITEMS(0, 1, 1)),
	[SYS_setdomainname] = KNOWN(IN_ITEMS(0, 1, 1)),
	[SYS_getpid] = NO_POINTERS,
	[SYS_gettid] = NO_POINTERS,
	[SYS_getppid] = NO_POINTERS,
	[SYS_getuid] = NO_POINTERS,
	[SYS_geteuid] = NO_POINTERS,
	[SYS_getgid] = NO_POINTERS,
	[SYS_getegid] = NO_POINTERS,
	[SYS_setuid] = NO_POINTERS,
	[SYS_setgid] = NO_POINTERS,
	[SYS_setreuid] = NO_POINTERS,
	[SYS_setregid] = NO_POINTERS,
	[SYS_setresuid] = NO_POINTERS,
	[SYS_setresgid] = NO_POINTERS,
	[SYS_setfsuid] = NO_POINTERS,
	[SYS_setfsgid] = NO_POINTERS,
	[SYS_getpgid] = NO_POINTERS,
	[SYS_setpgid] = NO_POINTERS,
	[SYS_getpgrp] = NO_POINTERS,
	[SYS_getsid] = NO_POINTERS,
	[SYS_setsid] = NO_POINTERS,
	[SYS_getpriority] = NO_POINTERS,
	[SYS_setpriority] = NO_POINTERS,
	[SYS_personality] = NO_POINTERS,
	[SYS_vhangup] = NO_POINTERS,
	[SYS_membarrier] = NO_POINTERS,
	[SYS_unshare] = NO_POINTERS,
	[SYS_setns] = NO_POINTERS,
	[SYS_kcmp] = NO_POINTERS,
	[SYS_pidfd_open] = NO_POINTERS,
	[SYS_exit] = NO_POINTERS,
	[SYS_exit_group] = NO_POINTERS,

	/* System V and POSIX message passing */
	[SYS_semget] = NO_POINTERS,
	[SYS_semop] = KNOWN(IN_ITEMS(1, 2, 6)),
	[SYS_semtimedop] = KNOWN(IN_ITEMS(1, 2, 6), IN(3, TIMESPEC)),
	[SYS_msgget] = NO_POINTERS,
	[SYS_shmget] = NO_POINTERS,
	[SYS_shmdt] = NO_POINTERS,
	[SYS_mq_open] = KNOWN(TEXT(0), IN(3, 64)),
	[SYS_mq_unlink] = KNOWN(TEXT(0)),
	[SYS_mq_timedsend] = KNOWN(IN_ITEMS(1, 2, 1), IN(4, TIMESPEC)),
	[SYS_mq_timedreceive] = KNOWN(OUT_RESULT(1, 2, 1), OUT(3, 4), IN(4, TIMESPEC)),

	/* Addresses, and what returns twice: see above */
	[SYS_mmap] = NO_POINTERS,
	[SYS_munmap] = NO_POINTERS,
	[SYS_mprotect] = NO_POINTERS,
	[SYS_madvise] = NO_POINTERS,
	[SYS_mremap] = NO_POINTERS,
	[SYS_mlock] = NO_POINTERS,
	[SYS_mlock2] = NO_POINTERS,
	[SYS_munlock] = NO_POINTERS,
	[SYS_mlockall] = NO_POINTERS,
	[SYS_munlockall] = NO_POINTERS,
	[SYS_msync] = NO_POINTERS,
	[SYS_mincore] = NO_POINTERS,
	[SYS_pkey_mprotect] = NO_POINTERS,
	[SYS_pkey_alloc] = NO_POINTERS,
	[SYS_pkey_free] = NO_POINTERS,
	[SYS_remap_file_pages] = NO_POINTERS,
	[SYS_shmat] = NO_POINTERS,
	[SYS_mbind] = NO_POINTERS,
	[SYS_process_madvise] = NO_POINTERS,
	[SYS_brk] = NO_POINTERS,
	[SYS_arch_prctl] = NO_POINTERS,
	[SYS_clone] = NO_POINTERS,
	[SYS_clone3] = NO_POINTERS,
	[SYS_fork] = NO_POINTERS,
	[SYS_vfork] = NO_POINTERS,
	[SYS_set_robust_list] = NO_POINTERS,
	[SYS_set_tid_address] = NO_POINTERS,
	[SYS_rseq] = NO_POINTERS,
	[SYS_userfaultfd] = NO_POINTERS,
	[SYS_io_setup] = NO_POINTERS,
	[SYS_io_destroy] = NO_POINTERS,
	[SYS_io_uring_setup] = NO_POINTERS, /* refused by the filter */
	[SYS_io_uring_enter] = NO_POINTERS,
	[SYS_io_uring_register] = NO_POINTERS,
	[SYS_seccomp] = KNOWN(TOUCH(2)),
};

#define ALL_ARGS 0x3fU

static const struct guard_entry unknown = {
	.spec = {TOUCH(0), TOUCH(1), TOUCH(2), TOUCH(3), TOUCH(4), TOUCH(5)},
};

const struct guard_entry *guard_entry(long nr)
{
	return nr >= 0 && nr < (long)ARRAY_SIZE(table) && table[nr].known ? &table[nr] : &unknown;
}

unsigned guard_mask(long nr)
{
	const struct guard_entry *entry = guard_entry(nr);
	unsigned mask = 0;

	if (entry == &unknown)
		return ALL_ARGS;
	for (unsigned i = 0; i < GUARD_SPECS; i++)
		if (entry->spec[i].kind != KIND_NOTHING)
			mask |= 1U << entry->spec[i].arg;
	return mask;
}

long guard_known_end(void)
{
	return (long)ARRAY_SIZE(table);
}
