// Command gen writes the dashboards as Grafana reads them: go run
// ./dashboards/gen dashboards (or make dashboards).
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gen DIR, the folder for the dashboards' JSON")
		os.Exit(2)
	}
	made, err := files()
	for name, content := range made {
		if err == nil {
			err = os.WriteFile(filepath.Join(os.Args[1], name), content, 0o644)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

// all are the dashboards, in the order in which their links show them.
func all() []*dashboard {
	return []*dashboard{overview(), ruleBoard(), refund(), reviewQueue(), reconciliation(), engine()}
}

// files is what the folder must hold, by name.
func files() (map[string][]byte, error) {
	made := map[string][]byte{}
	for _, d := range all() {
		d.finish()
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false) // < and > in queries are for people to read
		enc.SetIndent("", "  ")
		if err := enc.Encode(d); err != nil {
			return nil, fmt.Errorf("writing dashboard %s as JSON: %w", d.UID, err)
		}
		made[strings.TrimPrefix(d.UID, "refundguard-")+".json"] = out.Bytes()
	}
	return made, nil
}
