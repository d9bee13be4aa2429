#!/bin/bash
# SPDX-License-Identifier: MIT
# Shells: subshells, pipes, command substitution, here documents, background jobs. Children outlive their parents, and
# parents their children.
. "$(dirname "$0")/../common.sh"
need bash

cat >"$work/script" <<'SH'
declare -A table
for i in $(seq 1 20000); do table[$i]="value $i $((i * i))"; done
echo ${#table[@]} ${table[77]}
for i in 1 2 3 4 5 6 7 8; do
	x=$(echo "sub $i: ${table[$((i * 100))]}" | tr a-z A-Z)
	echo "$x"
done
( table[5]=changed; echo "inside: ${table[5]}"; ( echo "deeper: ${table[5]} ${table[6]}"; exit 4 ); echo $?; exit 9 )
echo "status $? outside: ${table[5]}"
for i in 1 2 3; do ( sleep 0.0$i; exit $i ) & done
wait; echo "waited"
cat <<END
here: ${table[2999]}
END
exec 9>/dev/null 8</dev/null; exec 9>&- 8<&-
(exec bash -c 'echo exec: $((1 + 1))')
trap 'echo bye' EXIT
SH
bash "$work/script" >"$work/expected" 2>&1
for mode in thread signal; do
	managed 8M $mode bash "$work/script" >"$work/out" 2>&1 || fail "$mode: exit status $?"
	same $mode "$work/expected" "$work/out"
	must_have_swapped $mode
done
finish
