package local_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/refundguard/refundguard/sinks/clickhouse/local"
)

// Each way in which the library can't be had is told with what to do.
func TestLibraryThatCanNotBeHad(t *testing.T) {
	for _, c := range []struct {
		name, npm string // a shell script that stands for npm; "": there is none
		want      []string
	}{
		{"no npm", "", []string{"no npm", "clickhouse.addr"}},
		{"no network", "echo 'npm error code ENOTFOUND' >&2; exit 1", []string{"needs the network", "npm install --ignore-scripts"}},
		{"full disk", "echo 'npm ERR! code ENOSPC'; exit 228", []string{"disk is full", "XDG_CACHE_HOME"}},
		{"not there", "echo 'npm error code E404'; exit 1", []string{"registry does not hand out"}},
		{"not ours to write", "echo 'npm error code EACCES'; exit 1", []string{"may not write"}},
		{"something else", "echo 'a reason of its own'; exit 3", []string{"exit status 3", "a reason of its own"}},
		{"empty package", "exit 0", []string{"brought no libchdb.so"}},
		{"wrong library", `while [ "$1" != --prefix ]; do shift; done
d="$2/node_modules/@chdb/lib-linux-x64-gnu"; mkdir -p "$d"; echo no library > "$d/libchdb.so"`,
			[]string{"SHA-256", "was deleted"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			bin, cache := t.TempDir(), t.TempDir()
			for _, tool := range []string{"mkdir", "echo"} {
				if err := os.Symlink("/bin/"+tool, filepath.Join(bin, tool)); err != nil {
					t.Fatal(err)
				}
			}
			if c.npm != "" {
				if err := os.WriteFile(filepath.Join(bin, "npm"), []byte("#!/bin/sh\n"+c.npm+"\n"), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			t.Setenv("PATH", bin)
			_, err := local.Start(t.Context(), local.Config{Dir: t.TempDir(), CacheDir: cache})
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in: %v", want, err)
				}
			}
			left, err := filepath.Glob(filepath.Join(cache, "*", "*"))
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range left {
				if filepath.Base(path) != "lock" {
					t.Errorf("left behind: %s", path)
				}
			}
		})
	}
}

func TestCachedLibraryNeedsNoTools(t *testing.T) {
	start(t, local.Config{}).Close()
	t.Setenv("PATH", t.TempDir())
	start(t, local.Config{})
}
