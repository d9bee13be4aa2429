#!/bin/sh
# SPDX-License-Identifier: MIT
# Faults that are planted in the simulation's own machine and devices must be found: a simulator that cannot fail shows
# nothing.
# Usage: plants.sh PATH-OF-SIM-MACHINE [SEEDS]
set -u
sim=$1
seeds=${2-300}
bad=0

for plant in lost-wake wrong-frame late-hide no-flush two-inside lost-write early-done; do
	if "$sim" --plant "$plant" --seeds "$seeds" --failures 1 --no-shrink >/dev/null; then
		echo "$plant: not found in $seeds seeds"
		bad=1
	elif [ $? -eq 1 ]; then
		echo "$plant: found"
	else
		echo "$plant: the simulation itself has failed"
		bad=1
	fi
done
"$sim" --plant none --seeds 50 --no-shrink || bad=1
exit $bad
