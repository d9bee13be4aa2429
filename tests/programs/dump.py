# SPDX-License-Identifier: MIT
# dump.py CORE FILE: how many pages that `dies` filled are in the core as they were, and of how many.
import struct
import sys

KEY = 0x5EED5EED00000000
core = open(sys.argv[1], "rb")
start, pages = map(int, open(sys.argv[2]).read().split())
header = core.read(64)
phoff, phentsize, phnum = struct.unpack_from("<Q", header, 32)[0], *struct.unpack_from("<HH", header, 54)
segments = []
for i in range(phnum):
    core.seek(phoff + i * phentsize)
    kind, flags, offset, vaddr, paddr, filesz, memsz, align = struct.unpack("<IIQQQQQQ", core.read(56))
    if kind == 1:
        segments.append((vaddr, filesz, offset))
good = 0
for i in range(pages):
    at = start + i * 4096
    for vaddr, filesz, offset in segments:
        if vaddr <= at and at + 4096 <= vaddr + filesz:
            core.seek(offset + at - vaddr)
            words = struct.unpack("<512Q", core.read(4096))
            good += all(words[j] == KEY + i * 512 + j for j in range(0, 512, 64))
            break
print(good, pages)
