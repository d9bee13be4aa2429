#!/bin/sh
# SPDX-License-Identifier: MIT
# Many threads, cancellation, handlers, timers, coroutines: as natively, in both modes.
. "$(dirname "$0")/../common.sh"
. "$(dirname "$0")/cases.sh"
need gcc

program=$work/threads
compiles -O1 -pthread -o "$program" "$(dirname "$0")/threads.c" -lrt
ulimit -c 0
all_cases
finish
