# SPDX-License-Identifier: MIT
# packages: postgresql-15
# commands: setpriv
# does: initdb, pgbench with 4 clients, a sort and a hash join in work_mem, kill -9 of the postmaster, recovery, amcheck
# users: nobody
# version: ls /usr/lib/postgresql | tail -1
. "$(dirname "$0")/common.sh"
bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | tail -1)

prepare() { [ -x "$bin/initdb" ] || die "PostgreSQL is not installed"; }

sql() { "$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$work" -d postgres "$@"; }

start() {
	"$bin/postgres" -D "$work/data" >>"$work/log" 2>&1 &
	server=$!
	wait_until 30 sql -c 'SELECT 1'
}

work() {
	"$bin/initdb" -D "$work/data" -A trust -U "$(id -un)" --no-locale -E UTF8 --no-sync >"$work/log"
	cat >>"$work/data/postgresql.conf" <<END
unix_socket_directories = '$work'
listen_addresses = ''
shared_buffers = 16MB
work_mem = 64MB
max_parallel_workers_per_gather = 2
fsync = off
END
	start
	"$bin/pgbench" -q -i -s 1 -h "$work" postgres >/dev/null 2>&1
	"$bin/pgbench" -n -c 4 -j 2 -t 100 -h "$work" postgres >"$work/bench" 2>&1 || die "$(tail -3 "$work/bench")"
	sql -c "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(bbalance) FROM pgbench_branches)
		AND (SELECT count(*) FROM pgbench_history) = 400"
	sql <<'SQL'
CREATE TABLE big AS SELECT i, md5(i::text) AS t, repeat(md5((i % 100)::text), 3) AS r FROM generate_series(1, 60000) i;
CREATE INDEX ON big (t);
SELECT md5(string_agg(t, ',' ORDER BY t DESC, i)) FROM big;
SELECT count(*), sum(a.i) FROM big a JOIN big b ON a.t = b.t AND a.i % 100 = b.i % 100;
SELECT count(*) FROM (SELECT r, count(*) FROM big GROUP BY r) s;
SQL
	kill -9 $server
	wait $server || true
	wait_until 30 gone
	start
	sql <<'SQL'
CREATE EXTENSION amcheck;
SELECT count(bt_index_check(indexrelid, true)) > 0 FROM pg_index WHERE indrelid IN ('big'::regclass, 'pgbench_accounts'::regclass);
SELECT md5(string_agg(t, ',' ORDER BY i)), count(*) FROM big;
SELECT count(*) FROM pgbench_history;
SQL
	"$bin/pg_ctl" -D "$work/data" -m fast -w stop >/dev/null
	wait $server
}

# The children of a postmaster that was killed see that, and end.
gone() { ! pgrep -f "^postgres: .*" -u "$(id -u)"; }

matrix "$@"
