/* SPDX-License-Identifier: MIT */
/*
 * What only the file device does: its place, its descriptors, its engines, and what happens when the disk is full or
 * the file has become shorter.
 */
#include "swapdev_world.h"
#include <sys/resource.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RUNNING_SANITIZED 1
#else
#define RUNNING_SANITIZED 0
#endif

static void refused(const char *uri, int error, const char *says)
{
	char why[512] = "";
	struct swapdev *dev = NULL;
	int answer = swapdev_open(uri, &dev, why, sizeof(why));

	if (answer != error || !strstr(why, says))
		fail_msg("%s: %d instead of %d: %s", uri, answer, error, why);
	assert_non_null(strstr(why, uri));
	assert_null(strchr(why, '\n'));
}

static void bad_names_are_refused_with_a_reason(void **state)
{
	char longer[400];

	(void)state;
	refused("", -EINVAL, "no scheme");
	refused("/var/tmp", -EINVAL, "no scheme");
	refused("tape:/dev/st0", -EINVAL, "there are file:, zram:, mem:, faulty:");
	refused("file:/tmp?sise=3M", -EINVAL, "unknown option 'sise'");
	refused("file:/tmp?size=3M&size=4M", -EINVAL, "twice");
	refused("file:/tmp?size", -EINVAL, "no option");
	refused("file:/tmp?size=", -EINVAL, "not a size");
	refused("file:/tmp?size=lots", -EINVAL, "not a size");
	refused("file:/tmp?size=-1M", -EINVAL, "not a size");
	refused("file:/tmp?size=1000", -EINVAL, "less than one page");
	refused("file:/tmp?size=17T", -ERANGE, "16T");
	refused("file:/tmp?size=9999P", -ERANGE, "larger");
	refused("file:/tmp?size=15T", -ENOSPC, "free there");
	refused("file:/tmp?engine=steam", -EINVAL, "auto, uring, aio or threads");
	refused("file:/tmp?direct=maybe", -EINVAL, "auto, on or off");
	refused("file:?size=1M", -EINVAL, "no path");
	refused("file:/no/such/place?size=1M", -ENOENT, "/no/such/place");
	refused("file:/proc?size=1M", -ENOENT, "cannot make a file");
	refused("file:/etc/passwd?size=1M", -EEXIST, "exists");
	refused("file:/dev/null?size=1M", -EEXIST, "neither");
	refused("mem:here?size=1M", -EINVAL, "no path");
	refused("mem:?size=1M&when=never", -EINVAL, "poll or submit");
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	memcpy(longer, "file:", 5);
	refused(longer, -ENAMETOOLONG, "longer than");

	char why[8];
	struct swapdev *dev;

	assert_int_equal(swapdev_open("x", &dev, why, sizeof(why)), -EINVAL);
	assert_int_equal(swapdev_open("x", &dev, NULL, 0), -EINVAL);
}

static bool leaves_no_name(const char *dir)
{
	char command[256];

	snprintf(command, sizeof(command), "test -z \"$(ls -A %s)\"", dir);
	return system(command) == 0;
}

static void a_file_has_no_name_and_is_private(void **state)
{
	char dir[] = "/tmp/test-swapdev-XXXXXX", uri[128];
	const char *const names[] = {"", "/new"};

	(void)state;
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct stat st;
		struct swapdev *dev;
		int fd;

		snprintf(uri, sizeof(uri), "file:%s%s?size=1M&engine=threads", dir, names[i]);
		dev = open_or_skip(uri);
		assert_string_equal(dev->uri, uri);
		assert_true(leaves_no_name(dir));
		assert_int_equal(dev->ops->fds(dev, &fd, 1), 3);
		assert_true(fd >= 100);
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_mode & 07777, 0600);
		assert_int_equal(st.st_nlink, 0);
		dev->ops->close(dev);
		assert_int_equal(fcntl(fd, F_GETFD), -1);
	}
	rmdir(dir);
}

static void without_a_size_it_is_half_of_what_is_free(void **state)
{
	struct swapdev *dev = open_or_skip("file:/tmp");

	(void)state;
	assert_in_range(dev->nr_slots, 1, 16 * GIB / PAGE_BYTES);
	dev->ops->close(dev);
	dev = open_or_skip("file:/tmp?size=0.01%");
	assert_in_range(dev->nr_slots, 1, 16 * GIB / PAGE_BYTES);
	dev->ops->close(dev);
}

/* Room for more than the device at open, gone later: writes fail with -ENOSPC, what is there stays right. */
static void a_disk_that_fills_up_is_told(void **state)
{
	char dir[] = "/tmp/test-swapdev-XXXXXX", uri[200], hog[64];
	uint8_t *junk = calloc(1, MIB);
	struct world *w;
	int fd;

	assert_non_null(mkdtemp(dir));
	if (mount("none", dir, "tmpfs", 0, "size=24m") != 0) {
		rmdir(dir);
		free(junk);
		SKIP_WITHOUT("mount", "no tmpfs of 24 MiB");
	}
	snprintf(uri, sizeof(uri), "file:%s?size=25M", dir);
	refused(uri, -ENOSPC, "25 MiB asked for, but only 24 MiB free");
	snprintf(uri, sizeof(uri), "file:%s?size=16M&engine=%s", dir, (const char *)*state);
	w = world_new(uri);
	snprintf(hog, sizeof(hog), "%s/hog", dir);
	fd = open(hog, O_CREAT | O_WRONLY, 0600);
	for (int i = 0; i < 20; i++)
		assert_true(write(fd, junk, MIB) > 0);
	close(fd);

	int error = 0;
	uint32_t good = 0;

	for (uint32_t slot = 0; slot < SLOTS && !error; slot += SWAP_IO_PAGES) {
		error = write_slots(w, slot, SWAP_IO_PAGES, 8);
		if (!error)
			good = slot + SWAP_IO_PAGES;
	}
	assert_int_equal(error, -ENOSPC);
	assert_in_range(good, 256, 1024);
	for (uint32_t slot = 0; slot < good; slot += SWAP_IO_PAGES) {
		assert_int_equal(read_slots(w, slot, SWAP_IO_PAGES), 0);
		for (unsigned j = 0; j < SWAP_IO_PAGES; j++)
			assert_true(page_is(io_page(w, 0, j, false), slot + j, 8));
	}
	unlink(hog);
	assert_int_equal(write_slots(w, good, SWAP_IO_PAGES, 8), 0);
	world_free(w);
	umount(dir);
	rmdir(dir);
	free(junk);
}

/*
 * RLIMIT_FSIZE makes a write short at first, then refuses it: the rest is tried, the error is told, nobody is killed.
 */
static void a_short_write_goes_on_to_its_error(void **state)
{
	struct rlimit small = {6 * MIB + 5 * PAGE_BYTES, RLIM_INFINITY}, before;
	struct world *w = world_new(*state);
	void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);

	getrlimit(RLIMIT_FSIZE, &before);
	small.rlim_max = before.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(write_slots(w, 1280, SWAP_IO_PAGES, 2), 0);
	assert_int_equal(write_slots(w, 1536, SWAP_IO_PAGES, 2), -EFBIG);
	setrlimit(RLIMIT_FSIZE, &before);
	signal(SIGXFSZ, handler);
	/* The short part arrived, in its place. */
	assert_int_equal(read_slots(w, 1536, 8), 0);
	for (unsigned j = 0; j < 8; j++)
		assert_true(page_is(io_page(w, 0, j, false), 1536 + j, j < 5 ? 2 : 0));
	world_free(w);
}

/* The file ends early (somebody truncated it): an error, not what was in memory. */
static void a_read_beyond_the_end_is_an_error(void **state)
{
	struct world *w = world_new(*state);
	int fd;

	assert_int_equal(write_slots(w, 0, 16, 2), 0);
	assert_in_range(w->dev->ops->fds(w->dev, &fd, 1), 1, 16);
	assert_int_equal(ftruncate(fd, 10 * PAGE_BYTES), 0);
	assert_int_equal(read_slots(w, 0, 16), -EIO);
	assert_true(page_is(io_page(w, 0, 9, false), 9, 2));
	assert_int_equal(read_slots(w, 12, 1), -EIO);
	assert_int_equal(read_slots(w, 2, 8), 0);
	world_free(w);
}

/* A thread that submits and exits at once takes nothing with it. */
static void *submit_and_exit(void *arg)
{
	struct world *w = arg;

	submit_one(w, 3);
	return NULL;
}

static void requests_outlive_their_thread(void **state)
{
	struct world *w = world_new(*state);

	assert_int_equal(write_slots(w, 0, SWAP_IO_PAGES, 2), 0);
	for (int round = 0; round < 50; round++) {
		pthread_t thread;

		io_setup(w, 3, SWAP_READ, 0, SWAP_IO_PAGES, true);
		pthread_create(&thread, NULL, submit_and_exit, w);
		pthread_join(thread, NULL);
		wait_for(w, 3);
		assert_int_equal(w->io[3]->result, 0);
		assert_true(page_is(io_page(w, 3, 200, true), 200, 2));
	}
	world_free(w);
}

/*
 * A program's thread that has submitted goes on with its own affairs: the completion must not be seen there. A system
 * call that is never restarted shows it.
 */
static void completions_disturb_nobody(void **state)
{
	struct world *w = world_new(*state);
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event event;

	assert_int_equal(write_slots(w, 0, SWAP_IO_PAGES, 2), 0);
	for (int round = 0; round < 30; round++) {
		io_setup(w, 5, SWAP_READ, 0, SWAP_IO_PAGES, true);
		submit_one(w, 5);
		assert_int_equal(epoll_wait(epoll, &event, 1, 10), 0);
		wait_for(w, 5);
	}
	close(epoll);
	world_free(w);
}

/* ---- Waiting --------------------------------------------------------------------------- */

static void poll_fd_becomes_readable(void **state)
{
	struct world *w = world_new(*state);
	struct pollfd p = {.fd = w->dev->ops->poll_fd(w->dev, SWAP_READ), .events = POLLIN};

	assert_true(p.fd >= 0);
	for (int round = 0; round < 3; round++) {
		assert_int_equal(poll(&p, 1, 0), 0);
		io_setup(w, 1, SWAP_READ, 5, 3, false);
		submit_one(w, 1);
		assert_int_equal(poll(&p, 1, LONG_MS), 1);
		assert_true(p.revents & POLLIN);
		while (!atomic_load(&io_done[1]))
			w->dev->ops->poll(w->dev, SWAP_READ, 0);
	}
	world_free(w);
}

struct sleeper {
	struct world *w;
	_Atomic(bool) stop;
	_Atomic(int) ended;
};

static void *wait_in_poll(void *arg)
{
	struct sleeper *s = arg;

	while (!atomic_load(&s->stop)) {
		int nr = s->w->dev->ops->poll(s->w->dev, SWAP_READ, 2000);

		if (nr > 0)
			atomic_fetch_add(&s->ended, nr);
		usleep(100);
	}
	return NULL;
}

/* While one thread waits, another gets -EBUSY at once, and the first ends what the second has submitted. */
static void one_waits_and_others_are_busy(void **state)
{
	struct world *w = world_new(*state);
	struct sleeper s = {.w = w};
	int64_t until = now_ms() + LONG_MS;
	int busy = 0, submitted = 0, ended = 0;
	pthread_t thread;

	/* Holes would be read without any I/O. */
	assert_int_equal(write_slots(w, 0, SWAP_IO_PAGES, 1), 0);
	pthread_create(&thread, NULL, wait_in_poll, &s);
	for (int round = 0; round < 300 && busy < 5 && now_ms() < until; round++) {
		int64_t start = now_ms();
		int answer;

		io_setup(w, 2, SWAP_READ, 0, SWAP_IO_PAGES, true);
		submit_one(w, 2);
		submitted++;
		usleep(300);
		while (!atomic_load(&io_done[2])) {
			answer = w->dev->ops->poll(w->dev, SWAP_READ, 2000);
			assert_true(answer == -EBUSY || answer >= 0);
			assert_true(now_ms() - start < 1500);
			busy += answer == -EBUSY;
			ended += answer > 0 ? answer : 0;
			/* The other direction is not concerned. */
			assert_int_equal(w->dev->ops->poll(w->dev, SWAP_WRITE, 0), 0);
		}
	}
	atomic_store(&s.stop, true);
	pthread_join(thread, NULL);
	assert_int_equal(ended + atomic_load(&s.ended), submitted);
	assert_true(busy > 0);
	world_free(w);
}

/* ---- Descriptors ------------------------------------------------------------------------- */

struct keeper {
	struct swapdev *dev;
	pthread_barrier_t ready, over;
};

/* A pager thread: a descriptor table of its own, and the device adopted. */
static void *keep_descriptors(void *arg)
{
	struct keeper *k = arg;

	if (unshare(CLONE_FILES) == 0)
		k->dev->ops->adopt(k->dev);
	pthread_barrier_wait(&k->ready);
	pthread_barrier_wait(&k->over);
	return NULL;
}

/* The program closes every descriptor; what other threads hold still serves fork. */
static void a_fork_survives_closed_descriptors(void **state)
{
	struct keeper k;
	struct world *w;
	int fds[16], nr;
	pthread_t thread;
	pid_t pid;

	skip_where_a_child_may_not_start_threads(*state);
	w = world_new(*state);
	k.dev = w->dev;
	for (uint32_t slot = 0; slot < 1024; slot += SWAP_IO_PAGES)
		assert_int_equal(write_slots(w, slot, SWAP_IO_PAGES, 5), 0);
	pthread_barrier_init(&k.ready, NULL, 2);
	pthread_barrier_init(&k.over, NULL, 2);
	pthread_create(&thread, NULL, keep_descriptors, &k);
	pthread_barrier_wait(&k.ready);
	nr = w->dev->ops->fds(w->dev, fds, 16);
	assert_in_range(nr, 1, 16);
	/* Something else takes their numbers. */
	for (int i = 0; i < nr; i++)
		assert_int_equal(dup2(STDERR_FILENO, fds[i]), fds[i]);
	pid = fork_device(w);
	if (pid == 0) {
		for (int i = 0; i < nr; i++)
			CHECK(fcntl(fds[i], F_GETFD) >= 0);
		read_everything(w);
		_exit(0);
	}
	assert_child_is_well(pid);
	for (int i = 0; i < nr; i++)
		close(fds[i]);
	pthread_barrier_wait(&k.over);
	pthread_join(thread, NULL);
	world_free(w);
}

/* A request in a thread that has lost the descriptors ends, with an error or with the content. */
static void lost_descriptors_are_an_error_not_wrong_data(void **state)
{
	struct world *w = world_new(*state);
	struct keeper k = {.dev = w->dev};
	char name[] = "/tmp/test-swapdev-XXXXXX";
	int fds[16], nr, bystander, result;
	struct stat st;
	pthread_t thread;

	assert_int_equal(write_slots(w, 0, 8, 5), 0);
	pthread_barrier_init(&k.ready, NULL, 2);
	pthread_barrier_init(&k.over, NULL, 2);
	pthread_create(&thread, NULL, keep_descriptors, &k);
	pthread_barrier_wait(&k.ready);
	nr = w->dev->ops->fds(w->dev, fds, 16);
	for (int i = 0; i < nr; i++)
		close(fds[i]);
	result = read_slots(w, 0, 8);
	if (result == 0)
		assert_true(page_is(io_page(w, 0, 7, false), 7, 5));
	else
		assert_int_equal(result, -EBADF);
	/* Worse: the number is a file of the program now. It must stay as it is. */
	bystander = mkstemp(name);
	unlink(name);
	for (int i = 0; i < nr; i++)
		dup2(bystander, fds[i]);
	result = write_slots(w, 0, 8, 6);
	assert_true(result == 0 || result == -EBADF);
	assert_int_equal(fstat(bystander, &st), 0);
	assert_int_equal(st.st_size, 0);
	for (int i = 0; i < nr; i++)
		close(fds[i]);
	close(bystander);
	pthread_barrier_wait(&k.over);
	pthread_join(thread, NULL);
	world_free(w);
}

#define ON(test, uri) cmocka_unit_test_prestate(test, (void *)(uintptr_t)(uri))

/*
 * The first request finds no room for a context (its page would be mapped): it is served all the same, and the next
 * ones, too.
 */
static void without_a_context_requests_are_served_at_once(void **state)
{
	struct rlimit old, none = {0};

	if (RUNNING_SANITIZED)
		SKIP_WITHOUT("unsanitized", "a sanitizer maps memory of its own at any time");
	struct world *w = world_new(*state);

	assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
	none.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_AS, &none), 0);
	int wrote = write_slots(w, 0, 8, 5), read = read_slots(w, 0, 4);

	assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
	assert_int_equal(wrote, 0);
	assert_int_equal(read, 0);
	assert_true(page_is(io_page(w, 0, 3, false), 3, 5));
	assert_int_equal(read_slots(w, 0, 8), 0);
	assert_true(page_is(io_page(w, 0, 7, false), 7, 5));
	world_free(w);
}

/* Through before submit() returns: nobody polls for it. One that fails says so there, and others go on. */
static void a_read_alone_has_ended_when_submit_returns(void **state)
{
	struct world *w = world_new(*state);
	int fd;

	assert_int_equal(write_slots(w, 0, 8, 5), 0);
	for (uint32_t slot = 0; slot < 8; slot++) {
		io_setup(w, 1, SWAP_READ, slot, 1, false);
		w->io[1]->alone = true;
		submit_one(w, 1);
		assert_int_equal(atomic_load(&io_done[1]), 1);
		assert_int_equal(w->io[1]->result, 0);
		assert_true(page_is(io_page(w, 1, 0, false), slot, 5));
	}
	assert_true(w->dev->ops->fds(w->dev, &fd, 1) >= 1); /* the first is the file */
	int kept = dup(fd), other = open("/dev/null", O_RDWR);

	assert_true(dup2(other, fd) == fd); /* somebody else's file */
	io_setup(w, 1, SWAP_READ, 0, 1, false);
	w->io[1]->alone = true;
	submit_one(w, 1);
	assert_int_equal(atomic_load(&io_done[1]), 1);
	assert_int_equal(w->io[1]->result, -EBADF);
	assert_true(dup2(kept, fd) == fd);
	close(kept);
	close(other);
	assert_int_equal(read_slots(w, 0, 8), 0);
	world_free(w);
}

int main(void)
{
	static const char uring[] = "file:/var/tmp?size=16M&engine=uring";
	static const char aio[] = "file:/var/tmp?size=16M&engine=aio";
	static const char threads[] = "file:/var/tmp?size=16M&engine=threads";
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_names_are_refused_with_a_reason),
		cmocka_unit_test(a_file_has_no_name_and_is_private),
		cmocka_unit_test(without_a_size_it_is_half_of_what_is_free),
		ON(poll_fd_becomes_readable, uring),
		ON(poll_fd_becomes_readable, aio),
		ON(poll_fd_becomes_readable, threads),
		ON(one_waits_and_others_are_busy, uring),
		ON(one_waits_and_others_are_busy, aio),
		ON(one_waits_and_others_are_busy, threads),
		ON(a_disk_that_fills_up_is_told, "uring"),
		ON(a_disk_that_fills_up_is_told, "threads"),
		ON(a_short_write_goes_on_to_its_error, uring),
		ON(a_short_write_goes_on_to_its_error, aio),
		ON(a_short_write_goes_on_to_its_error, threads),
		ON(a_read_beyond_the_end_is_an_error, uring),
		ON(a_read_beyond_the_end_is_an_error, aio),
		ON(a_read_beyond_the_end_is_an_error, threads),
		ON(a_read_alone_has_ended_when_submit_returns, uring),
		ON(a_read_alone_has_ended_when_submit_returns, aio),
		ON(a_read_alone_has_ended_when_submit_returns, threads),
		ON(requests_outlive_their_thread, uring),
		ON(requests_outlive_their_thread, aio),
		ON(completions_disturb_nobody, "file:/var/tmp?size=16M"),
		ON(completions_disturb_nobody, aio),
		ON(completions_disturb_nobody, threads),
		ON(a_fork_survives_closed_descriptors, uring),
		ON(a_fork_survives_closed_descriptors, aio),
		ON(a_fork_survives_closed_descriptors, threads),
		ON(lost_descriptors_are_an_error_not_wrong_data, uring),
		ON(lost_descriptors_are_an_error_not_wrong_data, aio),
		ON(lost_descriptors_are_an_error_not_wrong_data, threads),
		ON(without_a_context_requests_are_served_at_once, aio),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
