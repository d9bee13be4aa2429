# SPDX-License-Identifier: MIT
# packages: golang-go gcc
# commands: go gcc
# does: a program with C in it, started by a shell: it runs unmanaged. `anonmm run` itself refuses it
# version: go version
. "$(dirname "$0")/common.sh"

prepare() {
	mkdir -p "$input/module"
	cat >"$input/module/go.mod" <<'GO'
module work
go 1.19
GO
	cat >"$input/module/main.go" <<'GO'
package main

/*
#include <stdlib.h>
#include <string.h>
static unsigned long fill(unsigned char *p, unsigned long n) {
	unsigned long sum = 0;
	for (unsigned long i = 0; i < n; i++) p[i] = i * 31;
	for (unsigned long i = 0; i < n; i += 7) sum += p[i];
	return sum;
}
*/
import "C"

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sort"
	"sync"
	"unsafe"
)

func work(seed int) string {
	table := map[string][]int{}
	for i := 0; i < 60000; i++ {
		key := fmt.Sprint("key ", (i*7919+seed)%30011)
		table[key] = append(table[key], i)
	}
	keys := make([]string, 0, len(table))
	for key := range table {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	hash := sha256.New()
	for _, key := range keys {
		fmt.Fprint(hash, key, table[key])
	}
	return fmt.Sprintf("%x", hash.Sum(nil))
}

func main() {
	const size = 24 << 20
	p := (*C.uchar)(C.malloc(size))
	fmt.Println(C.fill(p, size))
	var group sync.WaitGroup
	results := make([]string, 4)
	for i := range results {
		group.Add(1)
		go func(i int) { results[i] = work(i); group.Done() }(i)
	}
	group.Wait()
	fmt.Println(results)
	runtime.GC()
	bytes := unsafe.Slice((*byte)(p), size)
	fmt.Printf("%x\n", sha256.Sum256(bytes))
	os.WriteFile("written", bytes, 0o644)
	back, _ := os.ReadFile("written")
	fmt.Println(sha256.Sum256(back) == sha256.Sum256(bytes))
	out, err := exec.Command("sh", "-c", "echo child").Output()
	fmt.Println(string(out), err)
}
GO
	(cd "$input/module" && GOCACHE="$input/cache" GOFLAGS=-mod=mod CGO_ENABLED=1 go build -o "$input/program" .)
	chmod -R a+rX "$input"
}

work() { "$input/program"; }

matrix "$@"
