"""Which of the features that tests need this host has, found out without any code of ours.

A test that cannot be tried says "needs FEATURE...: why" and exits 77 (or calls cmocka's skip()). Where the host has
all the features that it names, something else is wrong, and tests/run-all calls the skip a failure. A feature that is
not in the table is a command, which the host has if it is in PATH.
"""
import ctypes
import fcntl
import os
import platform
import resource
import shutil
import struct
import subprocess
import tempfile

SYS_IO_SETUP, SYS_IO_DESTROY, SYS_USERFAULTFD, SYS_IO_URING_SETUP = (
    (206, 207, 323, 425) if platform.machine() == "x86_64" else (0, 1, 282, 425))
UFFDIO_API, UFFD_API, UFFD_FEATURE_MOVE = 0xc018aa3f, 0xaa, 1 << 16
NOBODY = 65534
LIBC = ctypes.CDLL(None, use_errno=True)


def quiet(*command):
    return subprocess.run(command, check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL).returncode == 0


def is_root():
    return os.geteuid() == 0


def uffd_features():
    """The feature bits of userfaultfd; None: this user has none."""
    fd = LIBC.syscall(SYS_USERFAULTFD, os.O_CLOEXEC | os.O_NONBLOCK)
    if fd < 0:
        return None
    try:
        return struct.unpack("QQQ", fcntl.ioctl(fd, UFFDIO_API, struct.pack("QQQ", UFFD_API, 0, 0)))[1]
    except OSError:
        return None
    finally:
        os.close(fd)


def has_aio():
    context = ctypes.c_ulong(0)
    if LIBC.syscall(SYS_IO_SETUP, 1, ctypes.byref(context)) != 0:
        return False
    LIBC.syscall(SYS_IO_DESTROY, context)
    return True


def has_io_uring():
    fd = LIBC.syscall(SYS_IO_URING_SETUP, 2, ctypes.create_string_buffer(120))
    if fd >= 0:
        os.close(fd)
    return fd >= 0


def has_direct_io():
    """O_DIRECT where tests keep their swap files."""
    with tempfile.NamedTemporaryFile(dir="/var/tmp") as file:
        try:
            os.close(os.open(file.name, os.O_RDWR | os.O_DIRECT))
        except OSError:
            return False
    return True


def has_mount():
    return is_root() and quiet("unshare", "-m", "true")


def has_core_files():
    with open("/proc/sys/kernel/core_pattern", encoding="utf-8") as file:
        return file.read() == "core\n" and resource.getrlimit(resource.RLIMIT_CORE)[1] == resource.RLIM_INFINITY


def has_memory_group():
    """A control group with a limit for memory can be made."""
    for top, limit in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
        group = os.path.join(top, f"anonmm-probe-{os.getpid()}")
        try:
            os.mkdir(group)
        except OSError:
            continue
        found = os.path.exists(os.path.join(group, limit))
        os.rmdir(group)
        if found:
            return True
    return False


def has_swapon():
    """The host swaps to a file of ours, and shows what it did: what the judge of the kernel needs."""
    if not is_root() or not os.access("/proc/kpageflags", os.R_OK):
        return False
    with tempfile.NamedTemporaryFile(dir="/var/tmp") as file:
        file.write(bytes(1 << 20))
        file.flush()
        path = os.environ["PATH"] + ":/usr/sbin:/sbin"
        tool = {name: shutil.which(name, path=path) for name in ("mkswap", "swapon", "swapoff")}
        return all(tool.values()) and quiet(tool["mkswap"], file.name) and quiet(tool["swapon"], file.name) and \
            quiet(tool["swapoff"], file.name)


def gdb_calls():
    """gdb can call a function of a native program: some do not know the registers of newer CPUs."""
    with subprocess.Popen(["sleep", "30"], stderr=subprocess.DEVNULL) as child:
        said = subprocess.run(["gdb", "-nx", "-p", str(child.pid), "-batch", "-ex", "print (int)getpid()"], check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
        child.kill()
    return f"= {child.pid}\n" in said


PROBES = {
    "root": is_root,
    "userfaultfd": lambda: uffd_features() is not None,
    "move": lambda: bool((uffd_features() or 0) & UFFD_FEATURE_MOVE),
    "signal-mode": lambda: platform.machine() == "x86_64",
    "aio": has_aio,
    "io_uring": has_io_uring,
    "direct": has_direct_io,
    "mount": has_mount,
    "core-files": has_core_files,
    "memory-group": has_memory_group,
    "swapon": has_swapon,
    "gdb-calls": lambda: shutil.which("gdb") is not None and gdb_calls(),
    "two-cpus": lambda: len(os.sched_getaffinity(0)) >= 2,
}
KNOWN = {}


def has(feature):
    if feature not in KNOWN:
        probe = PROBES.get(feature, lambda: shutil.which(feature) is not None)
        KNOWN[feature] = bool(probe())
    return KNOWN[feature]
