# SPDX-License-Identifier: MIT
# packages: perl
# commands: perl
# does: hashes of arrays, sorting, regular expressions, fork and pipes
# version: perl -e 'print $^V'
. "$(dirname "$0")/common.sh"

prepare() {
	cat >"$input/work.pl" <<'PL'
use strict; use warnings; use Digest::SHA qw(sha256_hex);
my %table;
for my $i (1 .. 24000) { push @{ $table{"key " . ($i * 7919) % 3001} }, "value $i " . "x" x (200 + $i % 150); }
my $sha = Digest::SHA->new(256);
for my $key (sort { @{$table{$a}} <=> @{$table{$b}} || $a cmp $b } keys %table) { $sha->add($key, @{ $table{$key} }); }
print $sha->hexdigest, "\n";
my $found = 0;
for my $list (@table{sort keys %table}) { for (@$list) { $found++ if /value (\d*7)7 x{3,}$/; } }
print "$found\n";
my @kids;
for my $n (1 .. 2) {
	pipe(my $r, my $w) or die;
	my $pid = fork() // die;
	if (!$pid) {
		close $r;
		my $part = 0;
		for my $list (values %table) { $part += length for @$list[grep { $_ % 2 == $n - 1 } 0 .. $#$list]; }
		$table{"child $n"} = ["y" x 1000000];
		print $w "$part\n";
		exit 0;
	}
	close $w;
	push @kids, [$pid, $r];
}
for (@kids) { my ($pid, $r) = @$_; print scalar <$r>; waitpid $pid, 0; print "status $?\n"; }
print scalar(`echo from a shell | tr a-z A-Z`);
PL
}

work() { perl "$input/work.pl"; }

matrix "$@"
