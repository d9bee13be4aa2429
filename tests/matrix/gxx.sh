# SPDX-License-Identifier: MIT
# packages: g++
# commands: g++
# does: compiles a file of templates (regex, map, algorithm) and runs the program
# version: g++ -dumpfullversion
. "$(dirname "$0")/common.sh"

prepare() {
	cat >"$input/program.cc" <<'CC'
#include <algorithm>
#include <iostream>
#include <map>
#include <regex>
#include <string>
#include <vector>
int main()
{
	std::map<std::string, std::vector<int>> table;
	for (long i = 0; i < 200000; i++)
		table["key " + std::to_string(i * 7919 % 60013)].push_back(i);
	std::regex pattern("key ([0-9]*)7$");
	unsigned long sum = 0, matches = 0;
	for (auto &entry : table) {
		std::sort(entry.second.rbegin(), entry.second.rend());
		sum = sum * 31 + entry.second.front();
		matches += entry.first.size() < 7 && std::regex_match(entry.first, pattern);
	}
	std::cout << table.size() << " " << sum << " " << matches << std::endl;
}
CC
}

work() {
	mkdir out
	g++ -O1 -frandom-seed=1 -Wl,--build-id=none -o out/program "$input/program.cc"
	out/program
}

matrix "$@"
