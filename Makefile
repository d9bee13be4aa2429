# A thin front of meson and ninja: the build itself is meson.build, the set-up scripts/setup.
#
#   make          build into build/; build/anonmm runs in place
#   make setup    install what is missing (Debian, root or sudo)
#   make demo     two unmodified programs in a quarter of their memory, and the life of one page
#   make check    all tests, some ten minutes on two cores; variables, umask and limits of the caller do not count
#   make fuzz     coverage-guided operations (FUZZ_SECONDS for each target, default 300)
#   make coverage branches of src/mm/ and src/policy/ that the tests take; fails below 95 %
#   make matrix   real programs in a quarter and a half of their memory (MATRIX: arguments of tests/matrix/run, as
#                 "--build checked": with asserts and validators)
#   make soak     the model tests for longer (SOAK_SECONDS, default 1800)
#   make bench    against Linux's own swap and the disk, ten minutes (BENCH: arguments of bench/all); root
#   make bench-full  the same with all settings and many rounds, two hours
#   make bench-fork  what fork costs, beside native fork
#   make bench-soft  the core alone, on the soft machine
#   make checked  build-checked/: asserts and validators, for unmodified programs
#   make debug    build-debug/: asserts, validators, ASan and UBSan
#   make tsan     build-tsan/: asserts and TSan
#   make format   rewrite the sources with clang-format
#   make lint     clang-format --dry-run, clang-tidy, cppcheck
#   make install  into PREFIX (default /usr/local), DESTDIR is heeded
#   make clean    remove all build directories

PREFIX ?= /usr/local
SOAK_SECONDS ?= 1800
FUZZ_SECONDS ?= 300

all:
	@scripts/build release

setup:
	@scripts/setup

demo:
	@scripts/setup build
	@scripts/setup docs || echo "anonmm: there will be no manual pages"
	@scripts/build release
	@scripts/demo

check:
	@scripts/setup build check || { echo "0 passed, 1 failed, 0 skipped"; exit 1; }
	@scripts/setup docs || echo "anonmm: there will be no manual pages"
	@tests/run-all

matrix:
	@scripts/setup build
	@scripts/setup matrix || echo "anonmm: their rows are skipped"
	@scripts/build release
	@tests/matrix/run --doc docs/compatibility.md $(MATRIX)

soak:
	@scripts/setup build check
	@SOAK_SECONDS=$(SOAK_SECONDS) tests/run-all --soak

fuzz:
	@scripts/setup build check
	@scripts/build debug
	@tests/fuzz/run $(FUZZ_SECONDS)

coverage:
	@scripts/setup build check coverage
	@scripts/coverage

bench-soft: all
	@build/bench/bench-soft

bench-fork: all
	@bench/fork

# What cannot be installed is named, and its rows are left out.
bench bench-full: all
	@scripts/setup bench || :
	@bench/all $(if $(filter bench-full,$@),--full) $(BENCH)

checked debug:
	@scripts/build $@

tsan:
	@scripts/build tsan

format:
	@scripts/lint --fix-format

lint:
	@scripts/setup lint
	@scripts/build release
	@scripts/lint

install:
	@scripts/build release -Dprefix=$(abspath $(PREFIX))
	@scripts/build --install release

clean:
	rm -rf build build-*/

help:
	@sed -n '3,/^$$/s/^# \{0,1\}//p' Makefile

.PHONY: all setup demo check matrix soak fuzz coverage bench bench-full bench-fork bench-soft checked debug tsan format lint install clean help
