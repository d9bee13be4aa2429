# SPDX-License-Identifier: MIT
# packages: sqlite3
# commands: sqlite3
# does: a database in memory: indices, joins, updates, VACUUM INTO, PRAGMA integrity_check
# version: sqlite3 --version
. "$(dirname "$0")/common.sh"

prepare() {
	cat >"$input/work.sql" <<'SQL'
PRAGMA temp_store = memory;
CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, size INTEGER, body BLOB);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)
INSERT INTO item SELECT i, 'name ' || (i * 7919 % 60013), i % 977, substr(hex(i * 104729) || '0123456789abcdef0123456789abcdef0123456789abcdef', 1, 20 + i % 60) || printf('%0100d', i) FROM n;
CREATE INDEX by_name ON item (name);
CREATE INDEX by_size ON item (size, id);
PRAGMA integrity_check;
SELECT count(*), sum(size), sum(length(body)), max(name) FROM item;
UPDATE item SET body = body || body, size = size + 1 WHERE id % 5 = 0;
DELETE FROM item WHERE id % 7 = 0;
SELECT a.size, count(*), sum(b.id) FROM item a JOIN item b ON b.id = a.id + 1 GROUP BY a.size ORDER BY 3 DESC, 1 LIMIT 20;
SELECT name, length(body) FROM item ORDER BY body DESC, id LIMIT 5;
PRAGMA integrity_check;
VACUUM INTO 'copy.db';
SELECT count(*), sum(length(body)) FROM item;
SQL
}

work() { sqlite3 -batch :memory: <"$input/work.sql"; }

verify() {
	cat "$input/out.work"
	sqlite3 "$work/copy.db" 'PRAGMA integrity_check; SELECT * FROM item ORDER BY id' | sha256sum
	[ "$(grep -c '^ok$' "$input/out.work")" = 2 ] || die "PRAGMA integrity_check"
}

matrix "$@"
