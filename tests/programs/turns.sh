#!/bin/sh
# SPDX-License-Identifier: MIT
# Threads that fault all the time, on swap so quick that they take turns, do the same as natively, whatever they do
# between their faults. Only signal mode has turns.
. "$(dirname "$0")/../common.sh"
. "$(dirname "$0")/cases.sh"
need gcc

program=$work/turns
compiles -O1 -pthread -o "$program" "$(dirname "$0")/turns.c"
ulimit -c 0
SWAP="zram:?size=128M"
MODES=signal
all_cases
finish
