# SPDX-License-Identifier: MIT
#
# For gdb, on a program that runs under `anonmm run`: `source anonmm.py`, then
#
#   anonmm-touch ADDRESS [BYTES]   bring in what is there (one page if BYTES is not given), so that gdb can read it
#   anonmm-x ADDRESS [BYTES]       the same, then show it as words
#
# The program itself touches the pages, so it must be able to run. This works neither on a core dump, where everything
# is in already, nor with scheduler-locking on. Pages may go out again when the program goes on.
import gdb


def arguments(text, name):
    words = gdb.string_to_argv(text)
    if len(words) not in (1, 2):
        raise gdb.GdbError(f"{name} takes an address, and perhaps how many bytes")
    address = int(gdb.parse_and_eval(words[0]).cast(gdb.lookup_type("unsigned long")))
    return address, int(gdb.parse_and_eval(words[1])) if len(words) == 2 else 1


def touch(address, size):
    try:
        return int(gdb.parse_and_eval(f"((long (*)(long, long))anonmm_touch)({address}, {address + size})"))
    except gdb.error as error:
        raise gdb.GdbError(f"this program cannot bring memory in ({error}); does it run under anonmm?")


class Touch(gdb.Command):
    """Bring memory of a program under anonmm in: anonmm-touch ADDRESS [BYTES]"""

    def __init__(self):
        super().__init__("anonmm-touch", gdb.COMMAND_DATA)

    def invoke(self, text, from_tty):
        print(f"{touch(*arguments(text, 'anonmm-touch'))} pages are in memory")


class Examine(gdb.Command):
    """Bring memory of a program under anonmm in, and show it: anonmm-x ADDRESS [BYTES]"""

    def __init__(self):
        super().__init__("anonmm-x", gdb.COMMAND_DATA)

    def invoke(self, text, from_tty):
        address, size = arguments(text, "anonmm-x")
        touch(address, size)
        gdb.execute(f"x/{max(1, (size + 7) // 8)}gx {address}")


Touch()
Examine()
