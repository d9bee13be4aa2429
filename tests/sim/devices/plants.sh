#!/bin/sh
# SPDX-License-Identifier: MIT
# Faults that are planted in the simulation of devices and forks must be found: a simulator that cannot fail shows
# nothing.
# Usage: plants.sh PATH-OF-SIM-DEVICES [SEEDS]
set -u
sim=$1
seeds=${2-500}
bad=0

for plant in no-lease early-end never-end turned-bit heir-writes; do
	if "$sim" --plant "$plant" --seeds "$seeds" --failures 1 --no-shrink >/dev/null 2>&1; then
		echo "$plant: not found in $seeds seeds"
		bad=1
	elif [ $? -eq 1 ]; then
		echo "$plant: found"
	else
		echo "$plant: the simulation itself has failed"
		bad=1
	fi
done
exit $bad
