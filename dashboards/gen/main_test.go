package main

import (
	"bytes"
	"testing"

	"github.com/refundguard/refundguard/dashboards"
)

// Nobody edits a dashboard in two places.
func TestFilesAreWhatIsMade(t *testing.T) {
	made, err := files()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range made {
		if got, err := dashboards.FS.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("dashboards/%s isn't what dashboards/gen makes (%v): run make dashboards", name, err)
		}
	}
	there, err := dashboards.FS.ReadDir(".")
	if err != nil || len(there) != len(made) {
		t.Errorf("%d files, %d made, %v: remove those that nobody makes", len(there), len(made), err)
	}
}
