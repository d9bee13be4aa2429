# SPDX-License-Identifier: MIT
# packages: git
# commands: git
# does: a repository of 3000 objects: fsck, repack with large windows, gc, clone, log
# version: git --version
. "$(dirname "$0")/common.sh"

export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b

prepare() {
	git init -q --bare "$input/origin"
	python3 - <<'PY' | git -C "$input/origin" fast-import --quiet
import random
chance = random.Random(11)
files = {n: [f"line {i} of {n} {chance.random()}" for i in range(150)] for n in range(60)}
for commit in range(600):
    print(f"commit refs/heads/main\ncommitter a <a@b> {1600000000 + commit} +0000\ndata 2\nc\n")
    for n in chance.sample(range(60), 4):
        files[n][chance.randrange(150)] = f"changed in {commit} {chance.random()}"
        text = "\n".join(files[n]) + "\n"
        print(f"M 644 inline directory{n % 7}/file{n}\ndata {len(text)}\n{text}", end="\n")
PY
	git -C "$input/origin" unpack-objects -q <"$(ls "$input"/origin/objects/pack/*.pack)" 2>/dev/null || true
	chmod -R a+rX "$input/origin"
}

work() {
	cp -r "$input/origin" copy
	cd copy
	git config gc.auto 0
	git config pack.threads 2
	git fsck --full --strict >/dev/null 2>&1
	git repack -q -a -d -f --window=60 --depth=50
	git gc -q --prune=now --aggressive
	git fsck --full >/dev/null 2>&1
	git rev-list --objects --all | sort | sha256sum
	git log -p --stat | sha256sum
	cd ..
	git -c safe.directory='*' clone -q copy clone
	(cd clone && git ls-files -s | sha256sum && git status --short)
}

matrix "$@"
