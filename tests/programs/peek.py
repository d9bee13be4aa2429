# SPDX-License-Identifier: MIT
# peek.py PID FILE [FIRST END]: how many of the pages that `dies` filled can be read correctly from outside, by
# /proc/PID/mem and by process_vm_readv.
import ctypes
import os
import sys

KEY = 0x5EED5EED00000000
pid = int(sys.argv[1])
start, pages = map(int, open(sys.argv[2]).read().split())
libc = ctypes.CDLL(None, use_errno=True)


class Iovec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("len", ctypes.c_size_t)]


def by_file(fd, at):
    try:
        return os.pread(fd, 8, at)
    except OSError:
        return b""


def by_call(at):
    word = ctypes.create_string_buffer(8)
    here, there = Iovec(ctypes.addressof(word), 8), Iovec(at, 8)
    got = libc.process_vm_readv(pid, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    return word.raw if got == 8 else b""


shown = range(*(map(int, sys.argv[3:5]) if len(sys.argv) > 4 else (pages,)))
mem = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
expected = {i: (KEY + i * 512).to_bytes(8, "little") for i in shown}
good = sum(by_file(mem, start + i * 4096) == expected[i] for i in shown)
bad = sum(by_file(mem, start + i * 4096) not in (expected[i], b"") for i in shown)
called = sum(by_call(start + i * 4096) == expected[i] for i in shown)
print(f"mem {good} wrong {bad} vm_readv {called} of {len(shown)}")
